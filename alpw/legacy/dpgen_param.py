"""param.json of ``dpgen run`` as a param.json of ours.

Units are the same in both: K, bar, ps, eV/Å. Where they differ in meaning: an entry of DP-GEN's
``sys_configs`` is a list of patterns, ours one; its cap counts per system, ours per structure file; a
committee's thresholds may be given by system.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from alpw.errors import InputError
from alpw.legacy import dpgen_keys as keys
from alpw.legacy.dpgen_training import INPUT, KEY, for_alpw, for_deepmd, put
from alpw.legacy.notes import Converted, NoteBook, Rebase

LEVELS = ("lower", "upper")
TRUST = {"lower": "model_devi_f_trust_lo", "upper": "model_devi_f_trust_hi"}
VIRIAL_TRUST = {"lower": "model_devi_v_trust_lo", "upper": "model_devi_v_trust_hi"}
OFF = 1e9
"""DP-GEN's way not to ask for a threshold is 1e10"""

REMARKS = (
    "strategy.validation_frames: 4 frames of each iteration are labelled and held out besides; 0 is none",
    "strategy.accurate_ratio: a campaign ends before its last job when 95 % of the frames are accurate",
)
"""What ALPW does in addition, by its defaults."""


@dataclass
class _Work:
    raw: dict[str, Any]
    book: NoteBook
    rebase: Rebase
    content: dict[str, Any] = field(default_factory=dict)

    def put(self, key: str, value: Any) -> None:
        put(self.content, key, value)


def convert_param(raw: dict[str, Any], name: str, rebase: Rebase, trainer: str = "deepmd") -> Converted:
    """Translate a param.json of ``dpgen run``.

    Args:
        raw: the parsed file.
        name: of the file, for the notes.
        rebase: writes a path of the source for the new file.
        trainer: ``deepmd`` keeps deepmd-kit and its input; ``alpw`` translates it for our own training.

    Raises:
        InputError: blocks that have another form than DP-GEN's.
    """
    work = _Work(raw, NoteBook(name), rebase)
    _check_form(raw, name)
    for key in keys.SAME.keys() & raw.keys():
        ours, text = keys.SAME[key]
        work.put(ours, raw[key])
        work.book.taken(key, ours, text)
    _data(work)
    members = _systems(work)
    files = _training(work, trainer)
    _thresholds(work, members)
    _jobs(work, members)
    _labels(work)
    _rest(work)
    return Converted(work.content, work.book.complete(raw, keys.UNKNOWN), list(REMARKS), files)


def _check_form(raw: dict[str, Any], name: str) -> None:
    if (engine := raw.get("model_devi_engine", "lammps")) != "lammps":
        raise InputError(f"'{engine}' explores; here it is LAMMPS alone", name, "model_devi_engine")
    kinds: dict[str, type] = {"model_devi_jobs": list, "sys_configs": list, "init_data_sys": list}
    kinds |= {KEY: dict, "type_map": list}
    for key, kind in kinds.items():
        if not isinstance(raw.get(key, kind()), kind):
            raise InputError(f"is no {'list' if kind is list else 'block'}", name, key)
    for index, job in enumerate(raw.get("model_devi_jobs", [])):
        if not isinstance(job, dict) or not isinstance(job.get("sys_idx"), list):
            raise InputError("is no block with a list sys_idx", name, f"model_devi_jobs[{index}]")


def _data(work: _Work) -> None:
    prefix = work.raw.get("init_data_prefix")
    paths = [str(PurePath(prefix or "", str(path))) for path in work.raw.get("init_data_sys", [])]
    work.put("init_data", [work.rebase(path) for path in paths])
    work.book.taken("init_data_sys", "init_data", "systems of deepmd-kit; the paths begin at the new file")
    work.book.changed("init_data_prefix", "init_data", "joined to each path")


def _systems(work: _Work) -> list[list[int]]:
    """Write the start structures; returns, for each system of the source, the entries that it is now."""
    prefix, members = work.raw.get("sys_configs_prefix"), []
    entries: list[dict[str, Any]] = []
    format = work.raw.get("sys_format", "vasp/poscar")
    for patterns in work.raw.get("sys_configs", []):
        patterns = [patterns] if isinstance(patterns, str) else patterns
        members.append(list(range(len(entries), len(entries) + len(patterns))))
        for pattern in patterns:
            path = work.rebase(str(PurePath(prefix or "", pattern)))
            entries.append({"config": path, "format": format})
    work.put("explore.sys_configs", entries)
    work.book.changed("sys_configs", "explore.sys_configs", "one entry per pattern; sys_idx follows")
    work.book.taken("sys_format", "explore.sys_configs.format")
    work.book.changed("sys_configs_prefix", "explore.sys_configs", "joined to each pattern")
    return members


