"""Files that hold structures, and the placeholders for wavefunctions and density."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

import numpy as np
from ase import Atoms

from vasp.fortran import fixed_row
from vasp.inputs import InputFailure
from vasp.setup import Setup

WAVEFUNCTIONS = "stand-in wavefunctions "


def write_contcar(folder: Path, setup: Setup, atoms: Atoms, velocities: np.ndarray | None = None) -> None:
    """The structure as a POSCAR, with velocities (Å/fs) in molecular dynamics.

    As in VASP these are the positions of the *next* step of a molecular dynamics, so that a run continued
    from it repeats no step; the velocities are those of the half step before.
    """
    poscar = setup.poscar
    text = f"{poscar.title or 'unknown'}\n   1.00000000000000     \n"
    for row in atoms.cell.array:
        text += f"{fixed_row(row, 22, 16)}\n"
    text += "   " + "   ".join(f"{potential.element:<2s}" for potential in setup.potentials) + "\n"
    text += "   " + " ".join(f"{count:5d}" for count in poscar.counts) + "\n"
    text += "Selective dynamics\nDirect\n" if poscar.selective else "Direct\n"
    for position, free in zip(atoms.get_scaled_positions(), poscar.movable, strict=True):
        text += fixed_row(position, 20, 16)
        text += "".join("   T" if flag else "   F" for flag in free) if poscar.selective else ""
        text += "\n"
    if velocities is not None:
        text += "\n" + "".join("".join(f"{v:25.15E}" for v in row) + "\n" for row in velocities)
    (folder / "CONTCAR").write_text(text)


class Xdatcar:
    """The trajectory; the cell is repeated with each frame if it changes."""

    def __init__(self, folder: Path, setup: Setup) -> None:
        self.file: IO[str] = (folder / "XDATCAR").open("w")
        self.setup = setup
        self.variable = setup.parameters["ISIF"] >= 3 and setup.parameters["NSW"] > 0
        if not self.variable:
            self._cell(setup.atoms)

    def _cell(self, atoms: Atoms) -> None:
        self.file.write(f"{self.setup.poscar.title or 'unknown'}\n           1\n")
        for row in atoms.cell.array:
            self.file.write(f"{fixed_row(row, 13, 6)}\n")
        self.file.write("   " + "   ".join(p.element for p in self.setup.potentials) + "\n")
        self.file.write("   " + "   ".join(map(str, self.setup.poscar.counts)) + "\n")

    def frame(self, number: int, atoms: Atoms) -> None:
        if self.variable:
            self._cell(atoms)
        self.file.write(f"Direct configuration={number:6d}\n")
        for position in atoms.get_scaled_positions():
            self.file.write(f" {fixed_row(position, 12, 8)}\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def write_ibzkpt(folder: Path, setup: Setup) -> None:
    points, weights = setup.kpoints.points, setup.kpoints.weights
    counts = np.round(weights / weights.min()).astype(int)
    rows = zip(points, counts, strict=True)
    (folder / "IBZKPT").write_text(
        f"Automatically generated mesh\n{len(points):8d}\nReciprocal lattice\n"
        + "".join(f"{fixed_row(point, 20, 14)}{count:14d}\n" for point, count in rows)
    )


def wavefunction_key(setup: Setup) -> str:
    """What must agree for wavefunctions of another run to be of use."""
    parameters = setup.parameters
    parts = (
        [potential.title for potential in setup.potentials],
        setup.poscar.counts,
        [float(parameters["ENCUT"]), parameters["NBANDS"], parameters["ISPIN"]],
        np.round(setup.kpoints.points, 6).tolist(),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def read_wavecar(folder: Path, setup: Setup) -> bool:
    """Whether the run starts from the wavefunctions of an earlier one.

    Raises:
        InputFailure: the file is damaged; VASP stops.
    """
    path = folder / "WAVECAR"
    if setup.parameters["ISTART"] == 0 or not path.is_file() or not path.stat().st_size:
        return False
    text = path.read_bytes().decode(errors="replace")
    if not text.startswith(WAVEFUNCTIONS) or not text.endswith("\n"):
        raise InputFailure(" ERROR: while reading WAVECAR, plane wave coefficients changed")
    return text[len(WAVEFUNCTIONS) :].strip() == wavefunction_key(setup)


def write_placeholders(folder: Path, setup: Setup, atoms: Atoms) -> None:
    """WAVECAR and CHGCAR, empty if the run is not to keep them, and what else VASP leaves."""
    parameters = setup.parameters
    (folder / "WAVECAR").write_text(
        f"{WAVEFUNCTIONS}{wavefunction_key(setup)}\n" if parameters["LWAVE"] else ""
    )
    density = ""
    if parameters["LCHARG"]:
        rows = "".join(f" {fixed_row(row, 12, 6)}\n" for row in atoms.cell.array)
        places = "".join(f"{fixed_row(row, 10, 6)}\n" for row in atoms.get_scaled_positions())
        values = " ".join(f"{float(parameters['NELECT']):.11E}" for _ in range(8))
        density = (
            f"{setup.poscar.title or 'unknown'}\n   1.00000000000000     \n{rows}"
            f"   {'   '.join(p.element for p in setup.potentials)}\n"
            f"   {'   '.join(map(str, setup.poscar.counts))}\nDirect\n{places}\n    2    2    2\n {values}\n"
        )
    (folder / "CHGCAR").write_text(density)
    for name in ("DOSCAR", "EIGENVAL", "PCDAT", "CHG"):
        (folder / name).write_text("stand-in\n")
