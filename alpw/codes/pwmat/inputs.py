"""Input of a PWmat run: the user's etot.input, with what makes it the task at hand for this structure.

The user's file is the authority. What is set on top of it is what the task needs (JOB, the names of structure
and potentials, the outputs that are read) and what a structure of its own needs (the k-point mesh), and every
change is reported.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from alpw.codes import kpoints
from alpw.codes.protocol import INPUTS_FILE, Task
from alpw.codes.pwmat.corrections import STRUCTURE
from alpw.codes.pwmat.etot import INPUT, Etot, read_etot, split_words
from alpw.codes.pwmat.jobs import check_ranks
from alpw.codes.pwmat.motion import check_motion, set_motion, starts_from_velocities
from alpw.codes.pwmat.pseudo import (
    SKF_FOLDER,
    Mode,
    gaussian_potentials,
    mode_of,
    needs_skf,
    potentials_of,
    skf_files,
    upf_potentials,
)
from alpw.codes.pwmat.species import renumber, values_by_element
from alpw.errors import InputError
from alpw.files import write_atomically
from alpw.structures.atom_config import write_atom_config

if TYPE_CHECKING:
    from alpw.config import Dft

logger = logging.getLogger(__name__)

DEFAULT_KSPACING = 0.5
DEFAULT_SYMMETRY = {Task.LABEL: 0, Task.RELAX: 0, Task.AIMD: 3}
"""Symmetry flag of the k-point mesh: 0 uses the symmetry of the lattice and time reversal, 3 neither. The
first structure of AIMD may have a symmetry that the next ones lack."""

OTHER_STRUCTURE = (
    "IN.WG",
    "IN.RHO",
    "IN.VR",
    "IN.KPT",
    "IN.SYMM",
    "IN.OCC",
    "IN.OCC_ADIA",
    "IN.CC",
    "IN.HSEWR",
)
"""Switches that read a file which belongs to one structure."""
COMPANIONS = ("IN.SOLVENT", "IN.VEXT", "IN.NONSCF", "IN.RELAXOPT", "IN.MDOPT", "IN.EXT_FORCE")
"""Switches that read a file of the same name, which lies next to the user's etot.input."""
LARGE_OUTPUTS = ("OUT.WG", "OUT.RHO", "OUT.VR")


def check(dft: Dft, elements: Iterable[str], task: Task = Task.LABEL) -> None:
    """Raise `InputError`: a file or potential is missing, or the control file cannot do the task."""
    etot = load(dft)
    kspacing(dft, etot)
    symmetry(dft, etot, task)
    check_motion(etot, dft, task)
    for key in OTHER_STRUCTURE:
        if etot.flag(key):
            raise InputError(
                f"{key} = T starts from a file of another structure; set it to F", etot.file, key
            )
    companions(etot)
    values_by_element(etot, dft)
    wanted = list(dict.fromkeys([*dft.elements, *elements]))
    potentials_of(etot, dft, wanted)
    if "ECUT" not in etot and mode_of(etot) is Mode.PLANE_WAVES and len(wanted) > 1:
        logger.warning(
            "%s: without ECUT, PWmat takes the largest that the pseudopotentials of a structure recommend: "
            "structures of other elements are labelled at another level",
            etot.file,
        )


def check_command(dft: Dft, command: str) -> None:
    """Raise `InputError` if the ranks of the program call do not fit the node grid of the control file."""
    check_ranks(load(dft), command.split())


def check_structure(atoms: Atoms, dft: Dft, task: Task = Task.LABEL) -> None:
    """Raise `InputError`: not periodic in all directions, or without the velocities that MD_DETAIL needs."""
    if not atoms.pbc.all():
        raise InputError(
            f"PWmat needs a cell periodic in all directions, not pbc={atoms.pbc}; pad with vacuum"
        )
    if task is Task.AIMD and starts_from_velocities(load(dft)) and not atoms.has("momenta"):
        raise InputError(
            "method 11 and above begin with the velocities of the structure, which has none; use 1 to 8",
            dft.input,
            "MD_DETAIL",
        )