def _training(work: _Work, trainer: str) -> dict[str, dict[str, Any]]:
    raw, book = work.raw, work.book
    sizes = _batch_sizes(work)
    given = raw.get(KEY, {})
    files: dict[str, dict[str, Any]] = {}
    if trainer == "deepmd":
        files[INPUT] = for_deepmd(given, book, sizes)
        own: dict[str, Any] = {"trainer": "deepmd", "deepmd_input": INPUT}
    else:
        own = for_alpw(given, book, sizes)
    work.content["train"] = {**own, **work.content.get("train", {})}
    again = bool(raw.get("training_init_model")) or raw.get("training_reuse_iter") is not None
    work.put("train.use_pre_model", again)
    book.taken("training_init_model", "train.use_pre_model", "each member starts from its own weights")
    reuse = "from iteration 1 on, whatever the number"
    book.changed("training_reuse_iter", "train.use_pre_model", reuse)
    return files


def _batch_sizes(work: _Work) -> int | str | None:
    """The batch size that all systems have; None if they differ."""
    found: set[Any] = set()
    for key in ("init_batch_size", "sys_batch_size"):
        value = work.raw.get(key, [])
        found |= set(value) if isinstance(value, list) else {value}
    same = found.pop() if len(found) == 1 else None
    for key in ("init_batch_size", "sys_batch_size"):
        text = "the same for all systems" if same is not None else keys.BATCH
        todo = "" if same is not None else "set the batch size of all, if `auto` will not do"
        work.book.changed(key, "the batch size of the training", text, todo)
    return same if isinstance(same, int | str) else None


def by_system(value: Any, n: int) -> list[float | None]:
    """A threshold for each system: one number for all, a list, or a block by index."""
    if isinstance(value, dict):
        return [value.get(str(i)) for i in range(n)]
    if isinstance(value, list):
        return [*value, *[None] * (n - len(value))][:n]
    return [value] * n


def _thresholds(work: _Work, members: Sequence[Sequence[int]]) -> None:
    entries = work.content["explore"]["sys_configs"]
    for level, key in TRUST.items():
        ours = f"{level}_model_devi_f"
        found = by_system(work.raw.get(key), len(members))
        usual = next((value for value in found if value is not None), None)
        if usual is not None:
            work.put(f"strategy.{ours}", usual)
        for indices, value in zip(members, found, strict=True):
            for index in indices if value not in (None, usual) else ():
                entries[index][ours] = value
        plain = isinstance(work.raw.get(key), int | float)
        text = "eV/Å" if plain else "eV/Å; by system: that of the first, and those of others at their entries"
        work.book.add_block(key, work.raw.get(key), f"strategy.{ours}", text, changed=not plain)
    for level, key in VIRIAL_TRUST.items():
        ours = f"strategy.{level}_model_devi_v"
        values = {value for value in by_system(work.raw.get(key), max(1, len(members))) if value is not None}
        if not values or min(values) >= OFF:
            work.book.add_block(key, work.raw.get(key), "", "asks for nothing", changed=False)
        elif len(values) == 1:
            work.put(ours, values.pop())
            work.book.add_block(key, work.raw.get(key), ours, "eV/atom", changed=False)
        else:
            work.book.add_block(
                key, work.raw.get(key), "", "one threshold holds for all systems", changed=None
            )


def _jobs(work: _Work, members: Sequence[Sequence[int]]) -> None:
    raw, book, blocks = work.raw, work.book, []
    jobs = raw.get("model_devi_jobs", [])
    for job in jobs:
        block = _dynamics(work, job)
        blocks.append(
            [
                {"sys_idx": [i for s in systems for i in members[s]], **trust, **block}
                for trust, systems in _groups(job, len(members))
            ]
        )
    work.put("explore.md_jobs", blocks)
    for key in {key for job in jobs for key in job}:
        name = f"model_devi_jobs.{key}"
        given = [job[key] for job in jobs if key in job]
        if key in keys.JOB_SAME:
            ours, text = keys.JOB_SAME[key]
            book.taken(name, f"explore.md_jobs.{ours}", text)
        elif key == "sys_idx":
            book.changed(name, "explore.md_jobs.sys_idx", "indices of the new entries of sys_configs")
        elif key == "ensemble":
            book.taken(name, "explore.md_jobs.ensemble")
        elif key in TRUST.values():
            level = next(level for level, theirs in TRUST.items() if theirs == key)
            text = "eV/Å; systems with other thresholds are a block of their own"
            for value in given:
                book.add_block(name, value, f"explore.md_jobs.{level}_model_devi_f", text, changed=True)
        elif key in keys.JOB_MISSING:
            for value in given:
                note_missing(book, name, value, keys.JOB_MISSING[key])
    book.taken("model_devi_dt", "explore.md_jobs.md_dt", "ps")
    book.changed("mass_map", "explore.md_jobs.mass", "by element; auto: the standard masses")
    for key in ("taut", "taup", "neidelay"):
        book.taken(f"model_devi_{key}", f"explore.md_jobs.{keys.JOB_SAME[key][0]}", keys.JOB_SAME[key][1])
    _caps(work, [set(job["sys_idx"]) for job in jobs])


