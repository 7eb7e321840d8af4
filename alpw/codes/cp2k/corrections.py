"""Which keyword of a CP2K input is numerical and which one changes the physics; why, in one line each.

The level of theory of a label leaves out exactly what is numerical here, beside the structure, the motion of
the atoms and every ``PRINT`` section.
"""

from __future__ import annotations

from pathlib import Path

from alpw.codes.corrections import Effect, Rule, Rules
from alpw.codes.cp2k.sections import Section, read

INPUT = "cp2k.inp"

STRUCTURE = frozenset({"CELL", "COORD", "VELOCITY", "RNG_INIT"})
"""Sections of ``&SUBSYS`` that hold the structure and its motion: no part of the level of theory."""


def _numerical(reason: str) -> Rule:
    return Rule(Effect.NUMERICAL, reason)


_DFT = f"{INPUT}/FORCE_EVAL/DFT"
_SCF = f"{_DFT}/SCF"
_RELAX_ONLY = "how an optimisation finds the minimum, not where it is"

RULES: Rules = {
    f"{INPUT}/GLOBAL/*": _numerical("names, printing, seeds, FFT library and parallel layout"),
    f"{INPUT}/GLOBAL/RUN_TYPE": Rule(
        Effect.PHYSICS, "another kind of calculation", never_in=("label", "relax", "aimd")
    ),
    f"{_DFT}/WFN_RESTART_FILE_NAME": _numerical("orbitals to start from; the SCF still converges them"),
    f"{_DFT}/RESTART_FILE_NAME": _numerical("another name of WFN_RESTART_FILE_NAME"),
    f"{_DFT}/KPOINTS/PARALLEL_GROUP_SIZE": _numerical("distribution of k-points over processes"),
    f"{_DFT}/KPOINTS/VERBOSE": _numerical("printing"),
    f"{_DFT}/QS/EXTRAPOLATION": _numerical("first guess of the next ionic step"),
    f"{_DFT}/QS/EXTRAPOLATION_ORDER": _numerical("first guess of the next ionic step"),
    f"{_SCF}/CHOLESKY": _numerical("algorithm of the generalised eigenproblem"),
    f"{_SCF}/EPS_DIIS": _numerical("when DIIS sets in"),
    f"{_SCF}/EPS_SCF_HISTORY": _numerical("convergence of the SCFs that only extrapolate"),
    f"{_SCF}/IGNORE_CONVERGENCE_FAILURE": _numerical("what is done without convergence; no label either way"),
    f"{_SCF}/MAX_DIIS": _numerical("length of the DIIS history"),
    f"{_SCF}/MAX_SCF": _numerical("number of SCF iterations"),
    f"{_SCF}/MAX_SCF_HISTORY": _numerical("number of SCF iterations while extrapolating"),
    f"{_SCF}/SCF_GUESS": _numerical("first guess of the density"),
    f"{_SCF}/DIAGONALIZATION/*": _numerical("algorithm of the diagonalisation"),
    f"{_SCF}/MIXING/*": _numerical("mixing of densities between iterations"),
    f"{_SCF}/OT/*": _numerical("minimiser of the orbital transformation"),
    f"{_SCF}/OUTER_SCF/DIIS_BUFFER_LENGTH": _numerical("length of the outer DIIS history"),
    f"{_SCF}/OUTER_SCF/MAX_SCF": _numerical("number of outer iterations"),
    f"{_SCF}/OUTER_SCF/OPTIMIZER": _numerical("outer optimiser"),
    f"{_SCF}/OUTER_SCF/STEP_SIZE": _numerical("outer step"),
    f"{_SCF}/OUTER_SCF/TYPE": _numerical("kind of outer loop"),
    f"{_SCF}/PRINT/*": _numerical("what is written"),
    f"{_DFT}/PRINT/*": _numerical("what is written"),
    f"{INPUT}/FORCE_EVAL/PRINT/*": _numerical("what is written"),
    f"{INPUT}/MOTION/PRINT/*": _numerical("what is written"),
    f"{INPUT}/FORCE_EVAL/SUBSYS/COORD": Rule(Effect.PHYSICS, "the structure itself", harmless_in=("relax",)),
    f"{INPUT}/FORCE_EVAL/SUBSYS/CELL": Rule(Effect.PHYSICS, "the structure itself"),
    f"{INPUT}/FORCE_EVAL/SUBSYS/VELOCITY": Rule(Effect.PHYSICS, "the state of MD", never_in=("aimd",)),
    f"{INPUT}/MOTION/MD/*": Rule(Effect.PHYSICS, "would make it another MD", never_in=("aimd",)),
    **{
        f"{INPUT}/MOTION/{kind}/{name}": Rule(Effect.PHYSICS, _RELAX_ONLY, harmless_in=("relax",))
        for kind in ("GEO_OPT", "CELL_OPT")
        for name in ("OPTIMIZER", "MAX_ITER", "BFGS/*", "CG/*", "LBFGS/*")
    },
}
"""A keyword that is not here changes the physics. EPS_SCF is not: it is how well the answer is known."""


def settings_of_inputs(directory: Path) -> dict[str, str]:
    """Every keyword of ``cp2k.inp`` by its path, such as ``cp2k.inp/FORCE_EVAL/DFT/SCF/MAX_SCF``.

    Sections with an argument bear it in their name (``KIND Si``) unless it is a switch, which then stands
    under ``_``. Structure sections are one entry each. A keyword that repeats has its values joined by ``;``.
    """
    path = directory / INPUT
    settings: dict[str, str] = {}
    if path.is_file():
        _collect(read(path), INPUT, settings)
    return settings


def _collect(section: Section, path: str, settings: dict[str, str]) -> None:
    values: dict[str, list[str]] = {}
    for keyword, value in section.keywords:
        values.setdefault(keyword.upper(), []).append(value)
    settings.update({f"{path}/{keyword}": "; ".join(found) for keyword, found in values.items()})
    for child in section.sections:
        place = f"{path}/{child.name}"
        if path.endswith("/SUBSYS") and child.name in STRUCTURE:
            settings[place] = str(child)
            continue
        if child.argument and not _is_switch(child.argument):
            place += f" {child.argument}"
        while f"{place}/_" in settings:
            place += "'"
        settings[f"{place}/_"] = child.argument
        _collect(child, place, settings)


def _is_switch(argument: str) -> bool:
    return argument.strip(".").upper() in {"ON", "OFF", "T", "F", "TRUE", "FALSE", "YES", "NO", "SILENT"}