def load(dft: Dft) -> Etot:
    """The user's control file.

    Raises:
        InputError: none given, missing, or not valid.
    """
    if dft.input is None:
        raise InputError("PWmat needs a control file, etot.input", key="dft.input")
    return read_etot(Path(dft.input))


def companions(etot: Etot) -> dict[str, Path]:
    """Files next to the control file that it switches on, by name.

    Raises:
        InputError: one is missing.
    """
    found = {}
    for key in COMPANIONS:
        if not etot.flag(key):
            continue
        path = Path(etot.file).parent / key if etot.file else Path(key)
        if not path.is_file():
            raise InputError(f"{key} = T needs the file {path}", etot.file, key)
        found[key] = path
    return found


def kspacing(dft: Dft, etot: Etot) -> float | None:
    """Spacing of the k-point mesh in 1/Å; None if MP_N123 of the control file decides.

    Raises:
        InputError: both are given, or two spacings that differ.
    """
    sources = {
        "dft.kspacing": dft.kspacing,
        "dft.gaussian_param.kspacing": (dft.gaussian_param or {}).get("kspacing"),
        "KSPACING": etot.numbers("KSPACING")[0] if "KSPACING" in etot else None,
    }
    given = {key: float(value) for key, value in sources.items() if value is not None}
    if given and "MP_N123" in etot:
        raise InputError(
            f"MP_N123 is in the control file, and {next(iter(given))} is given; keep one",
            etot.file,
            next(iter(given)),
        )
    if len(set(given.values())) > 1:
        values = ", ".join(f"{key} = {value:g}" for key, value in given.items())
        raise InputError(f"different spacings of k-points: {values}", etot.file, "dft.kspacing")
    if "MP_N123" in etot:
        return None
    spacing = next(iter(given.values()), DEFAULT_KSPACING)
    if not spacing > 0:
        raise InputError(f"{spacing:g} is no spacing", etot.file, next(iter(given)))
    return spacing


def symmetry(dft: Dft, etot: Etot, task: Task) -> int:
    """Symmetry flag of the k-point mesh: of MP_N123, else FLAG_SYMM or dft.flag_symm, else the task's
    default.

    Raises:
        InputError: two that differ.
    """
    mesh = etot.words("MP_N123")
    in_mesh = int(mesh[6]) if len(mesh) > 6 else 0 if mesh else None
    in_file = int(etot.words("FLAG_SYMM")[0]) if "FLAG_SYMM" in etot else None
    sources = {"MP_N123": in_mesh, "FLAG_SYMM": in_file, "dft.flag_symm": dft.flag_symm}
    given = {key: value for key, value in sources.items() if value is not None}
    if len(set(given.values())) > 1:
        values = ", ".join(f"{value} by {key}" for key, value in given.items())
        raise InputError(f"different symmetry flags of the k-points: {values}", etot.file, "dft.flag_symm")
    flag = next(iter(given.values()), DEFAULT_SYMMETRY[task])
    if task is Task.AIMD and flag < 2:
        logger.warning(
            "%s: flag %d reduces the k-points by the symmetry of the first structure, which AIMD breaks",
            etot.file,
            flag,
        )
    return flag


