"""Values per element and per atom, in the order of the structure that is really written.

VASP counts species and atoms by their places in POSCAR. A campaign has cells of several compositions, whose
species come in any order, so a list of the INCAR cannot be copied. It is taken apart by element, or by atom
of the structure given, and put together again for each POSCAR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from alpw.codes.vasp.incar import Incar, plain
from alpw.errors import InputError
from alpw.formats.poscar import species_order

if TYPE_CHECKING:
    from alpw.config import Dft

PER_SPECIES: dict[str, float | None] = {
    "CMBJ": None,
    "LANGEVIN_GAMMA": None,
    "LDAUJ": 0.0,
    "LDAUL": -1.0,
    "LDAUU": 0.0,
    "ML_EATOM_REF": None,
    "NGYROMAG": None,
    "POMASS": None,
    "QUAD_EFG": 0.0,
    "ROPT": None,
    "RWIGS": None,
    "VCA": 1.0,
    "VDW_ALPHA": None,
    "VDW_C6": None,
    "VDW_C6AU": None,
    "VDW_R0": None,
    "VDW_R0AU": None,
    "ZVAL": None,
}
"""Tags with one value for each species, and the value that means nothing; None where there is none."""

MAGMOM = "MAGMOM"
DEFAULT_MOMENT = 1.0
"""Moment in Bohr magnetons with which VASP begins for an atom that has none given."""

PER_ATOM = (MAGMOM, "M_CONSTR")
CONSTANTS = ("CMBJ",)
"""Tags of `PER_SPECIES` that may hold one value for all."""

BOUND_TO_ORDER = ("NSUBSYS", "PSUBSYS", "TSUBSYS", "EFOR", "CLNT", "NUCIND")
"""Tags that name atoms or species by their number in POSCAR."""


@dataclass(frozen=True)
class Lists:
    """What is known of each element, and of each atom of one structure.

    Attributes:
        by_element: tag -> element -> value, for all elements of the campaign.
        per_atom: tag -> values in the order of the structure given, one or three for each atom.
    """

    by_element: dict[str, dict[str, float]] = field(default_factory=dict)
    per_atom: dict[str, list[float]] = field(default_factory=dict)


def first_appearance(symbols: Sequence[str]) -> list[str]:
    """Elements in the order in which they come first."""
    return list(dict.fromkeys(symbols))


def gather(incar: Incar, dft: Dft, elements: Sequence[str], symbols: Sequence[str] | None = None) -> Lists:
    """Lists of the INCAR and of ``dft.by_element``, taken apart.

    A list with one value for each of ``elements`` is by element, in that order. MAGMOM and M_CONSTR with one
    value (not collinear: three) for each atom are by atom.

    Args:
        incar: the user's.
        dft: whose ``by_element`` counts.
        elements: of the campaign, in its order; without one, of the structure.
        symbols: of the atoms of the structure, in its order; None to check what can be checked without one.

    Raises:
        InputError: a list of another length, one that could mean two things, or two sources of one tag.
    """
    found = Lists()
    for tag, values in dft.by_element.items():
        found.by_element[tag] = _completed(tag, values, elements, incar)
    for tag in (tag for tag in incar.values if tag in PER_SPECIES or tag in PER_ATOM):
        _take_apart(found, tag, incar, elements, symbols)
    return found


def _completed(
    tag: str, values: Mapping[str, float], elements: Sequence[str], incar: Incar
) -> dict[str, float]:
    key = f"dft.by_element.{tag}"
    if tag not in PER_SPECIES and tag != MAGMOM:
        known = ", ".join(sorted([*PER_SPECIES, MAGMOM]))
        raise InputError(f"has no values by element; these have: {known}", key=key)
    if tag in incar:
        raise InputError(f"given here and as {tag} in INCAR; keep one", incar.file, key)
    neutral = DEFAULT_MOMENT if tag == MAGMOM else PER_SPECIES[tag]
    if neutral is None:
        if missing := [element for element in elements if element not in values]:
            raise InputError(f"gives no value for {', '.join(missing)}", key=key)
        return {element: values[element] for element in elements}
    return {element: values.get(element, neutral) for element in elements}


def _take_apart(
    found: Lists, tag: str, incar: Incar, elements: Sequence[str], symbols: Sequence[str] | None
) -> None:
    numbers = incar.numbers(tag)
    if tag in CONSTANTS and len(numbers) == 1:
        return
    by_element = None
    if len(numbers) == len(elements) and (tag in PER_SPECIES or tag == MAGMOM):
        by_element = dict(zip(elements, numbers, strict=True))
    width = 3 if tag == "M_CONSTR" or incar.is_noncollinear else 1
    if tag in PER_ATOM and symbols is None:
        return
    n_atoms = len(symbols or ()) if tag in PER_ATOM else 0
    by_atom = numbers if n_atoms and len(numbers) == width * n_atoms else None
    if by_element and by_atom and symbols and _spread(tag, by_element, symbols, width) != by_atom:
        raise incar.error(
            tag,
            f"could be for the elements {', '.join(elements)} or for the atoms {', '.join(symbols)}; "
            f"give it as dft.by_element.{tag}",
        )
    if by_element:
        found.by_element[tag] = by_element
    elif by_atom:
        found.per_atom[tag] = by_atom
    else:
        per_atom = f" or {width * n_atoms} for its atoms" if n_atoms else ""
        raise incar.error(
            tag,
            f"has {len(numbers)} values; {len(elements)} are needed for {', '.join(elements)}{per_atom}. "
            f"Or give them by element, as dft.by_element.{tag}",
        )


def check_order(incar: Incar, atoms: Atoms) -> None:
    """Raise `InputError` where a tag counts atoms in an order that POSCAR will not have."""
    moved = not np.array_equal(species_order(atoms), np.arange(len(atoms)))
    for tag in BOUND_TO_ORDER:
        if moved and tag in incar:
            raise incar.error(
                tag, f"counts atoms by their place; group the atoms of {atoms.symbols} by element"
            )


def apply(incar: Incar, lists: Lists, atoms: Atoms) -> tuple[list[str], dict[str, Any]]:
    """Write the lists into the INCAR for this structure.

    Returns:
        The changes in words, and by tag what stands for the list whatever the structure (``level``), with the
        text for this one (``written``).
    """
    order = species_order(atoms)
    symbols = [str(symbol) for symbol in np.array(atoms.get_chemical_symbols())[order]]
    species = first_appearance(symbols)
    changes: list[str] = []
    record: dict[str, Any] = {}
    for tag, values in lists.by_element.items():
        if tag == MAGMOM:
            numbers = _spread(tag, values, symbols, 3 if incar.is_noncollinear else 1)
        else:
            numbers = [values[element] for element in species]
        words = _shortened(numbers) if tag == MAGMOM else " ".join(map(plain, numbers))
        changes += [f"{change} (for {' '.join(species)})" for change in incar.set(tag, words)]
        record[tag] = {"level": dict(sorted(values.items())), "written": words}
    for tag, given in lists.per_atom.items():
        rows = np.reshape(given, (len(atoms), -1))
        words = _shortened([float(x) for x in rows[order].ravel()])
        changes += [f"{change} (atoms in the order of POSCAR)" for change in incar.set(tag, words)]
        record[tag] = {"level": given, "written": words}
    return changes, record


def _spread(tag: str, values: Mapping[str, float], symbols: Sequence[str], width: int) -> list[float]:
    """By element to by atom; a moment with three components points along SAXIS."""
    return [x for symbol in symbols for x in [0.0] * (width - 1) + [values[symbol]]]


def _shortened(numbers: Sequence[float]) -> str:
    """``4*5 6*0.6`` for a long list."""
    runs = ((plain(number), len(list(same))) for number, same in groupby(numbers))
    return " ".join(f"{count}*{number}" if count > 1 else number for number, count in runs)
