"""vasprun.xml, VASP's complete record: positions and forces have eight decimals, an OUTCAR has five and six.

The file is read as a stream: the memory needed is that of one ionic step without its bands and densities of
states. A file cut short gives its complete steps. (pymatgen's Vasprun keeps all steps with their bands in
memory, and raises on a truncated file unless told to pass over it.)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.formats.omissions import Omissions, left_out
from alpw.formats.streaming import (
    ParsedFrame,
    Unreadable,
    batches,
    floats,
    number,
    open_any,
    read_some,
)
from alpw.structures.frames import LabelledFrames

KBAR = 1 / 1602.17733
"""eV/Å^3, with VASP's own constant of 1986: the virial in eV that it computed comes back exactly"""

__all__ = ["VasprunHeader", "read_vasprun", "vasprun_header"]

_CHUNK = 1 << 16
# Large, and no part of a label; they are emptied as soon as they end.
_BULKY = {"set", "dos", "eigenvalues", "projected", "partial", "array", "dynmat"}


def read_vasprun(
    path: str | Path, *, energy: Literal["free", "sigma0"] = "free", batch: int = 200
) -> Iterator[LabelledFrames]:
    """The complete ionic steps of a vasprun.xml, also packed with gzip, xz or bzip2.

    Steps that a machine-learned force field predicted have no electronic steps and are not read. A step with
    asterisks or NaN is left out with a warning. Extras: ``energy_sigma0``, ``electronic_steps``; for dynamics
    ``time``, 0 for the first step.

    A step is converged if it needed fewer electronic steps than NELM; the file does not hold what VASP
    compares with EDIFF, so that one which converged in the very last step counts as unconverged.

    Args:
        path: the file; it is never in memory as a whole.
        energy: ``"free"``, the free energy of which the forces are the derivative, without the term PV that
            VASP adds to it for PSTRESS, or ``"sigma0"``, the energy extrapolated to zero smearing.
        batch: frames given at a time.

    Raises:
        InputError: no such file, or not a vasprun.xml.
    """
    return batches(_frames(Path(path), energy), batch)


def _frames(path: Path, energy: str) -> Iterator[ParsedFrame]:
    reader, omissions = _Reader(energy), Omissions(path)
    for count, step in enumerate(_steps(path, reader)):
        try:
            frame = reader.frame(step, count)
        except Unreadable as error:
            omissions.add(count, error)
        else:
            if frame is not None:
                yield frame
    omissions.close()
    if reader.numbers is None:
        raise InputError("is not a vasprun.xml, or ends before the atoms are listed", path)


class VasprunHeader(NamedTuple):
    """What stands before the first ionic step.

    Attributes:
        version: such as ``6.2.0``.
        titel: the potentials' titles, one by type.
        parameters: every setting, in words.
    """

    version: str
    titel: tuple[str, ...]
    parameters: dict[str, str]


def vasprun_header(path: str | Path) -> VasprunHeader:
    """Version, potentials and settings; of a damaged file what it has."""
    reader = _Reader("free")
    next(_steps(Path(path), reader), None)
    return VasprunHeader(reader.version, reader.titel, reader.parameters)


def _steps(path: Path, reader: _Reader) -> Iterator[ElementTree.Element]:
    """Complete elements ``calculation``; what comes before them goes to the reader."""
    parser: Any = ElementTree.XMLPullParser(events=("start", "end"))
    ancestors: list[ElementTree.Element] = []
    with open_any(path) as file:
        try:
            while data := read_some(file, _CHUNK, path):
                parser.feed(data)
                for event, element in parser.read_events():
                    if event == "start":
                        ancestors.append(element)
                        continue
                    ancestors.pop()
                    if element.tag == "calculation":
                        yield element
                    elif len(ancestors) == 1:
                        reader.take(element)
                    if len(ancestors) > 1 and ancestors[1].tag == "calculation" and element.tag in _BULKY:
                        element.clear()
                    if len(ancestors) == 1:
                        ancestors[0].clear()
        except ElementTree.ParseError as error:
            reason = f"is damaged, only what comes before is read: {error}"
            left_out(path, reason, level=logging.WARNING)
            return
    if ancestors:
        left_out(path, f"is cut short in the element {ancestors[-1].tag}")