def _dynamics(work: _Work, job: dict[str, Any]) -> dict[str, Any]:
    raw = work.raw
    block: dict[str, Any] = {}
    for key, (ours, _) in keys.JOB_SAME.items():
        if (value := job.get(key, raw.get(f"model_devi_{key}"))) is not None:
            block[ours] = value
    if (ensemble := job.get("ensemble")) is not None:
        block["ensemble"] = keys.ENSEMBLES.get(ensemble, ensemble)
    if (step := raw.get("model_devi_dt")) is not None:
        block["md_dt"] = step
    if isinstance(raw.get("mass_map"), list):
        block["mass"] = dict(zip(raw.get("type_map", []), raw["mass_map"], strict=False))
    return block


def _groups(job: dict[str, Any], n: int) -> list[tuple[dict[str, float], list[int]]]:
    """The systems of a job by the thresholds that the job gives them."""
    trust = {level: by_system(job.get(key), n) for level, key in TRUST.items()}
    groups: dict[tuple[float | None, ...], list[int]] = {}
    for system in job["sys_idx"]:
        if not isinstance(system, int) or not 0 <= system < n:
            raise InputError(f"{system!r} is no system; sys_configs has {n}", key="model_devi_jobs.sys_idx")
        groups.setdefault(tuple(trust[level][system] for level in LEVELS), []).append(system)
    return [
        (
            {f"{name}_model_devi_f": v for name, v in zip(LEVELS, values, strict=True) if v is not None},
            systems,
        )
        for values, systems in groups.items()
    ]


def _caps(work: _Work, systems: Sequence[set[int]]) -> None:
    if (cap := work.raw.get("fp_task_max")) is None:
        return
    work.put("strategy.max_select", cap)
    most = max(map(len, systems), default=1)
    work.put("strategy.max_select_total", cap * most)
    text = f"per structure file; of an iteration in all {most} times as many, one for each of its systems"
    work.book.changed("fp_task_max", "strategy.max_select, max_select_total", text)


def _labels(work: _Work) -> None:
    raw, book = work.raw, work.book
    style = raw.get("fp_style")
    code = keys.CODES.get(str(style))
    if code:
        work.put("dft.dft_style", code)
        book.taken("fp_style", "dft.dft_style")
    elif style is not None:
        text = f"'{style}' is no code that labels here"
        book.absent("fp_style", text, "choose one of vasp, pwmat, cp2k, ase for dft.dft_style")
    work.content.setdefault("dft", {})
    for key in ("fp_incar", "external_input_path"):
        if raw.get(key):
            work.put("dft.input", work.rebase(str(raw[key])))
            book.taken(key, "dft.input", "the path begins at the new file")
    if raw.get("fp_pp_files") and code in ("vasp", "pwmat"):
        paths = [str(PurePath(raw.get("fp_pp_path") or "", str(name))) for name in raw["fp_pp_files"]]
        work.put("dft.pseudo", [work.rebase(path) for path in paths])
        book.taken("fp_pp_files", "dft.pseudo", "recognised by the element that they name, in any order")
        book.changed("fp_pp_path", "dft.pseudo", "joined to each file")
    elif raw.get("fp_pp_files"):
        book.absent("fp_pp_files", "this code takes no such files here")
        book.absent("fp_pp_path", "this code takes no such files here")
    for key in ("user_fp_params", "fp_params"):
        if key in raw:
            todo = "write the control file of the code and name it as dft.input"
            book.add_block(key, raw[key], "", "settings of a label belong into a control file", None, todo)


def _rest(work: _Work) -> None:
    raw, book = work.raw, work.book
    book.taken("model_devi_engine", "", "LAMMPS explores")
    if "model_devi_clean_traj" in raw:
        clean = raw["model_devi_clean_traj"]
        work.put("reserve_md_traj", clean is not True)
        text = "the opposite" if isinstance(clean, bool) else "the frames of all iterations are kept"
        book.changed("model_devi_clean_traj", "reserve_md_traj", text)
    for key in keys.MISSING.keys() & raw.keys():
        note_missing(book, key, raw[key], keys.MISSING[key])


def note_missing(book: NoteBook, key: str, value: Any, missing: keys.Missing) -> None:
    """Note a key without a counterpart, and whether its value asks for anything."""
    asks = not any(type(value) is type(none) and value == none for none in missing.harmless)
    text = missing.text if asks else f"asks for nothing; {missing.text}"
    book.add_block(key, value, "", text, None, missing.todo if asks else "")
