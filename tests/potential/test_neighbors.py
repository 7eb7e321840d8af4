"""Pair lists are complete in any cell, and a list with a skin says when it has ceased to be."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from alpw.errors import InputError
from alpw.potential import NeighborList, collate

CUTOFF = 3.0


def pairs_by_ase(atoms: Atoms, cutoff: float) -> tuple[Counter[tuple[int, ...]], np.ndarray]:
    i, j, shifts, distances = primitive_neighbor_list(
        "ijSd", atoms.pbc, atoms.cell.complete(), atoms.positions, cutoff, self_interaction=False
    )
    rows = np.column_stack((i, j, shifts))
    return Counter(map(tuple, rows.astype(int).tolist())), distances


@st.composite
def random_structures(draw: st.DrawFn) -> Atoms:
    """Up to six atoms, anywhere, in a cell that may be small and skewed, periodic along any axes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_atoms = draw(st.integers(1, 6))
    lengths = rng.uniform(1.8, 6.0, 3)
    cell = np.diag(lengths) + np.tril(rng.uniform(-2.0, 2.0, (3, 3)), -1)
    pbc = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    atoms = Atoms(f"Si{n_atoms}", scaled_positions=rng.uniform(-1.5, 2.5, (n_atoms, 3)), cell=cell, pbc=pbc)
    return atoms


@settings(max_examples=60, deadline=None)
@given(random_structures())
def test_every_pair_that_ase_finds_is_listed_once(atoms: Atoms) -> None:
    expected, distances = pairs_by_ase(atoms, CUTOFF)
    # The two libraries may disagree on a pair whose distance equals the cutoff to the last digit.
    assume(not np.any(np.abs(distances - CUTOFF) < 1e-9))
    found = NeighborList.build(atoms, CUTOFF)
    assert (
        Counter(map(tuple, np.column_stack((found.i, found.j, found.shifts)).astype(int).tolist()))
        == expected
    )
    graph = found.graph()
    assert np.allclose(np.sort(graph.vectors.norm(dim=1)), np.sort(distances), rtol=0, atol=1e-10)
    assert (np.diff(graph.i) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(random_structures(), st.integers(0, 2**32 - 1), st.floats(0.0, 0.7), st.floats(0.0, 0.08))
def test_a_list_that_covers_a_moved_structure_holds_all_its_pairs(
    atoms: Atoms, seed: int, moved: float, strained: float
) -> None:
    rng = np.random.default_rng(seed)
    reference = NeighborList.build(atoms, CUTOFF, skin=1.0)
    atoms.set_cell(atoms.cell @ (np.eye(3) + strained * rng.uniform(-1, 1, (3, 3))), scale_atoms=True)
    step = rng.normal(size=atoms.positions.shape)
    atoms.positions += moved * step / np.linalg.norm(step, axis=1, keepdims=True)
    fresh = NeighborList.build(atoms, CUTOFF).graph()
    atoms.wrap()
    assume(reference.covers(atoms.positions, atoms.cell))
    assume(not (np.abs(fresh.vectors.norm(dim=1) - CUTOFF) < 1e-9).any())
    reused = reference.graph(atoms.positions, atoms.cell)
    for first, second in ((fresh, reused), (reused, fresh)):
        for i, j, vector in zip(first.i, first.j, first.vectors, strict=True):
            same = (second.i == i) & (second.j == j)
            assert (second.vectors[same] - vector).norm(dim=1).min() < 1e-9


def test_a_list_covers_moves_up_to_half_its_skin_and_no_more(triclinic: Atoms) -> None:
    neighbors = NeighborList.build(triclinic, CUTOFF, skin=1.0)
    positions = triclinic.positions.copy()
    positions[1, 0] += 0.499
    assert neighbors.covers(positions)
    positions[1, 0] += 0.002
    assert not neighbors.covers(positions)


def test_a_list_does_not_cover_a_cell_compressed_by_more_than_its_skin_allows(triclinic: Atoms) -> None:
    neighbors = NeighborList.build(triclinic, CUTOFF, skin=1.0)
    # 4 Å * 0.76 stays above the cutoff of 3 Å, 4 Å * 0.74 does not.
    assert neighbors.covers(triclinic.positions * 0.76, triclinic.cell * 0.76)
    assert not neighbors.covers(triclinic.positions * 0.74, triclinic.cell * 0.74)


def test_a_jump_by_a_cell_vector_is_no_move(triclinic: Atoms) -> None:
    neighbors = NeighborList.build(triclinic, CUTOFF, skin=0.5)
    jumped = triclinic.positions + np.vstack((np.zeros(3), triclinic.cell.array))
    assert neighbors.covers(jumped)
    assert np.allclose(neighbors.graph(jumped).vectors, neighbors.graph().vectors, rtol=0, atol=1e-12)


def test_graphs_of_different_frames_are_joined_side_by_side(triclinic: Atoms) -> None:
    first = NeighborList.build(triclinic, CUTOFF).graph()
    second = NeighborList.build(Atoms("Ge2", positions=[[0, 0, 0], [0, 0, 2.0]]), CUTOFF).graph()
    both = collate([first, second])
    assert both.n_frames == 2
    assert both.frame.tolist() == [0, 0, 0, 0, 1, 1]
    assert both.numbers.tolist() == [14, 32, 32, 14, 32, 32]
    assert both.i[len(first.i) :].tolist() == [4, 5]
    assert both.j[len(first.i) :].tolist() == [5, 4]


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "no atoms"),
        (Atoms("Si", positions=[[np.nan, 0, 0]]), "not finite"),
        (Atoms("Si", cell=[3, 3, 0], pbc=True), "no volume"),
        (Atoms("Si", cell=[[3, 0, 0], [6, 0, 0], [0, 0, 3]], pbc=True), "no volume"),
    ],
)
def test_a_structure_without_a_meaning_is_refused(atoms: Atoms, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NeighborList.build(atoms, CUTOFF)


def test_positions_of_another_structure_are_refused(triclinic: Atoms) -> None:
    with pytest.raises(InputError, match=r"\(3, 3\)"):
        NeighborList.build(triclinic, CUTOFF).graph(triclinic.positions[:3])
