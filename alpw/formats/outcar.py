"""OUTCAR, the log of VASP 5 and 6: ionic steps with their energies, forces and virials.

A step begins at the line ``Iteration n(   1)``. Its table ``POSITION ... TOTAL-FORCE`` is given to 1e-5 Å and
1e-6 eV/Å, its ``Total`` row under ``FORCE on cell`` in eV, positive under compression and without the kinetic
part of dynamics. Steps that a machine-learned force field predicted have tables of their own, marked ``ML``;
they are not read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from alpw.formats.omissions import Omissions, left_out
from alpw.formats.outcar_header import (
    ENDED,
    FIRST,
    ITERATION,
    OutcarHeader,
    begins_like_outcar,
    is_finished,
    lattice_vectors,
    outcar_header,
    parse_header,
)
from alpw.formats.streaming import (
    ParsedFrame,
    Unreadable,
    batches,
    number,
    pieces,
    rows,
    table,
)
from alpw.structures.frames import LabelledFrames

__all__ = ["OutcarHeader", "is_finished", "outcar_header", "read_outcar"]

logger = logging.getLogger(__name__)

DEFAULT_NELM = 60
"""VASP's own default, for files that do not print it"""

_NEAR = 4096
_TABLE = b"TOTAL-FORCE (eV/Angst)"
_STRESS = re.compile(rb" *FORCE on cell =-STRESS in cart")
_ITERATION = re.compile(rb"Iteration *([\d*]+)\( *([\d*]+)\)")
_CHANGE = re.compile(rb"total energy-change \(2\. order\) *: *(\S+?) *\( *(\S+?) *\)")


def read_outcar(
    path: str | Path, *, energy: Literal["free", "sigma0"] = "free", batch: int = 200
) -> Iterator[LabelledFrames]:
    """The complete ionic steps of an OUTCAR, also packed with gzip, xz or bzip2.

    A step cut short is left out; so is, with a warning, one with asterisks or NaN. Extras: ``energy_sigma0``,
    ``electronic_steps``; for dynamics also ``time``, 0 for the first step, and ``temperature``.

    A step is converged if it needed fewer than NELM electronic steps, or if both energy changes of the last
    one are below EDIFF, which is VASP's own criterion. The line ``aborting loop because EDIFF is reached``
    proves nothing: VASP 5 also writes it after NELM steps. Steps that ``LABORT`` cut off are unconverged.

    Args:
        path: the file; it is never in memory as a whole.
        energy: ``"free"``, the free energy of which the forces are the derivative, or ``"sigma0"``, the
            energy extrapolated to zero smearing.
        batch: frames given at a time.

    Raises:
        InputError: no such file, or not an OUTCAR, or one whose header does not tell the species.
    """
    return batches(_frames(Path(path), energy), batch)


def _frames(path: Path, energy: str) -> Iterator[ParsedFrame]:
    header: OutcarHeader | None = None
    count, omissions, text = 0, Omissions(path), b""
    for text, closed, last_iteration in pieces(path, ITERATION, FIRST):
        if header is None:
            if not closed and begins_like_outcar(text) and b"ions per type" not in text:
                left_out(path, "ends before the first step")
                return
            header = parse_header(text, path)
            continue
        title = _find_table(text)
        if title is None:
            continue
        try:
            frame = _parse(text, title, max(last_iteration, 0), header, energy)
        except Unreadable as error:
            omissions.add(count, error)
        else:
            if frame is None:
                left_out(path, "the step is not complete", count)
            else:
                yield frame
        count += 1
        # Where files were put together, the next header follows the last step of the one before.
        if text.find(b"ions per type", title) >= 0:
            header = parse_header(text[title:], path)
    omissions.close()
    if ENDED not in text:
        left_out(path, f"ends before VASP came to its end, with {count} steps")


def _find_table(text: bytes) -> int | None:
    """Offset of the title of the table of positions and forces, which is near the end of a step."""
    found = text.rfind(_TABLE)
    while found >= 0 and text.find(b"(ML)", found, text.find(b"\n", found)) >= 0:
        found = text.rfind(_TABLE, 0, found)
    return found if found >= 0 else None


