"""What a VASP run gives: labels, ionic steps, and whether it did what it was asked to do.

OUTCAR is what is read, for it keeps every finished step of a run that was killed; vasprun.xml, which repeats
energy and forces with more digits, has to agree with it. VASP's order of atoms is that of its POSCAR,
elements together; everything given here is in the order of the structure that was asked for.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from alpw.codes.geometry import check_same_structure
from alpw.codes.handlers import tail
from alpw.codes.process import TERMINATED
from alpw.codes.protocol import Task
from alpw.codes.vasp.continuation import resume
from alpw.codes.vasp.messages import ERRORS_FILE, errors_in, said, words_of
from alpw.codes.vasp.progress import POSITIVE_ENERGY, has_steps, is_complete
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.formats.outcar import is_finished, outcar_header, read_outcar
from alpw.formats.poscar import species_order
from alpw.formats.vasprun import read_vasprun
from alpw.structures.frame import Label
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from alpw.config import Dft

__all__ = ["complete", "last_words", "read_label", "read_steps", "resume"]

ENERGY_TOLERANCE = 1e-4
"""eV, between OUTCAR and vasprun.xml"""
FORCE_TOLERANCE = 1e-3
"""eV/Å, between OUTCAR and vasprun.xml"""

RELAXED = b"reached required accuracy"

_BOX = re.compile(r"^ *\|(.*)\| *$")
_ART = re.compile(r"^[\s_|/\\<>()'`.-]*$|[_|/\\]{2,}|_ +_|\| +\|")
_TELLING = re.compile(
    r"error|severe|fatal|internal|very bad news|refuse|not found|killed|abort|failed|\bbad\b", re.I
)


def read_label(directory: Path, atoms: Atoms, dft: Dft) -> Label:
    """Energy, forces and virial of ``atoms``, after making sure that they are theirs and converged.

    Raises:
        CalculationError: of kind ``node`` (cut short), ``scf`` (unconverged, or a positive total energy) or
            ``unknown`` (another structure, no numbers, two outputs that disagree).
    """
    if not is_finished(directory / "OUTCAR"):
        raise CalculationError("OUTCAR is cut short", FailureKind.NODE, directory)
    frames = _read_outcar(directory, atoms)
    if frames is None:
        raise CalculationError("energy or forces in OUTCAR are no numbers", FailureKind.UNKNOWN, directory)
    if len(frames) != 1:
        raise CalculationError(
            f"OUTCAR holds {len(frames)} ionic steps, a label has one", FailureKind.UNKNOWN, directory
        )
    if not frames.converged[0]:
        raise CalculationError("the SCF did not converge", FailureKind.SCF, directory)
    if frames.energies[0] > POSITIVE_ENERGY * len(atoms):
        raise CalculationError(
            f"the total energy is positive, {frames.energies[0]:.6g} eV", FailureKind.SCF, directory
        )
    check_same_structure(atoms, _nearest_images(atoms, frames[0].atoms), directory)
    _check_agreement(directory, atoms, frames)
    return _with_energy(frames, dft)[0].label


def read_steps(directory: Path, atoms: Atoms, dft: Dft, task: Task) -> LabelledFrames | None:
    """The finished ionic steps of the last attempt; None without any.

    Unconverged steps are marked, and so are those with a positive total energy.

    Raises:
        CalculationError: they belong to other atoms.
    """
    if not has_steps(directory):
        return None
    frames = _read_outcar(directory, atoms)
    if frames is None:
        return None
    believable = frames.energies <= POSITIVE_ENERGY * len(atoms)
    return _with_energy(replace(frames, converged=frames.converged & believable), dft)


def complete(directory: Path, task: Task) -> bool:
    """Whether a relaxation reached EDIFFG, whether AIMD made all its steps."""
    path = directory / "OUTCAR"
    if not has_steps(directory):
        return False
    if task is Task.RELAX:
        return is_finished(path) and _count(path, RELAXED) > 0
    if task is Task.AIMD:
        asked = outcar_header(path).nsw
        return asked is not None and _count(path, b"LOOP+:") >= asked
    return is_complete(directory, task)


def last_words(directory: Path) -> str:
    """The line that tells most: a known error, VASP's box, a line with "error"; empty without any."""
    if known := errors_in(directory):
        return words_of(known[0], directory)
    text = said(directory)
    boxed = [match[1].strip() for line in text.splitlines() if (match := _BOX.match(line))]
    if told := [line for line in boxed if line and not _ART.search(line)]:
        return " ".join(" ".join(told).split())[:400]
    telling = [line.strip() for line in text.splitlines() if _TELLING.search(line)]
    errors = [line.strip() for line in tail(directory / ERRORS_FILE).splitlines() if line.strip()]
    return next((line for line in [*telling[-1:], *errors[-1:]] if line != TERMINATED), "")


