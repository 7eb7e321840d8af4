"""Structures and labels as parts of documents, the same way in every collection."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from alpw.database.arrays import decode, encode
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.hash import structure_hash

SCHEMA = 2
"""Version of the scalars below; `alpw.database.migrations` brings older documents up to it."""

_GRAMS_PER_CM3 = 1e24 / units.mol
"""of one atomic mass unit per Å^3"""


def structure_document(atoms: Atoms) -> dict[str, Any]:
    """Species, cell, positions and periodicity, with the scalars that people query by.

    Volume (Å^3) and density (g/cm^3) are those of a structure that is periodic in three directions; for any
    other they are absent.
    """
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "structure": {
            "numbers": encode(atoms.numbers.astype(np.int32)),
            "cell": encode(np.asarray(atoms.cell, dtype=np.float64)),
            "positions": encode(atoms.positions.astype(np.float64)),
            "pbc": [bool(periodic) for periodic in atoms.pbc],
        },
        **_composition(np.sort(atoms.numbers).astype("<i4").tobytes()),
        "n_atoms": len(atoms),
        "structure_hash": structure_hash(atoms),
    }
    if volume := _volume(atoms):
        document["volume"] = volume
        document["density"] = float(atoms.get_masses().sum()) / volume * _GRAMS_PER_CM3
    return document


@lru_cache(maxsize=256)
def _composition(numbers: bytes) -> dict[str, str]:
    """Formula and elements of ascending atomic numbers; frames mostly come many of a kind."""
    atoms = Atoms(numbers=np.frombuffer(numbers, dtype="<i4"))
    elements = sorted(set(atoms.get_chemical_symbols()))
    return {"formula": atoms.get_chemical_formula(), "chemical_system": "-".join(elements)}


def _volume(atoms: Atoms) -> float | None:
    """Å^3; None where the structure does not fill space."""
    volume = float(atoms.cell.volume)
    return volume if all(atoms.pbc) and volume > 0 else None


def atoms_of(document: dict[str, Any]) -> Atoms:
    """The structure of a configuration, in the order in which it was stored."""
    structure = document["structure"]
    return Atoms(
        numbers=decode(structure["numbers"]),
        cell=decode(structure["cell"]),
        positions=decode(structure["positions"]),
        pbc=structure["pbc"],
    )


def label_document(atoms: Atoms, label: Label) -> dict[str, Any]:
    """A label's arrays and scalars; a missing virial is an absent field, and so is then the pressure.

    The pressure (GPa, positive under compression) is a third of the trace of the virial over the volume,
    without the kinetic part that moving atoms add.

    Args:
        atoms: the labelled structure.
        label: its energy, forces and virial.
    """
    forces = np.asarray(label.forces, dtype=np.float64)
    document = {
        "energy": float(label.energy),
        "energy_per_atom": float(label.energy) / len(forces),
        "forces": encode(forces),
        "max_force": float(np.linalg.norm(forces, axis=1).max()),
        "label_hash": label_hash(atoms, label),
    }
    if label.virial is not None:
        document["virial"] = encode(np.asarray(label.virial, dtype=np.float64))
        if volume := _volume(atoms):
            document["pressure"] = float(np.trace(label.virial)) / (3 * volume) / units.GPa
    return document


def label_hash(atoms: Atoms, label: Label) -> str:
    """SHA-256 (hexadecimal) of a labelled frame to its last bit, in the order of its atoms.

    Two frames have the same one if species, cell, periodicity, positions, energy, forces and virial are equal
    as numbers; a virial that is missing differs from one that is zero.
    """
    arrays: list[NDArray[Any]] = [
        np.asarray(atoms.numbers, dtype="<i4"),
        np.asarray(atoms.pbc, dtype="u1"),
        *(np.asarray(array, dtype="<f8") for array in (atoms.cell, atoms.positions)),
        *(np.asarray(array, dtype="<f8") for array in (label.energy, label.forces)),
        *([] if label.virial is None else [np.asarray(label.virial, dtype="<f8")]),
    ]
    content = hashlib.sha256()
    for array in arrays:
        # Adding zero makes one of the two zeros that are equal as numbers but not as bits.
        content.update(np.ascontiguousarray(array + array.dtype.type(0)).tobytes())
    return content.hexdigest()


def frame_of(document: dict[str, Any]) -> LabelledFrame:
    """Structure and label of a labelled configuration."""
    virial = decode(document["virial"]) if "virial" in document else None
    return LabelledFrame(atoms_of(document), Label(document["energy"], decode(document["forces"]), virial))
