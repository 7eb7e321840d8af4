"""A directory of ``dpgen run``.

iter.000000/00.train/graph.000.pb                    models
iter.000000/01.model_devi/task.000.000000/job.json   temperature and pressure of a trajectory
iter.000000/02.fp/task.000.000000/conf.dump          link to the explored frame that was labelled
iter.000000/02.fp/data.000                           labels of system 0, deepmd/npy
iter.000000/02.fp/candidate.shuffled.000.out         a line per candidate; rest_accurate, rest_failed
record.dpgen                                         lines "iteration task", nine tasks in an iteration
dpgen.log                                            the same counts
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

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
from alpw.legacy.dpgen_keys import CODES
from alpw.legacy.dpgen_param import by_system

DIGITS = 6
TASKS = 9
"""of an iteration: make, run and post of each stage"""

REPORTS = {"accurate": "rest_accurate", "candidate": "candidate", "failed": "rest_failed"}
TRUST = ("model_devi_f_trust_lo", "model_devi_f_trust_hi")

Counts = dict[str, int]


def is_dpgen(directory: Path) -> bool:
    """Whether a folder is the directory of a campaign of DP-GEN."""
    folders = numbered(directory, DIGITS).values()
    return any((folder / stage).is_dir() for folder in folders for stage in ("00.train", "02.fp"))


def read_dpgen(directory: Path) -> Course:
    """What the directory tells; no frame is read yet."""
    notes: list[str] = []
    param = find_param(directory, "dpgen", notes)
    folders = numbered(directory, DIGITS)
    record = record_of(directory / "record.dpgen")
    jobs = param.get("model_devi_jobs")
    n_jobs = len(jobs) if isinstance(jobs, list) else None
    sources = list(_initial(directory, param, notes))
    logged = _logged(directory / "dpgen.log")
    iterations = []
    for index, folder in folders.items():
        sources += _labels(folder, index, notes)
        found = Iteration(index, "final" if index == n_jobs else "explore", _stage(index, record, n_jobs))
        if found.kind == "explore":
            found.counts = _reported(folder / "02.fp") or logged.get(index)
            found.thresholds = _thresholds(param, index)
            if found.counts is None:
                notes.append(f"iteration {index}: how many frames were accurate is not told")
        iterations.append(found)
    models = sorted(directory.glob("iter.*/00.train/graph.*.pb")) + sorted(
        directory.glob("iter.*/00.train/graph.*.pth")
    )
    if models:
        notes.append(
            f"{len(models)} frozen models stay where they are; `alpw import FILE -o model.pt` reads one"
        )
    code = CODES.get(str(param.get("fp_style")), param.get("fp_style"))
    return Course(
        "dpgen",
        directory,
        param,
        code,
        sources,
        iterations,
        ended(record, n_jobs, missing="record.dpgen", step=f"task {{}} of 0 to {TASKS - 1}", last=2),
        notes,
    )


def _initial(directory: Path, param: dict[str, Any], notes: list[str]) -> Iterator[Source]:
    prefix = param.get("init_data_prefix") or ""
    for name in param.get("init_data_sys") or []:
        base = directory / PurePath(prefix, str(name))
        hits = sorted(base.parent.glob(base.name)) if any(sign in base.name for sign in "*?[") else [base]
        found = [path for path in hits if path.exists()]
        if not found:
            notes.append(f"initial data are not there: {base}")
        for path in found:
            yield from (Source(data) for data in _systems(path) if is_readable(data, notes, "initial data"))


def _systems(path: Path) -> list[Path]:
    """Systems of deepmd-kit at any depth, as DP-GEN looks for them; what holds none, as it is."""
    return sorted({file.parent for file in path.rglob("type.raw")}) or [path]


def _labels(folder: Path, index: int, notes: list[str]) -> Iterator[Source]:
    place = folder / "02.fp"
    for data in sorted(place.glob("data.*")):
        systems = [path for path in _systems(data) if is_readable(path, notes, f"iteration {index}")]
        numbered_alike = len(systems) == 1 and re.fullmatch(r"\.\d+", data.suffix)
        tasks = sorted(place.glob(f"task{data.suffix}.*")) if numbered_alike else []
        origins = tuple(_origin(task) for task in tasks)
        for path in systems:
            yield Source(path, iteration=index, origins=origins, facts={"system": data.name})
    if place.is_dir() and not any(place.glob("data.*")) and any(place.glob("task.*")):
        notes.append(f"iteration {index}: its labels had not been collected to data.*, and are left out")


def _origin(task: Path) -> dict[str, Any]:
    """What is known of the frame of a label task: where it was explored, and at which temperature."""
    known: dict[str, Any] = {"task": task.name}
    link = next((task / name for name in ("conf.dump", "conf.lmp") if (task / name).is_symlink()), None)
    target = str(link.readlink()) if link else ""
    if match := re.search(r"(01\.model_devi/task\.\d+\.\d+)/traj/(\d+)\.", target):
        run, step = match.groups()
        known |= {"run": f"{task.parents[1].name}/{run}", "step": int(step)}
        known |= _state(task.parents[1] / run / "job.json")
    return known


def _state(file: Path) -> dict[str, float]:
    """Temperature (K) and pressure (bar) of a trajectory, where its file is still there."""
    try:
        job = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    found = {"temperature": job.get("temps"), "pressure": job.get("press")} if isinstance(job, dict) else {}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def _reported(place: Path) -> Counts | None:
    """Frames by class from the files with a line for each of them; None unless all are there."""
    files = {name: sorted(place.glob(f"{stem}.shuffled.*.out")) for name, stem in REPORTS.items()}
    if not files["candidate"] or len({len(found) for found in files.values()}) > 1:
        return None
    return {name: sum(map(_lines, found)) for name, found in files.items()}


def _lines(file: Path) -> int:
    with file.open(errors="replace") as lines:
        return sum(1 for line in lines if line.strip())


def _logged(file: Path) -> dict[int, Counts]:
    """Frames by class and iteration from the log; what was selected again replaces what was before."""
    found: dict[int, Counts] = {}
    if not file.is_file():
        return found
    index = None
    with file.open(errors="replace") as lines:
        for line in lines:
            if header := re.search(r"iter\.(\d{6}) task (\d+)", line):
                index = int(header[1]) if int(header[2]) == 2 * TASKS // 3 else None
                if index is not None:
                    found[index] = dict.fromkeys(REPORTS, 0)
            elif index is not None and (row := re.search(r"system \S+ (\w+)\s*:\s*(\d+) in", line)):
                found[index][row[1]] = found[index].get(row[1], 0) + int(row[2])
    return {index: counts for index, counts in found.items() if sum(counts.values())}


def _thresholds(param: dict[str, Any], index: int) -> dict[str, dict[str, float]]:
    """Interval of candidates in eV/Å by system, as the job or the whole campaign has it."""
    jobs = param.get("model_devi_jobs") or []
    job = jobs[index] if index < len(jobs) and isinstance(jobs[index], dict) else {}
    systems = [system for system in job.get("sys_idx") or [] if isinstance(system, int)]
    found = {}
    for system in systems:
        bounds = {}
        for name, key in zip(("lower", "upper"), TRUST, strict=True):
            values = [by_system(block.get(key), system + 1)[system] for block in (job, param)]
            if known := [value for value in values if value is not None]:
                bounds[name] = float(known[0])
        if bounds:
            found[f"sys.{system:03d}"] = bounds
    return found


def _stage(index: int, record: list[tuple[int, int]], n_jobs: int | None) -> str:
    if not record:
        return "not known"
    done = [task for iteration, task in record if iteration == index]
    last = 2 if index == n_jobs else TASKS - 1
    return "done" if done and max(done) >= last else STAGES[(max(done, default=-1) + 1) // 3]
