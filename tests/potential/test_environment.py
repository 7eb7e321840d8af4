"""Environment matrices, their derivatives, and the pieces in which large structures are evaluated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase import Atoms

from alpw.potential import DeepPotential, NeighborList, model
from alpw.potential.compression import compress
from alpw.potential.environment import environment_matrix

MakeModel = Callable[..., DeepPotential]


def test_derivatives_are_those_of_the_rows(make_model: MakeModel, triclinic: Atoms) -> None:
    potential = make_model()
    environment = potential.environment(potential.neighbors(triclinic).graph())
    vectors = environment.graph.vectors.clone().requires_grad_()
    rows, _ = environment_matrix(vectors, potential.config.rcut_smth, potential.config.rcut)
    assert torch.equal(rows, environment.rows)
    by_autograd = torch.stack(
        [torch.autograd.grad(rows[:, k].sum(), vectors, retain_graph=True)[0] for k in range(4)], dim=1
    )
    assert torch.allclose(environment.derivatives, by_autograd, rtol=0, atol=1e-13)


def test_pull_contracts_the_derivatives(make_model: MakeModel, triclinic: Atoms) -> None:
    potential = make_model()
    environment = potential.environment(potential.neighbors(triclinic).graph())
    gradient = torch.randn(environment.rows.shape, dtype=torch.float64)
    expected = torch.einsum("pk,pkx->px", gradient, environment.derivatives)
    assert torch.allclose(environment.pull(gradient), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("settings", [{}, {"type_one_side": True}, {"type_embedding": "learned"}])
def test_pieces_give_the_result_of_the_whole(
    make_model: MakeModel,
    triclinic: Atoms,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    compressed: bool,
) -> None:
    potential = make_model(**settings)
    potential = compress(potential)[0] if compressed else potential
    # An atom without neighbours in the middle, so that a piece may end there.
    lone, upper = Atoms("Ge", positions=[[0, 0, 30]]), triclinic.copy()
    upper.positions[:, 2] += 50.0
    atoms = triclinic.repeat((2, 1, 1)) + lone + upper
    atoms.set_cell(np.diag([9.0, 9.0, 80.0]))
    whole = potential.predict(atoms)
    for size in (1, 40, 150):
        monkeypatch.setattr(model, "PAIRS_PER_PIECE", size)
        cut = potential.predict(atoms)
        assert np.allclose(cut.atomic_energies, whole.atomic_energies, rtol=0, atol=1e-12)
        assert np.allclose(cut.forces, whole.forces, rtol=0, atol=1e-12)


def test_the_closest_pair_is_known_without_the_skin(triclinic: Atoms) -> None:
    neighbors = NeighborList.build(triclinic, 4.0, 1.0)
    graph = neighbors.graph(triclinic.positions + 0.01)
    assert graph.closest == pytest.approx(graph.vectors.norm(dim=1).min().item(), abs=1e-12)
    assert NeighborList.build(Atoms("Ge"), 4.0).graph().closest == 4.0
