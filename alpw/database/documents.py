"""Structures and labels as parts of documents, the same way in every collection."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from alpw.database.arrays import decode, encode
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.hash import structure_hash


def structure_document(atoms: Atoms) -> dict[str, Any]:
    """Species, cell, positions and periodicity, with the scalars that people query by."""
    return {
        "structure": {
            "numbers": encode(atoms.numbers.astype(np.int32)),
            "cell": encode(np.asarray(atoms.cell, dtype=np.float64)),
            "positions": encode(atoms.positions.astype(np.float64)),
            "pbc": [bool(periodic) for periodic in atoms.pbc],
        },
        "formula": atoms.get_chemical_formula(),
        "chemical_system": "-".join(sorted(set(atoms.get_chemical_symbols()))),
        "n_atoms": len(atoms),
        "structure_hash": structure_hash(atoms),
    }


def atoms_of(document: dict[str, Any]) -> Atoms:
    """The structure of a configuration, in the order in which it was stored."""
    structure = document["structure"]
    return Atoms(
        numbers=decode(structure["numbers"]),
        cell=decode(structure["cell"]),
        positions=decode(structure["positions"]),
        pbc=structure["pbc"],
    )


def label_document(label: Label) -> dict[str, Any]:
    """A label's arrays and scalars; a missing virial is an absent field."""
    forces = np.asarray(label.forces, dtype=np.float64)
    document = {
        "energy": float(label.energy),
        "energy_per_atom": float(label.energy) / len(forces),
        "forces": encode(forces),
        "max_force": float(np.linalg.norm(forces, axis=1).max()),
    }
    if label.virial is not None:
        document["virial"] = encode(np.asarray(label.virial, dtype=np.float64))
    return document


def frame_of(document: dict[str, Any]) -> LabelledFrame:
    """Structure and label of a labelled configuration."""
    virial = decode(document["virial"]) if "virial" in document else None
    return LabelledFrame(atoms_of(document), Label(document["energy"], decode(document["forces"]), virial))
