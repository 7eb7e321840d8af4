"""Level of theory of a PWmat run: what in its input decides the numbers, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from alpw.codes.pwmat.corrections import SCF_LINE, canonical, is_level_of_theory, scf_lines
from alpw.codes.pwmat.etot import INPUT, Etot, read_etot
from alpw.codes.pwmat.inputs import COMPANIONS, recorded
from alpw.codes.pwmat.keys import KEYS, Kind
from alpw.codes.pwmat.pseudo import Mode, mode_of
from alpw.codes.pwmat.report import Report, read_report
from alpw.codes.pwmat.species import split_number

_ELSEWHERE = frozenset({"IN.ATOM", "IN.SKF", "MP_N123", "KSPACING", "FLAG_SYMM", "USE_DFTB", "ECUT"})
"""Keys whose meaning stands under a name of its own in the settings."""


def settings(directory: Path) -> dict[str, Any]:
    """Level of theory as run, read back from the last input and from REPORT.

    Rules stand for what they give: ``kspacing`` for the meshes of different cells, elements for the numbers
    of pseudopotentials. The symmetry flag of the mesh is left out: with and without symmetry the sum over the
    k-points is the same.

    Returns:
        ``code``, ``version``, ``mode``, ``kpoints``, ``cutoff`` (Ry), ``functional``, ``smearing`` (eV and
        kind, of the first and of later ionic steps), ``potentials`` (names and SHA-256), ``by_element``
        (settings of single elements), ``files`` (SHA-256 of companion files) and ``input`` (all other keys).
    """
    etot, report = read_etot(directory / INPUT), read_report(directory)
    rules = recorded(directory)["rules"]
    mode = mode_of(etot)
    mesh: Any = {"kspacing": rules["kspacing"]}
    if rules["kspacing"] is None:
        mesh = canonical(" ".join([*etot.words("MP_N123"), "0", "0", "0"][:6]))
    return {
        "code": "PWmat",
        "version": report.version,
        "mode": mode.value,
        "kpoints": mesh,
        "cutoff": _used("ECUT", etot, report) if mode is not Mode.DFTB else "",
        "functional": _used("XCFUNCTIONAL", etot, report) if mode is not Mode.DFTB else "",
        "smearing": _smearing(etot, report),
        "potentials": rules["potentials"],
        "by_element": {
            key: {element: canonical(value) for element, value in values.items()}
            for key, values in rules["by_element"].items()
        },
        "files": {
            key: hashlib.sha256((directory / key).read_bytes()).hexdigest()
            for key in COMPANIONS
            if etot.flag(key) and is_level_of_theory(f"{INPUT}/{key}") and (directory / key).is_file()
        },
        "input": {key: canonical(etot.get(key)) for key in sorted(etot) if _decides(key, etot)},
    }


def _decides(key: str, etot: Etot) -> bool:
    if key in _ELSEWHERE or key == "XCFUNCTIONAL" or SCF_LINE.fullmatch(key) or split_number(key):
        return False
    if key.startswith(("IN.PSP", "IN.BASIS")) or not is_level_of_theory(f"{INPUT}/{key}"):
        return False
    # A switch that is off says nothing that its absence does not say.
    shape = KEYS.get(key)
    return not (shape and shape.kind is Kind.FLAG and not etot.flag(key))


def _used(key: str, etot: Etot, report: Report) -> str:
    """A value as PWmat used it, defaults included where REPORT echoes them."""
    return canonical(etot.get(key) or report.settings.get(key, ""))


def _smearing(etot: Etot, report: Report) -> dict[str, str]:
    lines = scf_lines(etot, report)
    found = {}
    for stage, name in (("SCF_ITER0_", "first step"), ("SCF_ITER1_", "later steps")):
        last = max(key for key in lines if key.startswith(stage))
        found[name] = canonical(" ".join(lines[last][4:]))
    return found
