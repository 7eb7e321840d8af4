"""What a CP2K input needs to be a label, a relaxation or AIMD; the user's own settings stay where they
fit."""

from __future__ import annotations

from pathlib import Path

from alpw.codes.cp2k.sections import Section
from alpw.codes.protocol import Task
from alpw.errors import InputError

OPTIMISATIONS = ("GEO_OPT", "CELL_OPT")
MAX_ITER = "200"

MD_KEYS = ("ENSEMBLE", "STEPS", "TIMESTEP", "TEMPERATURE")
"""Without these AIMD would run with CP2K's defaults, three steps among them."""

OVERRIDING = (("", "EXT_RESTART"), ("FORCE_EVAL/SUBSYS", "TOPOLOGY"), ("FORCE_EVAL/SUBSYS", "VELOCITY"))
"""Sections that would replace the structure that is asked for, or its motion."""

_START_VALUES = ("STEP_START_VAL", "TIME_START_VAL", "ECONS_START_VAL")


def check_motion(root: Section, task: Task, file: Path | None) -> None:
    """Raise `InputError` if a control file does not say what AIMD needs to know."""
    if task is not Task.AIMD:
        return
    motion = root.find("MOTION/MD")
    if motion is None:
        raise InputError(f"AIMD needs a section &MOTION/&MD with {', '.join(MD_KEYS)}", file, "MOTION/MD")
    for key in MD_KEYS:
        if not motion.values(key):
            raise InputError(
                "AIMD needs it; CP2K's default would run something else", file, f"MOTION/MD/{key}"
            )
    if not motion.get("STEPS").isdigit() or int(motion.get("STEPS")) < 1:
        raise InputError(f"a number of steps wanted, not {motion.get('STEPS')!r}", file, "MOTION/MD/STEPS")


def run_type(root: Section, task: Task) -> str:
    """The RUN_TYPE of a task; of the two kinds of relaxation that of the control file, else GEO_OPT."""
    if task is Task.LABEL:
        return "ENERGY_FORCE"
    given = root.need("GLOBAL").get("RUN_TYPE").upper()
    if task is Task.AIMD:
        return given if given == "MOLECULAR_DYNAMICS" else "MD"
    if given in {*OPTIMISATIONS, "GEOMETRY_OPTIMIZATION"}:
        return given
    only_cell = root.find("MOTION/CELL_OPT") is not None and root.find("MOTION/GEO_OPT") is None
    return "CELL_OPT" if only_cell else "GEO_OPT"


def set_task(root: Section, task: Task, with_stress: bool) -> list[str]:
    """Make the input do the task, with everything on paper that is read afterwards; returns the changes.

    Args:
        root: the input, changed in place.
        task: what to do.
        with_stress: whether the stress is wanted; a relaxation of the cell and MD at constant pressure need
        it.
    """
    changes = []
    kind = run_type(root, task)
    for keyword, value in (("PROJECT", "run"), ("RUN_TYPE", kind), ("PRINT_LEVEL", "MEDIUM")):
        aliases = ("PROJECT_NAME",) if keyword == "PROJECT" else ()
        changes += set_keyword(root.need("GLOBAL"), "GLOBAL", keyword, value, aliases)
    if root.remove("EXT_RESTART"):
        changes.append("EXT_RESTART removed: it would replace the structure")
    for path, name in OVERRIDING[1:]:
        if (section := root.find(path)) and section.remove(name):
            changes.append(f"{path}/{name} removed: it would replace the structure or its motion")
    changes += _set_motion(root, task, kind)
    force_eval = root.need("FORCE_EVAL")
    has_stress = force_eval.get("STRESS_TENSOR").upper() in {"ANALYTICAL", "NUMERICAL"}
    if not has_stress and (with_stress or _changes_cell(root, kind)):
        changes += set_keyword(force_eval, "FORCE_EVAL", "STRESS_TENSOR", "ANALYTICAL")
        has_stress = True
    wanted = [Section("FORCES", "ON"), *([Section("STRESS_TENSOR", "ON")] if has_stress else [])]
    changes += _set_sections(force_eval.need("PRINT"), "FORCE_EVAL/PRINT", wanted)
    return changes


def set_keyword(
    section: Section, path: str, keyword: str, value: str, aliases: tuple[str, ...] = ()
) -> list[str]:
    """Set a keyword; returns the change in words, if it is one."""
    before = next((found for name in (keyword, *aliases) if (found := section.get(name))), "")
    section.set(keyword, value, aliases=aliases)
    return [] if before.upper() == value.upper() else [f"{path}/{keyword}: {before or 'none'} -> {value}"]


def _set_motion(root: Section, task: Task, kind: str) -> list[str]:
    if task is Task.LABEL:
        removed = root.remove("MOTION")
        return ["MOTION removed: it would move the structure"] if removed else []
    motion = root.need("MOTION")
    name = "MD" if task is Task.AIMD else ("CELL_OPT" if kind == "CELL_OPT" else "GEO_OPT")
    changes = []
    section = motion.need(name)
    for keyword in _START_VALUES:
        if section.values(keyword):
            section.set(keyword)
            changes.append(f"MOTION/{name}/{keyword} removed: steps are counted from the structure given")
    if task is Task.RELAX and not section.values("MAX_ITER"):
        changes += set_keyword(section, f"MOTION/{name}", "MAX_ITER", MAX_ITER)
    return changes + _set_sections(motion.need("PRINT"), "MOTION/PRINT", _printed(name))


def _printed(name: str) -> list[Section]:
    """Every step in files, so that it survives a crash; the restart file holds the state of a thermostat."""

    def each(section: str, *keywords: tuple[str, str]) -> Section:
        return Section(section, "ON", list(keywords), [Section("EACH", "", [(name, "1")])])

    sections = [
        each("TRAJECTORY", ("FORMAT", "XYZ"), ("UNIT", "angstrom")),
        each("FORCES"),
        each("CELL"),
        each("RESTART"),
        Section("RESTART_HISTORY", "OFF"),
    ]
    return [*sections, each("VELOCITIES"), each("STRESS")] if name == "MD" else sections


def _set_sections(parent: Section, path: str, wanted: list[Section]) -> list[str]:
    changes = []
    for section in wanted:
        if parent.remove(section.name) != [section]:
            each = "".join(f" {key} {value}" for inner in section.sections for key, value in inner.keywords)
            changes.append(f"{path}/{section.name} {section.argument}{each and f', each{each}'}")
        parent.sections.append(section)
    return changes


def _changes_cell(root: Section, kind: str) -> bool:
    ensemble = root.find("MOTION/MD")
    return kind == "CELL_OPT" or (
        kind in {"MD", "MOLECULAR_DYNAMICS"}
        and ensemble is not None
        and ensemble.get("ENSEMBLE").upper().startswith(("NPT", "NPE", "MSST", "HYDRO"))
    )