def _parse(text: bytes, title: int, last: int, header: OutcarHeader, energy: str) -> ParsedFrame | None:
    """The step in ``text``, whose last electronic step begins at ``last``; None if its end is missing."""
    found = text.find(b"free  energy   TOTEN", title)
    sigma0 = text.find(b"energy(sigma->0) =", found) if found >= 0 else -1
    if sigma0 < 0 or text.find(b"\n", sigma0) < 0:
        return None
    energies = {
        "free": number(_after(text, b"=", found).split()[0]),
        "sigma0": number(_after(text, b"=", sigma0).split()[0]),
    }
    title_end = text.find(b"\n", title)
    # Three more columns hold the forces without dispersion.
    width = 9 if text.find(b"w/o vdW", title, title_end) >= 0 else 6
    first, n_atoms = text.find(b"\n", title_end + 1) + 1, header.n_atoms
    values = table(rows(text, first, n_atoms), n_atoms, width, keep=6)
    step, electronic_steps = _iteration(text, last)
    scalars = {"energy_sigma0": energies["sigma0"]}
    if electronic_steps is not None:
        scalars["electronic_steps"] = electronic_steps
    if header.is_dynamics:
        scalars |= _dynamics(text, title, step, header.potim)
    return ParsedFrame(
        numbers=header.numbers,
        cell=_cell(text, title, header),
        positions=values[:, :3].copy(),
        energy=energies[energy],
        forces=values[:, 3:].copy(),
        virial=_virial(text, title),
        converged=_converged(text, last, title, electronic_steps, header),
        scalars=scalars,
    )


def _after(text: bytes, mark: bytes, start: int) -> bytes:
    """The rest of the line after a mark."""
    begin = text.find(mark, start) + len(mark)
    return text[begin : text.find(b"\n", begin)]


def _iteration(text: bytes, start: int) -> tuple[float | None, float | None]:
    """Number of the ionic step and of its last electronic one; None where the field is too narrow for it."""
    match = _ITERATION.match(text, start)
    if match is None:
        return None, None
    ionic, electronic = (None if b"*" in word else float(word) for word in match.groups())
    return ionic, electronic


def _converged(text: bytes, start: int, end: int, steps: float | None, header: OutcarHeader) -> bool:
    """From the text between the beginning of the last electronic step and the forces."""
    loop = text.rfind(b"aborting", start, end)
    if loop >= 0 and b"was not reached" in text[loop : text.find(b"\n", loop)]:
        return False
    # After the last electronic step or beside the line above, with the bands in between.
    if any(
        text.find(b"hard stop", at, min(at + _NEAR, end)) >= 0 for at in (start, max(loop - _NEAR, start))
    ):
        return False
    if steps is not None and steps < (header.nelm or DEFAULT_NELM):
        return True
    change = _CHANGE.search(text, start, end)
    if header.ediff is None or change is None:
        return False
    try:
        return all(abs(number(word)) < header.ediff for word in change.groups())
    except Unreadable:
        return False


def _cell(text: bytes, end: int, header: OutcarHeader) -> NDArray[np.float64]:
    """The cell printed last before the forces; runs at a fixed cell may print it in the header only."""
    found = text.rfind(b"VOLUME", 0, end)
    found = text.find(b"direct lattice vectors", found, end) if found >= 0 else -1
    if found < 0:
        if header.cell is None:
            raise Unreadable("no lattice vectors")
        return header.cell
    return lattice_vectors(text, found)


def _virial(text: bytes, end: int) -> NDArray[np.float64] | None:
    """The row Total, in the order xx yy zz xy yz zx."""
    found = text.rfind(b"STRESS", 0, end)
    while found >= 0 and not _STRESS.match(text, text.rfind(b"\n", 0, found) + 1):
        found = text.rfind(b"STRESS", 0, found)
    total = text.find(b"\n  Total ", found, end) if found >= 0 else -1
    if total < 0:
        return None
    row = text[total + len(b"\n  Total ") : text.find(b"\n", total + 1)]
    xx, yy, zz, xy, yz, zx = table(row + b"\n", 1, width=6)[0]
    return np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])


def _dynamics(text: bytes, title: int, step: float | None, potim: float | None) -> dict[str, float]:
    scalars = {}
    if step is not None and potim is not None:
        scalars["time"] = (step - 1) * potim / 1000
    found = text.find(b"(temperature", title)
    if found >= 0 and text.find(b"\n", found) >= 0:
        try:
            scalars["temperature"] = number(_after(text, b"(temperature", found).split(b"K")[0].strip())
        except Unreadable:
            # Asterisks: hotter than the field is wide. The label itself is whole.
            logger.debug("a temperature is not a number")
    return scalars
