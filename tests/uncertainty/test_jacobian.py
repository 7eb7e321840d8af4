"""The structured derivatives by the weights are those of one backward pass for each component."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ase import Atoms
from torch import Tensor

from alpw.potential import DeepPotential
from alpw.potential.weights import from_vector
from alpw.uncertainty import directional, jacobian
from alpw.uncertainty.directional import along_weights
from alpw.uncertainty.jacobian import energy_gradient, force_jacobian
from alpw.uncertainty.linearised import Linearised

MakeModel = Callable[..., DeepPotential]
BruteForce = Callable[[DeepPotential, Atoms], tuple[Tensor, Tensor]]

VARIANTS: dict[str, dict[str, Any]] = {
    "one net per pair of elements": {},
    "one net per neighbour": {"type_one_side": True},
    "one element in the model": {"elements": ("Cu",)},
    "time steps in all nets": {"embedding_resnet_dt": True, "resnet_dt": True},
    "no time steps": {"resnet_dt": False},
    "widths that double, in the fitting net too": {"neuron": (4, 8, 16), "fitting_neuron": (7, 14)},
    "another activation": {"activation": "gelu"},
    "learned type vectors": {"type_embedding": "learned", "tebd_dim": 3},
    "learned, of the neighbour": {"type_embedding": "learned", "tebd_dim": 3, "type_one_side": True},
    "vectors that skip the first layers": {
        "type_embedding": "learned",
        "tebd_dim": 3,
        "neuron": (7, 14),
        "fitting_neuron": (59, 59),
    },
    "fixed type vectors": {"type_embedding": "physical"},
    "a mean, with empty slots that count": {"set_davg_zero": False, "sel": (70, 70)},
}


def linearised(model: DeepPotential, atoms: Atoms, dtype: torch.dtype = torch.float64) -> Linearised:
    return Linearised(model, model.environment(model.neighbors(atoms).graph()), dtype)


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-11) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


@pytest.mark.parametrize("variant", VARIANTS)
def test_equal_to_one_backward_pass_per_component(
    make_model: MakeModel, brute_force: BruteForce, structure: Atoms, variant: str
) -> None:
    model = make_model(**VARIANTS[variant])
    if len(model.config.elements) == 1:
        structure.symbols[:] = "Cu"
    by_energy, by_forces = brute_force(model, structure)
    state = linearised(model, structure)
    assert_close(energy_gradient(state), by_energy)
    assert_close(force_jacobian(state), by_forces)

    draws = torch.randn(3, state.n_weights, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    along_energy, along_forces = along_weights(state, draws)
    assert_close(along_energy, draws @ by_energy)
    assert_close(along_forces, torch.einsum("naw,kw->kna", by_forces, draws))


def test_equal_to_finite_differences_of_the_forces(make_model: MakeModel, alloy: Atoms) -> None:
    model, step = make_model(), 1e-5
    state = linearised(model, alloy)
    draws = torch.randn(4, state.n_weights, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    along = torch.einsum("naw,kw->kna", force_jacobian(state), draws)
    for draw, expected in zip(draws, along, strict=True):
        results = []
        for sign in (1, -1):
            shifted = make_model()
            with torch.no_grad():
                parameters = list(shifted.parameters())
                for parameter, part in zip(parameters, from_vector(draw, parameters), strict=True):
                    parameter += sign * step * part
            results.append(torch.from_numpy(shifted.predict(alloy).forces))
        assert_close((results[0] - results[1]) / (2 * step), expected, tolerance=1e-6)


def test_the_size_of_chunks_does_not_matter(
    make_model: MakeModel, alloy: Atoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = linearised(make_model(), alloy)
    draws = torch.randn(5, state.n_weights, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    whole, along = force_jacobian(state), along_weights(state, draws)
    monkeypatch.setattr(jacobian, "JACOBIAN_BYTES", 3 * 8 * 3 * state.n_weights)
    monkeypatch.setattr(jacobian, "CHUNK_BYTES", 1)
    monkeypatch.setattr(directional, "CHUNK_BYTES", 1)
    assert_close(force_jacobian(state), whole)
    assert_close(along_weights(state, draws)[1], along[1])


def test_some_atoms_only(make_model: MakeModel, alloy: Atoms) -> None:
    state = linearised(make_model(), alloy)
    assert_close(force_jacobian(state, torch.tensor([5, 2])), force_jacobian(state)[[5, 2]])


def test_the_energy_of_an_atom_alone_has_derivatives_and_its_force_has_none(make_model: MakeModel) -> None:
    state = linearised(make_model(), Atoms("Au"))
    assert float(energy_gradient(state).abs().max()) > 0
    assert float(force_jacobian(state).abs().max()) == 0


def test_float32_is_exact_to_its_rounding(make_model: MakeModel, alloy: Atoms) -> None:
    model = make_model()
    precise, rough = (
        force_jacobian(linearised(model, alloy, dtype)) for dtype in (torch.float64, torch.float32)
    )
    assert rough.dtype == torch.float32
    assert_close(rough.double(), precise, tolerance=1e-5)
