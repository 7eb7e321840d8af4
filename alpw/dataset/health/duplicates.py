"""The same structure twice: with the same label it only weighs double, with another one label is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from alpw.database import reading
from alpw.dataset.health.problem import Problem, display, removal
from alpw.dataset.health.survey import Row, Survey
from alpw.findings import Severity
from alpw.structures.frame import LabelledFrame
from alpw.structures.hash import same_atoms

ENERGY = 1e-4
"""eV per atom; what two runs of the same settings may differ by"""
FORCE = 1e-2
"""eV/Å"""

Pair = tuple[Row, Row]


def duplicate_problems(found: Survey) -> Iterator[Problem]:
    """Frames of the same structure, level of theory and label.

    Frames of a branch are its parent's, and are not counted.
    """
    same, _ = _sorted(found)
    inside = [(later, first) for first, later in same if first.campaign == later.campaign]
    across = [(later, first) for first, later in same if first.campaign != later.campaign]
    if inside:
        text = f"{len(inside)} frames are in their campaign a second time, and weigh double in its training"
        command = removal([later.id for later, _ in inside], "duplicate", "duplicates", found.words)
        which = tuple((later.id, f"the same as {first.id}") for later, first in inside)
        yield Problem("duplicates", Severity.WARN, text, which, command)
    if across:
        text = (
            f"{len(across)} frames are in another campaign, too: no harm unless both are trained on at once"
        )
        ids = [later.id for later, _ in across]
        command = display(ids, ("campaign", "key", "structure_hash"), "duplicates", found.words)
        which = tuple((later.id, f"the same as {first.id} of {first.campaign}") for later, first in across)
        yield Problem("duplicates", Severity.NOTE, text, which, command)


def contradiction_problems(found: Survey) -> Iterator[Problem]:
    """Frames of the same structure and level of theory whose labels differ."""
    _, other = _sorted(found)
    if other:
        text = (
            f"{len(other)} frames have another label than the same structure at the same level: one is wrong"
        )
        which = tuple((later.id, why) for _, later, why in other)
        ids = [row.id for first, later, _ in other for row in (first, later)]
        columns = ("campaign", "energy_per_atom", "max_force", "directory")
        command = display(dict.fromkeys(ids), columns, "contradictions", found.words)
        yield Problem("contradictions", Severity.FAIL, text, which, command)


def _sorted(found: Survey) -> tuple[list[Pair], list[tuple[Row, Row, str]]]:
    """Pairs (first, later) with the same label, and those with another one and the difference."""
    groups: dict[tuple[str, tuple[str, str]], list[Row]] = defaultdict(list)
    for row in found.rows:
        if not row.shares:
            groups[row.structure, row.level].append(row)
    pairs = [(rows[0], later) for rows in groups.values() for later in rows[1:]]
    same = [pair for pair in pairs if pair[0].label == pair[1].label]
    other = [pair for pair in pairs if pair[0].label != pair[1].label]
    contradictions = []
    for pair, why in zip(other, _differences(found, other), strict=True):
        if why:
            contradictions.append((*pair, why))
        else:
            same.append(pair)
    return same, contradictions


def _differences(found: Survey, pairs: Sequence[Pair]) -> Iterator[str | None]:
    """How the labels of pairs differ by more than two runs do; the order of atoms does not count."""
    ids = (row.id for pair in pairs for row in pair)
    frames = reading.frames(found.dataset.db, ids)
    for (first, _), one, other in zip(pairs, frames, frames, strict=True):
        yield _difference(one, other, str(first.id))


def _difference(one: LabelledFrame, other: LabelledFrame, name: str) -> str | None:
    n_atoms = len(one.atoms)
    energy = abs(one.label.energy - other.label.energy) / n_atoms
    if energy > ENERGY:
        return f"{energy:.3g} eV per atom from {name}"
    order = same_atoms(one.atoms, other.atoms)
    if order is None:
        # Two atoms in one place; which is which is not known.
        return None
    force = float(np.linalg.norm(one.label.forces - other.label.forces[order], axis=1).max())
    return f"a force {force:.3g} eV/Å from {name}" if force > FORCE else None
