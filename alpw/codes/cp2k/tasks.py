"""What a CP2K input needs to be a label, a relaxation or AIMD; the user's own settings stay where they
fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alpw.codes.cp2k.sections import Section
from alpw.codes.protocol import Task
from alpw.errors import InputError

if TYPE_CHECKING:
    from alpw.config import Dft

OPTIMISATIONS = ("GEO_OPT", "CELL_OPT")
RELAXING = frozenset({*OPTIMISATIONS, "GEOMETRY_OPTIMIZATION"})
"""Values of RUN_TYPE that relax."""
MAX_ITER = "200"

MD_KEYS = ("ENSEMBLE", "STEPS", "TIMESTEP", "TEMPERATURE")
"""Without these AIMD would run with CP2K's defaults, three steps among them."""

OVERRIDING = (("", "EXT_RESTART"), ("FORCE_EVAL/SUBSYS", "TOPOLOGY"), ("FORCE_EVAL/SUBSYS", "VELOCITY"))
"""Sections that would replace the structure that is asked for, or its motion."""

_START_VALUES = ("STEP_START_VAL", "TIME_START_VAL", "ECONS_START_VAL")

NOT_ONE_TEMPERATURE = {
    "REFTRAJ": "reads its geometries from a file",
    "NVT_ADIABATIC": "has one temperature for fast and one for slow atoms",
}
"""Ensembles that have no use for TEMPERATURE. In those without a thermostat it is that of the first
velocities."""

CHANGING_TEMPERATURE = ("ANNEALING", "TEMPERATURE_ANNEALING")
"""Keywords of &MD that scale the velocities or the thermostat's temperature from step to step."""

LARGEST_SEED = 2**31 - 1
"""GLOBAL/SEED is a positive integer of 32 bits."""


def check_motion(root: Section, task: Task, dft: Dft) -> None:
    """Raise `InputError` if a control file is of another task, or does not say what AIMD needs to know."""
    if task is Task.RELAX:
        _check_relaxation(root, dft.input)
    if task is Task.AIMD:
        _check_dynamics(root, dft)


def _check_relaxation(root: Section, file: Path | None) -> None:
    """A RUN_TYPE of another kind is refused unless a section says how to relax; the default input may."""
    given = root.need("GLOBAL").get("RUN_TYPE").upper()
    says_how = any(root.find(f"MOTION/{name}") for name in OPTIMISATIONS)
    if file is not None and given and given not in RELAXING and not says_how:
        raise InputError(
            f"{given} is no relaxation, and there is no &MOTION with &GEO_OPT or &CELL_OPT; set RUN_TYPE "
            "GEO_OPT (atoms) or CELL_OPT (atoms and cell)",
            file,
            "GLOBAL/RUN_TYPE",
        )


def _check_dynamics(root: Section, dft: Dft) -> None:
    motion = root.find("MOTION/MD")
    if motion is None:
        raise InputError(
            f"AIMD needs a section &MOTION/&MD with {', '.join(MD_KEYS)}", dft.input, "MOTION/MD"
        )
    for key in MD_KEYS:
        if not motion.values(key) and not (key == "TEMPERATURE" and dft.temperature is not None):
            raise InputError(
                "AIMD needs it; CP2K's default would run something else", dft.input, f"MOTION/MD/{key}"
            )
    if not motion.get("STEPS").isdigit() or int(motion.get("STEPS")) < 1:
        raise InputError(
            f"a number of steps wanted, not {motion.get('STEPS')!r}", dft.input, "MOTION/MD/STEPS"
        )
    if dft.temperature is not None:
        _check_one_temperature(motion, dft.input)


def _check_one_temperature(motion: Section, file: Path | None) -> None:
    """Raise `InputError` where one temperature for all atoms and all steps would not be what is run."""
    ensemble = motion.get("ENSEMBLE").upper()
    if reason := NOT_ONE_TEMPERATURE.get(ensemble):
        raise InputError(f"{ensemble} {reason}; temps needs NVT, NVE or NPT", file, "MOTION/MD/ENSEMBLE")
    for key in CHANGING_TEMPERATURE:
        if motion.values(key):
            raise InputError(
                "changes the temperature on the way; remove it, or temps", file, f"MOTION/MD/{key}"
            )
    if motion.find("THERMAL_REGION"):
        raise InputError(
            "gives groups of atoms their own temperatures; remove it, or temps",
            file,
            "MOTION/MD/THERMAL_REGION",
        )


def set_dynamics(root: Section, dft: Dft) -> list[str]:
    """Temperature and seed of AIMD in place of those of the control file; returns the changes in words.

    Args:
        root: the input, changed in place.
        dft: ``temperature`` in K, None for that of the control file; ``seed`` of the first velocities and of
            the thermostat, which counts where the control file has none.
    """
    changes = set_temperature(root, dft)
    section = root.need("GLOBAL")
    if dft.seed is not None and not section.values("SEED"):
        seed = (dft.seed - 1) % LARGEST_SEED + 1
        changes += set_keyword(section, "GLOBAL", "SEED", str(seed))
    return changes


def set_temperature(root: Section, dft: Dft) -> list[str]:
    """``dft.temperature`` (K) for &MD, and for its barostat where that has one of its own.

    CP2K's thermostats, those of regions included, have no temperature but that of &MD.
    """
    if dft.temperature is None:
        return []
    places = ["MOTION/MD"]
    if (barostat := root.find("MOTION/MD/BAROSTAT")) and barostat.values("TEMPERATURE"):
        places.append("MOTION/MD/BAROSTAT")
    wanted = f"{dft.temperature:.10g}"
    told = [change for path in places for change in set_keyword(root.need(path), path, "TEMPERATURE", wanted)]
    return [f"{change} K: asked for by temps" for change in told]


def run_type(root: Section, task: Task) -> str:
    """The RUN_TYPE of a task; of the two kinds of relaxation that of the control file, else GEO_OPT."""
    if task is Task.LABEL:
        return "ENERGY_FORCE"
    given = root.need("GLOBAL").get("RUN_TYPE").upper()
    if task is Task.AIMD:
        return given if given == "MOLECULAR_DYNAMICS" else "MD"
    if given in RELAXING:
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
