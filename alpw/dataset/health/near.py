"""Frames that are nearly the same as another one: labels that teach nothing new.

    d(f, g)^2 = mean over k of ((z_fk - z_gk) / σ_k)^2

| symbol | meaning |
| --- | --- |
| z_fk | k-th principal component of the features of frame f (`alpw.potential.features`) |
| σ_k | root mean square change of z_k when the atoms of a frame are displaced at random by `DISPLACEMENT` |

So d is 1 between a frame and, on average, a copy with atoms displaced by `DISPLACEMENT`, whatever the
material, and has the symmetries of the descriptor: a rotated or renumbered copy is a copy. Frames are
compared within one level of theory, formula, energy and volume. Features are projected at random, which keeps
distances, and a tree finds neighbours, so that memory and time go with the number of frames.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from bson import ObjectId
from numpy.typing import NDArray

from alpw.database import reading
from alpw.database.documents import atoms_of
from alpw.dataset.descriptors import described, elements_of, principal, projection
from alpw.dataset.health.problem import Problem, removal
from alpw.dataset.health.survey import Row, Survey
from alpw.findings import Severity

DISPLACEMENT = 0.01
"""Å, root mean square of an atom; atoms of a solid at room temperature move that far in 2 fs"""

ENERGY = 5e-3
"""eV per atom; nearly equal frames differ by less"""
VOLUME = 0.01
"""of the volume"""

KEPT = 64
"""random projections of the features"""
COMPONENTS = 16
COPIES = 32
"""displaced ones that σ is measured with"""
SEED = 0

Floats = NDArray[np.float64]


def near_problems(found: Survey) -> Iterator[Problem]:
    """Frames within `DISPLACEMENT` of an earlier one; exact copies are another check's."""
    which = [pair for group in _groups(found.rows).values() for pair in _near(found, _candidates(group))]
    if which:
        text = (
            f"{len(which)} frames are as near to an earlier one as a copy whose atoms are moved by "
            f"{DISPLACEMENT} Å: they teach next to nothing"
        )
        ids = [one for one, _ in which]
        command = removal(ids, "nearly the same as another frame", "near-duplicates", found.words)
        told = tuple((one, f"like {other}") for one, other in which)
        yield Problem("near-duplicates", Severity.WARN, text, told, command)


def _groups(rows: list[Row]) -> dict[tuple[tuple[str, str], str], list[Row]]:
    """Different structures of one level and formula."""
    groups: dict[tuple[tuple[str, str], str], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if not row.shares:
            groups[row.level, row.formula].setdefault(row.structure, row)
    return {key: list(group.values()) for key, group in groups.items()}


def _candidates(rows: list[Row]) -> list[Row]:
    """Those that have another one of their energy and volume."""
    if len(rows) < 2:
        return []
    from scipy.spatial import cKDTree

    volumes = np.array([row.volume for row in rows])
    points = np.column_stack(
        [
            np.array([row.energy for row in rows]) / ENERGY,
            np.log(np.where(volumes > 0, volumes, 1.0)) / VOLUME,
        ]
    )
    # Each is its own nearest neighbour.
    distances, _ = cKDTree(points).query(points, k=2, p=np.inf, distance_upper_bound=1.0)
    return [row for row, near in zip(rows, np.isfinite(distances[:, 1]), strict=True) if near]


def _near(found: Survey, rows: list[Row]) -> list[tuple[ObjectId, ObjectId]]:
    """(frame, an earlier one that it is nearly the same as)."""
    if not rows:
        return []
    from scipy.spatial import cKDTree

    ids, coordinates = _coordinates(found, rows)
    if len(ids) < 2:
        return []
    tree = cKDTree(coordinates)
    radius = coordinates.shape[1] ** 0.5
    like: dict[int, int] = {}
    for k, place in enumerate(coordinates):
        if k not in like:
            for other in tree.query_ball_point(place, radius):
                if other > k:
                    like.setdefault(other, k)
    return [(ids[k], ids[first]) for k, first in sorted(like.items())]


def _coordinates(found: Survey, rows: list[Row]) -> tuple[list[ObjectId], Floats]:
    """Ids, and principal components in units of σ, ``(n_frames, COMPONENTS)`` or fewer columns."""
    from alpw.potential.features import reference_model

    model = reference_model(elements_of([rows[0].formula]), SEED)
    db, few = found.dataset.db, rows[:COPIES]
    structures = ((d["_id"], atoms_of(d)) for d in reading.by_ids(db, [row.id for row in rows]))
    originals = {d["_id"]: atoms_of(d) for d in reading.by_ids(db, [row.id for row in few])}
    turn = [few[k % len(few)].id for k in range(COPIES)]
    moved = [((k, which), _moved(originals[which], k)) for k, which in enumerate(turn)]
    ids: list[ObjectId] = []
    parts: list[Floats] = []
    matrix: Floats | None = None
    for names, features in described(model, structures, found.progress):
        matrix = projection(features.shape[1], KEPT, SEED) if matrix is None else matrix
        ids += names
        parts.append(features @ matrix)
    if matrix is None:
        return [], np.empty((0, 0))
    points, place = np.concatenate(parts), {identity: k for k, identity in enumerate(ids)}
    copies, origins = [], []
    for names, features in described(model, moved, lambda done: None):
        for (_, origin), point in zip(names, features @ matrix, strict=True):
            if origin in place:
                copies.append(point)
                origins.append(place[origin])
    # Two frames alone span one direction; the copies give them those in which frames can differ.
    z, _ = principal(np.concatenate([points, copies]), COMPONENTS)
    noise = np.sqrt(((z[len(points) :] - z[origins]) ** 2).mean(axis=0))
    told = noise > 1e-9 * np.abs(z).max()
    return ids, z[: len(points), told] / noise[told]


def _moved(atoms: Atoms, seed: int) -> Atoms:
    """A copy with atoms moved at random by `DISPLACEMENT`, root mean square."""
    copy = atoms.copy()
    copy.rattle(DISPLACEMENT / 3**0.5, seed=seed)
    return copy
