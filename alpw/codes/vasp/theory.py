"""Level of theory of a VASP run: what in its input decides energy and forces, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alpw.codes.corrections import is_numerical
from alpw.codes.protocol import INPUTS_FILE
from alpw.codes.vasp import kpoints
from alpw.codes.vasp.corrections import MOTION, RULES
from alpw.codes.vasp.incar import Incar, canonical
from alpw.codes.vasp.inputs import SYMMETRY
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.formats.outcar_header import outcar_header

KPOINT_TAGS = frozenset({"KSPACING", "KGAMMA"})

DEFAULTS: dict[str, str] = {
    "ADDGRID": "F",
    "EDIFF": "1E-4",
    "GGA_COMPAT": "T",
    "ISMEAR": "1",
    "ISPIN": "1",
    "IVDW": "0",
    "LASPH": "F",
    "LDAU": "F",
    "LDAUTYPE": "2",
    "LHFCALC": "F",
    "LNONCOLLINEAR": "F",
    "LREAL": "F",
    "LSORBIT": "F",
    "LUSE_VDW": "F",
    "PREC": "Normal",
    "SIGMA": "0.2",
}
"""What VASP 5.4 and 6 take without the tag, whatever the structure; writing it out is no other level."""


def settings(directory: Path) -> dict[str, Any]:
    """Level of theory as run, read back from the last INCAR and KPOINTS, the record of inputs and OUTCAR.

    Rules stand for what they give: a spacing for the meshes of different cells, values by element for the
    lists of different compositions, the datasets of all elements of the campaign for each POTCAR.

    Returns:
        ``code``, ``version``, ``energy`` (which one is the label), ``kpoints``, ``potcar`` (title and SHA-256
        by element) and ``incar`` (canonical value by tag).

    Raises:
        CalculationError: OUTCAR is missing or cut short before the first step.
    """
    incar = Incar.read(directory / "INCAR")
    rules = json.loads((directory / INPUTS_FILE).read_text())["rules"]
    return {
        "code": "VASP",
        "version": _version(directory),
        "energy": rules["energy"],
        "kpoints": kpoints.level(directory, incar, rules["kpoints"]),
        "potcar": rules["potcar"],
        "incar": {
            tag: _level(tag, incar, rules["lists"])
            for tag in sorted(incar.values.keys() | rules["symmetry"])
            if _decides(tag, incar) or _was_changed(tag, incar, rules["symmetry"])
        },
    }


def _version(directory: Path) -> str:
    try:
        return outcar_header(directory / "OUTCAR").version
    except InputError as error:
        raise CalculationError(
            f"OUTCAR does not tell which VASP ran: {error.message}", FailureKind.UNKNOWN, directory
        ) from error


def _decides(tag: str, incar: Incar) -> bool:
    """Whether a tag is part of the level of theory, with the value that it has."""
    if tag in MOTION | SYMMETRY | KPOINT_TAGS or is_numerical(RULES, f"INCAR/{tag}"):
        return False
    return tag not in DEFAULTS or canonical(tag, incar.get(tag)) != canonical(tag, DEFAULTS[tag])


def _was_changed(tag: str, incar: Incar, written: dict[str, str]) -> bool:
    """Whether a symmetry tag has another value than it was written with."""
    return tag in SYMMETRY and canonical(tag, incar.get(tag)) != written.get(tag, "")


def _level(tag: str, incar: Incar, lists: dict[str, Any]) -> Any:
    """A value; that of a list as far as it was written for one structure, what it was written from."""
    value = canonical(tag, incar.get(tag))
    if tag in lists and value == canonical(tag, lists[tag]["written"]):
        return lists[tag]["level"]
    return value