class _Reader:
    """Keeps what the beginning of the file says, and makes frames."""

    def __init__(self, energy: str) -> None:
        self.energy = energy
        self.version = ""
        self.titel: tuple[str, ...] = ()
        self.parameters: dict[str, str] = {}
        self.numbers: NDArray[np.int64] | None = None

    def take(self, element: ElementTree.Element) -> None:
        """A child of the root that has ended."""
        if element.tag == "generator":
            self.version = (element.findtext("i[@name='version']") or "").strip()
        elif element.tag in ("incar", "parameters"):
            for item in element.iter("i"):
                # The first one: the linear response has a NELM of its own.
                self.parameters.setdefault(item.get("name", "").upper(), (item.text or "").strip())
        elif element.tag == "atominfo":
            self.numbers = self._atoms(element)
            types = element.findall("array[@name='atomtypes']/set/rc")
            self.titel = tuple((row.findall("c")[-1].text or "").strip() for row in types)

    @staticmethod
    def _atoms(element: ElementTree.Element) -> NDArray[np.int64] | None:
        numbers = []
        for row in element.findall("array[@name='atoms']/set/rc"):
            symbol = (row.findtext("c") or "").strip()
            # VASP writes r for a POTCAR without a name, and X for xenon.
            numbers.append(atomic_numbers.get({"X": "Xe"}.get(symbol, symbol), 0))
        return np.array(numbers, dtype=np.int64) if numbers and all(numbers) else None

    def value(self, name: str) -> float | None:
        """A setting as a number; None if it is missing or none."""
        try:
            return float(self.parameters[name])
        except (KeyError, ValueError):
            return None

    def frame(self, step: ElementTree.Element, index: int) -> ParsedFrame | None:
        """One ionic step; None if it was not calculated."""
        # Linear response adds electronic steps of its own after the forces.
        electronic = list(takewhile(lambda item: item.tag != "structure", step))
        electronic = [item for item in electronic if item.tag == "scstep"]
        forces = _table(step, "varray[@name='forces']")
        if not electronic or forces is None or self.numbers is None:
            return None
        cell = _table(step, "structure/crystal/varray[@name='basis']")
        fractions = _table(step, "structure/varray[@name='positions']")
        if cell is None or fractions is None or not len(fractions) == len(forces) == len(self.numbers):
            raise Unreadable("the numbers of atoms, positions and forces differ")
        volume = abs(float(np.linalg.det(cell)))
        # The free energy of the step has dispersion, and PV for PSTRESS. Its e_0_energy is wrong in VASP 5;
        # the difference of the two is right in the last electronic step.
        free = _energy(step, "e_fr_energy") - (self.value("PSTRESS") or 0.0) * KBAR * volume
        last = electronic[-1]
        sigma0 = free + _energy(last, "e_0_energy") - _energy(last, "e_fr_energy")
        stress = _table(step, "varray[@name='stress']")
        scalars = {"energy_sigma0": sigma0, "electronic_steps": float(len(electronic))}
        potim = self.value("POTIM")
        # With a machine-learned force field, steps in between are not counted.
        learned = self.parameters.get("ML_LMLFF", "F").strip(". ").upper().startswith("T")
        if self.value("IBRION") == 0 and potim is not None and not learned:
            scalars["time"] = index * potim / 1000
        return ParsedFrame(
            numbers=self.numbers,
            cell=cell,
            positions=fractions @ cell,
            energy=sigma0 if self.energy == "sigma0" else free,
            forces=forces,
            virial=None if stress is None else stress * KBAR * volume,
            converged=len(electronic) < (self.value("NELM") or 60),
            scalars=scalars,
        )


def _table(step: ElementTree.Element, where: str) -> NDArray[np.float64] | None:
    array = step.find(where)
    if array is None:
        return None
    words = " ".join(row.text or "" for row in array.iter("v")).encode().split()
    if not words or len(words) % 3:
        raise Unreadable(f"{array.get('name')} do not have three columns")
    return floats(words).reshape(-1, 3)


def _energy(element: ElementTree.Element, name: str) -> float:
    text = element.findtext(f"energy/i[@name='{name}']")
    if text is None:
        raise Unreadable(f"no {name}")
    return number(text.strip().encode())
