"""Input of a VASP run: the user's INCAR, with what makes it a label, a relaxation or AIMD of a structure."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from alpw.codes.protocol import INPUTS_FILE, Task
from alpw.codes.vasp import kpoints, lists, potcar
from alpw.codes.vasp.incar import Incar, canonical, check_values, plain
from alpw.codes.vasp.tasks import make_task
from alpw.errors import InputError
from alpw.files import write_atomically
from alpw.formats.poscar import species_order, write_poscar

if TYPE_CHECKING:
    from alpw.config import Dft

logger = logging.getLogger(__name__)

INPUTS = ("INCAR", "KPOINTS", "POSCAR", "POTCAR")

SYMMETRY = frozenset({"ISYM", "SYMPREC"})
"""Symmetry saves work where a geometry has some. The user may run AIMD without and labels with it, and both
stand in one data set; but symmetry that an error handler had to change is another level."""

CARRIED_OVER = ("WAVECAR", "CHGCAR", "CHG", "TMPCAR", "TAUCAR", "vaspwave.h5")
"""Files from which VASP starts if it finds them: those of an earlier run could lead to another state."""

NO_GROUND_STATE = re.compile(r"NONE|NOTHING|EIGENVAL|EXACT|SUBROT|CHI|BSE|TDHF|TIMEEV|ACFDT|C?RPA|\w*GW")
"""Values of ALGO that give no self-consistent ground state, hence no forces to learn from."""


def check(dft: Dft, elements: Iterable[str], task: Task = Task.LABEL) -> None:
    """Raise `InputError` for whatever in INCAR, KPOINTS, POTCAR and ``dft`` is bound to fail or mislead."""
    incar = load(dft)
    campaign = dft.elements or list(elements)
    make_task(incar, dft, task)
    kpoints.rule(dft, incar)
    lists.gather(incar, dft, campaign)
    potcar.choose(dft, [*dict.fromkeys([*campaign, *elements])])


def check_structure(atoms: Atoms, dft: Dft, task: Task = Task.LABEL) -> None:
    """Raise `InputError` for a structure that VASP cannot take, or whose lists are of another length.

    Left-handed cells are refused, as VASP refuses them: exchanging two vectors would exchange the divisions
    of a k-point mesh too, so that is for the user to do.
    """
    if not atoms.pbc.all():
        raise InputError(
            f"VASP needs a cell periodic in all directions, not pbc={atoms.pbc}; pad with vacuum and set pbc"
        )
    volume = float(np.linalg.det(np.asarray(atoms.cell)))
    if volume < 0:
        raise InputError(
            "the cell is left-handed, which VASP refuses; exchange two of its vectors: "
            "atoms.set_cell(atoms.cell[[1, 0, 2]])"
        )
    if volume < 1e-6:
        raise InputError("the cell has no volume")
    elements = set(atoms.get_chemical_symbols())
    if dft.elements and (others := sorted(elements - set(dft.elements))):
        raise InputError(f"{', '.join(others)} is none of the campaign's elements {', '.join(dft.elements)}")
    incar = load(dft)
    lists.check_order(incar, atoms)
    lists.gather(incar, dft, _campaign(atoms, dft), atoms.get_chemical_symbols())


def load(dft: Dft) -> Incar:
    """The user's INCAR.

    Raises:
        InputError: none given, an unknown tag, a value that VASP could not read, or no ground state.
    """
    if dft.input is None:
        raise InputError("VASP needs an INCAR; there is no default for DFT", key="dft.input")
    incar = Incar.read(dft.input)
    check_values(incar)
    if incar.integer("ICHARG", 0) >= 10:
        raise incar.error("ICHARG", "keeps the charge density fixed; labels must be self-consistent")
    if NO_GROUND_STATE.match(canonical("ALGO", incar.get("ALGO"))):
        raise incar.error("ALGO", "gives no self-consistent ground state with forces")
    if incar.logical("ML_LMLFF"):
        raise incar.error("ML_LMLFF", "lets VASP's own force field replace DFT")
    if incar.integer("IMAGES", 0) > 0:
        raise incar.error("IMAGES", "couples several structures; labels are of one")
    return incar


def write_inputs(
    atoms: Atoms, directory: Path, dft: Dft, task: Task = Task.LABEL, *, reuse: Path | None = None
) -> list[str]:
    """Write INCAR, POSCAR, POTCAR and, where a mesh is asked for, KPOINTS.

    POSCAR has the atoms of each element together, elements by first appearance; ``inputs.json`` records the
    order. Labels move nothing, so that they drop velocities and constraints; velocities of another
    temperature than the one asked for are dropped, too.

    Raises:
        InputError: as `check` and `check_structure`.
    """
    check_structure(atoms, dft, task)
    incar = load(dft)
    campaign = _campaign(atoms, dft)
    found = kpoints.rule(dft, incar)
    gathered = lists.gather(incar, dft, campaign, atoms.get_chemical_symbols())
    chosen = potcar.choose(dft, campaign)
    changes = make_task(incar, dft, task)
    changes += _fix_cutoff(incar, list(chosen.values()))
    told, by_tag = lists.apply(incar, gathered, atoms)
    told_kpoints, mesh = kpoints.apply(found, incar, atoms, directory)
    changes += told + told_kpoints
    for name in CARRIED_OVER:
        (directory / name).unlink(missing_ok=True)
    start = _reuse(reuse, directory, incar, atoms) if reuse is not None and task is Task.LABEL else None
    order = species_order(atoms)
    species = lists.first_appearance([atoms.get_chemical_symbols()[atom] for atom in order])
    written = _as_written(atoms, task, dft)
    if task is Task.AIMD and atoms.has("momenta") and not written.has("momenta"):
        changes.append("POSCAR: velocities left out: temps asks for new ones of its temperature")
    write_poscar(directory / "POSCAR", written)
    potcar.write(directory / potcar.POTCAR, [chosen[element] for element in species])
    write_atomically(directory / "INCAR", str(incar).encode())
    rules = {
        "task": task.value,
        "energy": dft.energy,
        "kpoints": mesh,
        "lists": by_tag,
        "potcar": potcar.record(chosen),
        "symmetry": {tag: canonical(tag, incar.get(tag)) for tag in sorted(SYMMETRY) if tag in incar},
        "order": [int(atom) for atom in order],
        "reused": None if start is None else str(start),
    }
    record = json.dumps({"changes": changes, "rules": rules}, indent=1)
    write_atomically(directory / INPUTS_FILE, record.encode())
    for change in changes:
        logger.info("%s: %s", directory, change)
    return changes


def _campaign(atoms: Atoms, dft: Dft) -> list[str]:
    return dft.elements or lists.first_appearance(atoms.get_chemical_symbols())


def _as_written(atoms: Atoms, task: Task, dft: Dft) -> Atoms:
    """The structure of POSCAR. Velocities in it would override TEBEG, which only the thermostat then sees."""
    written = atoms.copy()
    if task is Task.LABEL:
        written.set_constraint()
    keeps_velocities = task is Task.AIMD and dft.temperature is None
    if not keeps_velocities and written.has("momenta"):
        del written.arrays["momenta"]
    return written


def _fix_cutoff(incar: Incar, chosen: Sequence[potcar.Dataset]) -> list[str]:
    """One cutoff for all compositions.

    Without ENCUT, VASP takes the largest ENMAX of the elements in the cell (PREC = High: 1.3 times it), so
    that cells of other elements would be labelled with other basis sets.
    """
    cutoffs = {dataset.enmax for dataset in chosen}
    if "ENCUT" in incar or "ENMAX" in incar or len(cutoffs) < 2:
        return []
    precision = canonical("PREC", incar.get("PREC", "Normal"))
    if precision == "L":
        raise InputError("PREC = Low needs ENCUT where elements differ in ENMIN", incar.file, "ENCUT")
    cutoff = max(cutoffs) * (1.3 if precision == "H" else 1.0)
    return [f"{change} eV, of all elements" for change in incar.set("ENCUT", plain(round(cutoff, 3)))]


def _reuse(folder: Path, directory: Path, incar: Incar, atoms: Atoms) -> Path | None:
    """Copy the wavefunction of another label of the same atoms; None where it does not serve.

    Only without spin and without DFT+U, where there is one ground state to end in. A link would not do: VASP
    writes into the file.
    """
    several_states = (
        incar.integer("ISPIN", 1) == 2 or incar.is_noncollinear or incar.logical("LDAU") or "NUPDOWN" in incar
    )
    source = folder / "WAVECAR"
    if several_states or incar.integer("ISTART", 1) == 0 or not source.is_file() or not source.stat().st_size:
        return None
    try:
        before = Incar.read(folder / "INCAR")
        counts = (folder / "POSCAR").read_text().splitlines()[5:7]
    except (InputError, OSError) as error:
        logger.warning("%s: the wavefunction is not reused: %s", folder, error)
        return None
    symbols = [atoms.get_chemical_symbols()[atom] for atom in species_order(atoms)]
    species = lists.first_appearance(symbols)
    wanted = [species, [str(symbols.count(element)) for element in species]]
    if (
        before.integer("ISPIN", 1) == 2
        or before.is_noncollinear
        or [line.split() for line in counts] != wanted
    ):
        return None
    shutil.copyfile(source, directory / "WAVECAR")
    return source
