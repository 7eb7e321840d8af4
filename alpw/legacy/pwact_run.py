"""A directory of PWact or AL-PWMLFF, in the layout of before 2025 or in the present one.

iter.0000/explore/select/select_summary.txt, *.csv       frames by class; 01.explore
iter.0000/label/result/md.000.sys.000.t.000/train,valid   labels, PWdata; of before 2025
iter.0000/02.label/result/train.xyz, PWdata/Si64          labels; extxyz or PWdata
al.record                                                 lines "iteration stage"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alpw.database.configurations import Role
from alpw.formats.pwdata import is_pwdata
from alpw.legacy.course import (
    STAGES,
    Course,
    Iteration,
    Source,
    ended,
    find_param,
    is_readable,
    numbered,
    record_of,
)

DIGITS = 4
LABEL, EXPLORE = ("label", "02.label"), ("explore", "01.explore")
RECORD = "al.record"

TABLES = {
    "accurate": ("accurate.csv",),
    "candidate": ("candidate.csv", "candidate_delete.csv"),
    "failed": ("fail.csv",),
}
"""class -> tables with a line for each frame of it, below a line of headings"""

_SUMMARY = re.compile(r"accurate\s+(\d+)\s+rate.*?selected\s+(\d+)\s+rate.*?error\s+(\d+)\s+rate")


def is_pwact(directory: Path) -> bool:
    """Whether a folder is the directory of a campaign of PWact."""
    folders = numbered(directory, DIGITS).values()
    marks = [*(f"{name}/result" for name in LABEL), *(f"{name}/select" for name in EXPLORE)]
    if any((folder / mark).is_dir() for folder in folders for mark in marks):
        return True
    return bool(folders) and bool(record_of(directory / RECORD))


def read_pwact(directory: Path) -> Course:
    """What the directory tells; no frame is read yet."""
    notes: list[str] = []
    written = find_param(directory, "pwact", notes)
    param = _lowered(written)
    folders = numbered(directory, DIGITS)
    record = record_of(_record_file(directory, param))
    jobs = (param.get("explore") or {}).get("md_jobs")
    n_jobs = len(jobs) if isinstance(jobs, list) else None
    sources = list(_initial(directory, param, notes))
    iterations = []
    for index, folder in folders.items():
        sources += _labels(folder, index, param, notes)
        found = Iteration(index, "final" if index == n_jobs else "explore", _stage(index, record, n_jobs))
        if found.kind == "explore":
            found.counts = _counts(folder)
            found.thresholds = _thresholds(param)
            if found.counts is None:
                notes.append(f"iteration {index}: how many frames were accurate is not told")
        iterations.append(found)
    models = sorted(directory.glob("iter.*/*train/train.*/model_record/*_model.ckpt"))
    if models:
        notes.append(f"{len(models)} models of PWMLFF or MatPL stay where they are: only it reads them")
    style = (param.get("dft") or {}).get("dft_style")
    code = style.lower() if isinstance(style, str) else None
    return Course(
        "pwact",
        directory,
        written,
        code,
        sources,
        iterations,
        ended(record, n_jobs, missing="its record", step="stage {} of 0 to 2", last=0),
        notes,
    )


def _lowered(content: Any) -> Any:
    """Keys in lower case, as PWact reads them."""
    if isinstance(content, dict):
        return {key.lower(): _lowered(value) for key, value in content.items()}
    return [_lowered(value) for value in content] if isinstance(content, list) else content


def _record_file(directory: Path, param: dict[str, Any]) -> Path | None:
    """The progress file: of a name of ours in older versions, always al.record in newer ones."""
    named = param.get("record_file")
    wanted = [directory / RECORD, *([directory / named] if isinstance(named, str) else [])]
    wanted += sorted(directory.glob("*.al"))
    return next((path for path in wanted if path.is_file()), None)


def _initial(directory: Path, param: dict[str, Any], notes: list[str]) -> Iterator[Source]:
    for key, role in (("init_data", Role.TRAIN), ("valid_data", Role.VALIDATION)):
        value = param.get(key) or []
        for name in value if isinstance(value, list) else [value]:
            path = directory / str(name)
            if not path.exists():
                notes.append(f"{key} is not there: {path}")
            elif is_readable(path, notes, key):
                yield from _data(path, role=role)


def _data(path: Path, **known: Any) -> Iterator[Source]:
    """The parts of a data set; PWdata of before 2025 holds its validation frames by itself."""
    role = known.pop("role", Role.TRAIN)
    if path.is_dir() and is_pwdata(path):
        yield Source(path, "train", role, **known)
        if any(path.glob("**/valid/image_type.npy")):
            yield Source(path, "valid", Role.VALIDATION, **known)
    else:
        yield Source(path, "all", role, **known)


def _labels(folder: Path, index: int, param: dict[str, Any], notes: list[str]) -> Iterator[Source]:
    for result in (folder / name / "result" for name in LABEL):
        for path in sorted(result.iterdir()) if result.is_dir() else []:
            if is_readable(path, notes, f"iteration {index}"):
                yield from _data(path, iteration=index, facts=_facts(path.name, index, param))
    if any((folder / "temp_run_iter_work" / name / "result").is_dir() for name in LABEL):
        notes.append(f"iteration {index}: labels in temp_run_iter_work had not been moved, and are left out")
    if again := sorted(path.name for name in LABEL for path in folder.glob(f"{name}-bk-*")):
        notes.append(f"iteration {index}: earlier labels in {', '.join(again)} are left out")


def _facts(name: str, index: int, param: dict[str, Any]) -> dict[str, Any]:
    """What the name of a trajectory says: the block of its iteration, and which temperature of it."""
    match = re.fullmatch(r"md\.(\d+)\.sys\.\d+\.(?:lmps\.\d+|t\.(\d+)(?:\.p\.(\d+))?)", name)
    if match is None:
        return {}
    facts: dict[str, Any] = {"task": name}
    jobs = (param.get("explore") or {}).get("md_jobs") or []
    blocks = jobs[index] if index < len(jobs) else []
    blocks = [blocks] if isinstance(blocks, dict) else blocks
    block = blocks[int(match[1])] if int(match[1]) < len(blocks) else {}
    for fact, key, position in (("temperature", "temps", match[2]), ("pressure", "press", match[3])):
        values = block.get(key)
        values = values if isinstance(values, list) else [values]
        if position is not None and int(position) < len(values):
            value = values[int(position)]
            facts |= {fact: float(value)} if isinstance(value, int | float) else {}
    return facts


def _counts(folder: Path) -> dict[str, int] | None:
    """Frames by class from the summary of the selection, or from its tables."""
    for select in (folder / name / "select" for name in EXPLORE):
        summary = select / "select_summary.txt"
        text = summary.read_text(errors="replace") if summary.is_file() else ""
        if match := _SUMMARY.search(text):
            accurate, candidate, failed = map(int, match.groups())
            return {"accurate": accurate, "candidate": candidate, "failed": failed}
        if (select / "accurate.csv").is_file():
            return {name: sum(_rows(select / file) for file in files) for name, files in TABLES.items()}
    return None


def _rows(file: Path) -> int:
    """Lines of a table without its headings; 0 if it is not there."""
    if not file.is_file():
        return 0
    with file.open(errors="replace") as lines:
        return max(0, sum(1 for line in lines if line.strip()) - 1)


def _thresholds(param: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The committee's interval in eV/Å; with KPU it is not known from the input."""
    strategy = param.get("strategy") or {}
    if str(strategy.get("uncertainty", "committee")).lower() != "committee":
        return {}
    found = {}
    for name in ("lower", "upper"):
        value = strategy.get(f"{name}_model_deiv_f", strategy.get(f"{name}_model_devi_f"))
        if isinstance(value, int | float):
            found[name] = float(value)
    return {"all": found} if found else {}


def _stage(index: int, record: list[tuple[int, int]], n_jobs: int | None) -> str:
    if not record:
        return "not known"
    done = max((stage for iteration, stage in record if iteration == index), default=-1)
    return "done" if done >= (0 if index == n_jobs else 2) else STAGES[done + 1]
