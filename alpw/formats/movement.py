"""MOVEMENT and OUT.MLMD, the trajectories and labels of PWmat.

A frame, as PWmat and the molecular dynamics of PWMLFF write it (blocks after the header come in any order,
all but lattice, position and force may be missing, and a line of dashes ends it)::

    72 atoms,Iteration (fs) = -0.10E+01, Etot,Ep,Ek (eV) = -0.119E+05  -0.119E+05  0.00E+00, SCF =    16
     MD_INFO: METHOD(1-VV,...) TIME(fs) TEMP(K) ...       next line: method, time, temperature, ...
     Lattice vector (Angstrom)             rows ``ax ay az     stress (eV): sxx sxy sxz``
     Position (normalized), move_x, ...    rows ``Z x y z 1 1 1``
     Force (-force, eV/Angstrom)           rows ``Z gx gy gz``
     Velocity (bohr/fs)                    rows ``Z vx vy vz``
     -------------------------------------------------

A relaxation writes ``Iteration =   3, Etot,Ep,Ek (eV) = ...`` and no SCF. Ep is the label's energy. The
numbers under Force are gradients dE/dR in MOVEMENT and in OUT.MLMD, whatever the line above them says: along
a trajectory the velocities decrease where they are positive. The stress is dE/d(strain), so that virial =
-stress. (dpdata 1.1.0 keeps its sign, pymatgen's energy is Etot.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alpw.config.units import BOHR
from alpw.errors import InputError
from alpw.files import replacing
from alpw.formats.batches import Frames, in_batches
from alpw.formats.omissions import Omissions, left_out
from alpw.formats.streaming import (
    ParsedFrame,
    Unreadable,
    batches,
    floats,
    number,
    pieces,
    rows,
    table,
)
from alpw.structures.frames import LabelledFrames

BOHR_PER_FS = 1000 * BOHR
"""Å/ps"""

_MARK = b"----------"
_HEADER = re.compile(
    rb"(?P<atoms>\d+) +atoms *, *Iteration(?P<fs> *\(fs\))? *=(?P<iteration>[^,\n]*)"
    rb",.*?Etot(?P<many>,Ep,Ek)?[^=\n]*=(?P<energies>[^,\n]*)"
    rb"(?:,.*?SCF *= *(?P<scf>\d*))?[^\n]*\n"
)


SCF_LIMITS = (100, 40)
"""SCF iterations that PWmat allows itself for the first structure and for later ones unless it is told
otherwise (SCF_ITER0_1 and SCF_ITER0_2 6 + 94, SCF_ITER1_1 40); dpdata drops frames that needed as many."""


def read_movement(
    path: str | Path, batch: int = 200, *, scf_limits: tuple[int, int] | None = None
) -> Iterator[LabelledFrames]:
    """The complete frames of a MOVEMENT or an OUT.MLMD, also packed with gzip, xz or bzip2.

    A last frame without its line of dashes, and half a frame after which a restarted run began another, are
    left out; so is, with a warning, a frame with asterisks or NaN. Extras: ``time`` and ``temperature`` of
    dynamics, ``velocities``, ``electronic_steps``.

    Args:
        path: the file; it is never in memory as a whole.
        batch: frames given at a time.
        scf_limits: largest numbers of SCF iterations of the first frame and of all others; a frame that
            needed as many is marked unconverged. Without them all count as converged: the file does not say.

    Raises:
        InputError: no such file, or nothing in it that begins like a frame.
    """
    return batches(_frames(Path(path), scf_limits), batch)


def write_movement(path: str | Path, frames: Frames) -> None:
    """Writes frames so that this reader, pwdata, dpdata and pymatgen read them, with sixteen decimals.

    Frames without a time get PWmat's own mark for a single point, -1.

    Raises:
        InputError: a cell without volume.
    """
    with replacing(path) as file:
        for group in in_batches(frames):
            if not (np.abs(np.linalg.det(group.cells)) > 0).all():
                raise InputError("PWmat's files need a cell with a volume", path)
            writer = _Writer(group)
            for k in range(len(group)):
                file.write(writer.frame(k).encode())


def _frames(path: Path, scf_limits: tuple[int, int] | None) -> Iterator[ParsedFrame]:
    count, omissions, numbers = 0, Omissions(path), _Numbers()
    for piece in pieces(path, _MARK):
        header = _last_header(piece.text)
        if header is None:
            continue
        if not piece.closed:
            left_out(path, "the frame is not complete", count)
            count += 1
            continue
        try:
            frame = _parse(piece.text, header, numbers)
        except Unreadable as error:
            omissions.add(count, error)
        else:
            scf = frame.scalars.get("electronic_steps")
            converged = scf_limits is None or scf is None or scf < scf_limits[min(count, 1)]
            yield frame if converged else _unconverged(frame)
        count += 1
    omissions.close()
    if count == 0:
        raise InputError("holds no frame: no line 'n atoms,Iteration ..., Etot,Ep,Ek ...'", path)


def _unconverged(frame: ParsedFrame) -> ParsedFrame:
    return ParsedFrame(**{**frame.__dict__, "converged": False})


def _last_header(text: bytes) -> re.Match[bytes] | None:
    """The header nearest to the end: a restarted run writes after the half frame of a killed one."""
    found = text.rfind(b"Iteration")
    return _HEADER.search(text, text.rfind(b"\n", 0, found) + 1) if found >= 0 else None


class _Numbers:
    """Atomic numbers, checked and converted once as long as they stay the same."""

    def __init__(self) -> None:
        self.column: NDArray[np.float64] = np.empty(0)
        self.values: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def of(self, column: NDArray[np.float64]) -> NDArray[np.int64]:
        if not np.array_equal(column, self.column):
            if (column % 1 != 0).any() or (column < 1).any() or (column > 118).any():
                raise Unreadable("the first column of Position is not an atomic number")
            self.column, self.values = column.copy(), column.astype(np.int64)
        return self.values


def _parse(text: bytes, header: re.Match[bytes], numbers: _Numbers) -> ParsedFrame:
    n_atoms, start = int(header["atoms"]), header.end()
    energies = header["energies"].split()
    if len(energies) < (2 if header["many"] else 1):
        raise Unreadable("the header holds no potential energy")
    scalars: dict[str, float] = {}
    if header["fs"] and (time := number(header["iteration"].strip())) >= 0:
        scalars["time"] = time / 1000
    if header["scf"] and (scf := int(header["scf"])):
        scalars["electronic_steps"] = float(scf)
    if (found := text.find(b"MD_INFO:", start)) >= 0:
        fields = rows(text, text.find(b"\n", found) + 1, 1).split()
        if len(fields) > 2:
            scalars["temperature"] = number(fields[2])
    cell, virial = _lattice(text, start)
    position = _atoms_block(text, b"Position", start, n_atoms)
    velocities = None
    # With the bracket: MD_VV_INFO speaks of Velocity Verlet.
    if text.find(b"Velocity (", start) >= 0:
        velocities = BOHR_PER_FS * _atoms_block(text, b"Velocity (", start, n_atoms)[:, 1:]
    return ParsedFrame(
        numbers=numbers.of(position[:, 0]),
        cell=cell,
        positions=position[:, 1:] @ cell,
        energy=number(energies[1 if header["many"] else 0]),
        forces=-_atoms_block(text, b"Force", start, n_atoms)[:, 1:],
        virial=virial,
        scalars=scalars,
        velocities=velocities,
    )


def _atoms_block(text: bytes, keyword: bytes, start: int, n_atoms: int) -> NDArray[np.float64]:
    """Atomic number and three numbers of each atom, ``(n_atoms, 4)``."""
    values = table(_block(text, keyword, start, n_atoms), n_atoms, keep=4)
    if values.shape[1] < 4:
        raise Unreadable(f"the block '{keyword.decode()}' has fewer than four columns")
    return values


def _block(text: bytes, keyword: bytes, start: int, count: int) -> bytes:
    # The blank tells Position from nonperiodic_Position; a program other than PWmat may leave it out.
    found = text.find(b" " + keyword, start)
    if found < 0 and (found := text.find(b"\n" + keyword, start - 1) + 1) == 0:
        raise Unreadable(f"no block '{keyword.decode()}'")
    return rows(text, text.find(b"\n", found) + 1, count)


def _lattice(text: bytes, start: int) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    lines = _block(text, b"Lattice", start, 3).split(b"\n")[:3]
    parts = [line.partition(b"stress") for line in lines]
    cell = floats([word for left, _, _ in parts for word in left.split()[:3]])
    if len(cell) != 9:
        raise Unreadable("the lattice has fewer than nine numbers")
    if not parts[0][1]:
        return cell.reshape(3, 3), None
    # Only numbers that are said to be eV are a virial; older files have some in eV per atom.
    stress = [word for _, _, right in parts for word in right.partition(b":")[2].split()[:3]]
    if b"(eV)" not in parts[0][2]:
        return cell.reshape(3, 3), None
    if len(stress) != 9:
        raise Unreadable("the stress has fewer than nine numbers")
    return cell.reshape(3, 3), -floats(stress).reshape(3, 3)


class _Writer:
    """Formats frames of one batch."""

    def __init__(self, frames: LabelledFrames) -> None:
        self.frames = frames
        self.extras = frames.extras
        cells, positions = frames.cells.transpose(0, 2, 1), frames.positions.transpose(0, 2, 1)
        self.fractions = np.linalg.solve(cells, positions).transpose(0, 2, 1)
        zs = frames.numbers.tolist()
        self.position_rows = "".join(f"{z:4d}%25.16f%25.16f%25.16f     1  1  1\n" for z in zs)
        self.vector_rows = "".join(f"{z:4d}%25.16f%25.16f%25.16f\n" for z in zs)

    def scalar(self, name: str, k: int) -> float | None:
        values = self.extras.get(name)
        return None if values is None or not np.isfinite(values[k]) else float(values[k])

    def frame(self, k: int) -> str:
        frames = self.frames
        energy, scf = float(frames.energies[k]), self.scalar("electronic_steps", k)
        time, temperature = self.scalar("time", k), self.scalar("temperature", k)
        femtoseconds = -1.0 if time is None else 1000 * time
        text = [
            f"{len(frames.numbers):8d} atoms,Iteration (fs) = {femtoseconds:24.16E}, Etot,Ep,Ek (eV) = "
            f"{energy:24.16E}{energy:24.16E}{0.0:24.16E}, SCF = {int(scf or 0):5d}\n"
        ]
        if temperature is not None:
            text.append("     MD_INFO: METHOD(1-VV,2-NH,3-LV,4-LVPR,5-NHRP) TIME(fs) TEMP(K)\n")
            text.append(f"              0 {femtoseconds:24.16E} {temperature:24.16E}\n")
        text.append(" Lattice vector (Angstrom)\n")
        virial = None if frames.virials is None else frames.virials[k]
        for axis, vector in enumerate(frames.cells[k]):
            text.append("".join(f"{x:26.17E}" for x in vector))
            if virial is not None and np.isfinite(virial).all():
                text.append("     stress (eV): " + " ".join(f"{x:24.16E}" for x in -virial[axis]))
            text.append("\n")
        text.append(" Position (normalized), move_x, move_y, move_z\n")
        text.append(self.position_rows % tuple(self.fractions[k].ravel()))
        text.append(" Force (-force, eV/Angstrom)\n")
        text.append(self.vector_rows % tuple(-frames.forces[k].ravel()))
        if "velocities" in self.extras:
            text.append(" Velocity (bohr/fs)\n")
            text.append(self.vector_rows % tuple(self.extras["velocities"][k].ravel() / BOHR_PER_FS))
        text.append(" -------------------------------------------------\n")
        return "".join(text)