def _read_outcar(directory: Path, atoms: Atoms) -> LabelledFrames | None:
    """All complete steps of OUTCAR with their free energies, in the order of ``atoms``."""
    return _in_order(read_outcar(directory / "OUTCAR"), atoms, directory / "OUTCAR")


def _with_energy(frames: LabelledFrames, dft: Dft) -> LabelledFrames:
    """With the energy that the user wants for labels."""
    return frames if dft.energy == "free" else replace(frames, energies=frames.extras["energy_sigma0"])


def _in_order(batches: Iterable[LabelledFrames], atoms: Atoms, file: Path) -> LabelledFrames | None:
    """Frames in the order of ``atoms``, None without any."""
    try:
        parts = list(batches)
        frames = LabelledFrames.join(parts) if parts else None
    except (InputError, ValueError) as error:
        raise CalculationError(
            f"{file.name} cannot be read: {error}", FailureKind.UNKNOWN, file.parent
        ) from error
    if frames is None:
        return None
    order = species_order(atoms)
    if not np.array_equal(frames.numbers, atoms.numbers[order]):
        found = Atoms(numbers=frames.numbers).symbols
        raise CalculationError(
            f"asked for {atoms.symbols}, {file.name} is of {found}", FailureKind.UNKNOWN, file.parent
        )
    return frames.reordered(np.argsort(order))


def _nearest_images(asked: Atoms, computed: Atoms) -> Atoms:
    """The computed structure with each atom in the periodic image next to where it was asked for.

    VASP prints positions wrapped into the cell.
    """
    shift, _ = find_mic(computed.positions - asked.positions, asked.cell, asked.pbc)
    moved = computed.copy()
    moved.positions = asked.positions + shift
    return moved


def _check_agreement(directory: Path, atoms: Atoms, frames: LabelledFrames) -> None:
    """OUTCAR and vasprun.xml are two records of one run; if they differ, one of them is not of this run."""
    path = directory / "vasprun.xml"
    if not path.is_file():
        return
    # Its energy extrapolated to zero smearing is known to be wrong in some versions: compare free energies.
    other = _in_order(read_vasprun(path), atoms, path)
    steps = 0 if other is None else len(other)
    if other is None or steps != len(frames):
        raise CalculationError(
            f"two outputs disagree: OUTCAR holds {len(frames)} steps, vasprun.xml {steps}",
            FailureKind.UNKNOWN,
            directory,
        )
    for name, unit, tolerance in (("energies", "eV", ENERGY_TOLERANCE), ("forces", "eV/Å", FORCE_TOLERANCE)):
        difference = float(np.abs(getattr(frames, name) - getattr(other, name)).max())
        if not difference <= tolerance:
            raise CalculationError(
                f"two outputs disagree: {name} of OUTCAR and vasprun.xml differ by {difference:.2g} {unit}",
                FailureKind.UNKNOWN,
                directory,
            )


def _count(path: Path, mark: bytes) -> int:
    if not path.is_file() or not path.stat().st_size:
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        count, found = 0, content.find(mark)
        while found >= 0:
            count, found = count + 1, content.find(mark, found + len(mark))
        return count