def write_inputs(atoms: Atoms, directory: Path, dft: Dft, task: Task = Task.LABEL) -> list[str]:
    """Write etot.input and atom.config, link the potentials, and record every change to the control file.

    Returns:
        The changes, in words.

    Raises:
        InputError: as `check`.
    """
    etot = load(dft)
    spacing = kspacing(dft, etot)
    elements = list(dict.fromkeys(atoms.get_chemical_symbols()))
    changes = _apply_task(etot, dft, task)
    by_element = values_by_element(etot, dft)
    changes += _apply_potentials(etot, dft, elements, directory)
    changes += renumber(etot, by_element, elements)
    if spacing is not None:
        mesh = kpoints.mesh(np.asarray(atoms.cell), spacing)
        words = [*mesh, 0, 0, 0, symmetry(dft, etot, task)]
        etot.set("MP_N123", " ".join(map(str, words)))
        changes.append(f"MP_N123: {etot.get('MP_N123')} from kspacing {spacing:g}/Å")
    _link(directory, companions(etot).values())
    (directory / INPUT).write_text(str(etot), encoding="utf-8")
    moving = task is Task.AIMD and starts_from_velocities(etot)
    write_atom_config(directory / STRUCTURE, atoms, velocities=moving)
    campaign = list(dict.fromkeys([*dft.elements, *elements]))
    record(
        directory,
        changes=changes,
        rules={
            "kspacing": spacing,
            "potentials": potentials_of(etot, dft, campaign),
            "by_element": by_element,
        },
        resumed={},
    )
    for change in changes:
        logger.info("%s: %s", directory / INPUT, change)
    return changes


def record(directory: Path, **entries: Any) -> None:
    """Put entries into the record of what was done to the inputs."""
    path = directory / INPUTS_FILE
    found = json.loads(path.read_text()) if path.is_file() else {}
    write_atomically(path, json.dumps({**found, **entries}, indent=1).encode())


def recorded(directory: Path) -> Mapping[str, Any]:
    """What `record` wrote."""
    found: dict[str, Any] = json.loads((directory / INPUTS_FILE).read_text())
    return found


def _apply_task(etot: Etot, dft: Dft, task: Task) -> list[str]:
    changes = set_motion(etot, dft, task)
    changes += etot.set("IN.ATOM", STRUCTURE)
    for key in ("OUT.FORCE", "OUT.MLMD") if task is Task.LABEL else ():
        changes += _switch_on(etot, key)
    if dft.stress and (task is Task.LABEL or "OUT.STRESS" not in etot):
        changes += _switch_on(etot, "OUT.STRESS")
    for key in LARGE_OUTPUTS:
        if key not in etot:
            changes += etot.set(key, "F")
    return changes


def _switch_on(etot: Etot, key: str) -> list[str]:
    return [] if etot.flag(key) else etot.set(key, "T")


def _apply_potentials(etot: Etot, dft: Dft, elements: Sequence[str], directory: Path) -> list[str]:
    """Name the potentials of the structure's elements, in the order of their first appearance."""
    before = {key: etot.get(key) for prefix in ("IN.PSP", "IN.BASIS") for key in etot.numbered(prefix)}
    if "IN.SKF" in etot:
        before["IN.SKF"] = etot.get("IN.SKF")
    wanted: dict[str, str] = {}
    mode = mode_of(etot)
    if mode is Mode.DFTB:
        if needs_skf(etot):
            wanted["IN.SKF"] = f"./{SKF_FOLDER}/"
            folder = next(iter(skf_files(dft, elements).values())).parent
            _replace_link(directory / SKF_FOLDER, folder)
    else:
        found = (
            upf_potentials(dft, elements) if mode is Mode.PLANE_WAVES else gaussian_potentials(dft, elements)
        )
        for number, element in enumerate(elements, start=1):
            potential = found[element]
            wanted[f"IN.PSP{number}"] = potential.psp
            if potential.basis:
                wanted[f"IN.BASIS{number}"] = potential.basis
            _link(directory, potential.files)
    for key in before.keys() - wanted.keys():
        etot.remove(key)
    for key, value in wanted.items():
        etot.set(key, value)
    return [
        f"{key}: {before.get(key) or 'none'} -> {wanted.get(key) or 'none'}"
        for key in sorted({*before, *wanted})
        if split_words(before.get(key, "")) != split_words(wanted.get(key, ""))
    ]


def _link(directory: Path, files: Iterable[Path]) -> None:
    for path in files:
        _replace_link(directory / path.name, path)


def _replace_link(link: Path, target: Path) -> None:
    target = target.resolve()
    if link.is_symlink() or link.is_file():
        if link.resolve() == target:
            return
        link.unlink()
    link.symlink_to(target)
