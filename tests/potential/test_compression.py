"""A compressed model is its parent to far better than a force error matters, at every distance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from alpw.errors import AlpwError, InputError
from alpw.potential import DeepPotential
from alpw.potential.compression import compress

MakeModel = Callable[..., DeepPotential]

VARIANTS: dict[str, dict[str, Any]] = {
    "one net per pair of elements": {},
    "one net per neighbour": {"type_one_side": True},
    "learned type vectors": {"type_embedding": "learned", "tebd_dim": 3},
    "physical type vectors": {"type_embedding": "physical", "type_one_side": True},
}
OTHER_ACTIVATIONS = ("gelu", "softplus", "sigmoid")


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest, make_model: MakeModel) -> DeepPotential:
    return make_model(**VARIANTS[request.param])


def largest_difference(a: DeepPotential, b: DeepPotential, atoms: Atoms) -> float:
    """Of energy, forces and virial."""
    one, other = a.predict(atoms), b.predict(atoms)
    parts = [np.subtract(getattr(one, name), getattr(other, name)) for name in ("forces", "virial")]
    return max(abs(one.energy - other.energy), *(float(np.abs(part).max()) for part in parts))


def networks(model: DeepPotential, s: torch.Tensor) -> torch.Tensor:
    """G of every kind of pair by its network, ``(n_kinds, n, M)``."""
    return torch.stack([model.descriptor.embed_kind(kind, s) for kind in range(model.descriptor.n_kinds)])


def tables(model: DeepPotential, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """G and dG/ds~ of every kind of pair by its table, ``(n_kinds, n, M)``."""
    assert model.tables is not None
    n_kinds = model.descriptor.n_kinds
    kind = torch.arange(n_kinds).repeat_interleave(len(s))
    found = model.tables(kind, s.squeeze(1).repeat(n_kinds))
    return found[0].view(n_kinds, len(s), -1), found[1].view(n_kinds, len(s), -1)


@pytest.mark.parametrize(("order", "allowed"), [(5, 1e-10), (3, 1e-7)])
def test_energies_forces_and_virials_are_those_of_the_parent(
    variant: DeepPotential, structure: Atoms, order: int, allowed: float
) -> None:
    compressed, _ = compress(variant, order=order)
    assert largest_difference(compressed, variant, structure) < allowed


def test_a_model_that_subtracts_a_mean_has_tables_from_below_zero(
    make_model: MakeModel, triclinic: Atoms
) -> None:
    model = make_model(set_davg_zero=False, sel=(60, 60))
    with torch.no_grad():
        model.descriptor.davg[:, 0] = torch.tensor([0.05, 0.08])
    compressed, report = compress(model, frames=[triclinic])
    assert compressed.tables is not None
    assert compressed.tables.start < -0.1
    assert report.force_error < 1e-10
    # An atom with empty slots, which carry the mean.
    assert largest_difference(compressed, model, Atoms("SiGe", positions=[[0, 0, 0], [0, 0, 2.0]])) < 1e-10


@pytest.mark.parametrize("activation", OTHER_ACTIVATIONS)
def test_any_activation_can_be_tabulated(make_model: MakeModel, triclinic: Atoms, activation: str) -> None:
    model = make_model(activation=activation)
    assert largest_difference(compress(model)[0], model, triclinic) < 1e-10


def test_the_table_of_every_kind_has_the_right_spacing(variant: DeepPotential) -> None:
    compressed, _ = compress(variant)
    assert compressed.tables is not None
    s = torch.rand(500, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    s *= compressed.tables.end
    values, derivatives = tables(compressed, s)
    with torch.no_grad():
        assert torch.allclose(values, networks(variant, s), rtol=0, atol=1e-12)
        slope = (networks(variant, s + 1e-5) - networks(variant, s - 1e-5)) / 2e-5
    assert torch.allclose(derivatives, slope, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("order", "power"), [(5, 6), (3, 4)])
def test_the_error_falls_with_the_power_of_the_spacing_that_hermite_interpolation_has(
    make_model: MakeModel, order: int, power: int
) -> None:
    model = make_model()
    s = torch.linspace(0.0, 3.0, 700, dtype=torch.float64)[:, None]
    errors = []
    for spacing in (0.1, 0.05):
        compressed, _ = compress(model, spacing=spacing, order=order)
        errors.append((tables(compressed, s)[0] - networks(model, s)).detach().abs().max().item())
    assert errors[0] / errors[1] == pytest.approx(2**power, rel=0.3)


@pytest.mark.parametrize("order", [5, 3])
def test_value_and_slope_have_no_jump_at_a_node(make_model: MakeModel, order: int) -> None:
    compressed, _ = compress(make_model(), spacing=0.5, order=order)
    nodes = torch.arange(1, 12, dtype=torch.float64)[:, None] * 0.5
    for before, after in zip(tables(compressed, nodes - 1e-10), tables(compressed, nodes), strict=True):
        assert torch.allclose(before, after, rtol=0, atol=1e-8)


def test_forces_are_the_derivative_of_the_tables_energy(make_model: MakeModel, triclinic: Atoms) -> None:
    # So coarse that the networks' derivative would be visibly wrong.
    model = make_model()
    compressed, report = compress(model, spacing=1.0, order=3)
    assert report.force_error > 1e-4
    forces = compressed.predict(triclinic).forces
    for atom, axis in ((0, 0), (1, 1), (3, 2)):
        energies = []
        for sign in (1, -1):
            moved = triclinic.copy()
            moved.positions[atom, axis] += sign * 1e-5
            energies.append(compressed.predict(moved).energy)
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("shortest", [1.0, 2.5, 3.9])
def test_pairs_beyond_the_end_of_the_table_are_computed_by_the_network(
    variant: DeepPotential, triclinic: Atoms, shortest: float
) -> None:
    compressed, _ = compress(variant, shortest=shortest)
    for atoms in (triclinic, Atoms("SiGe", positions=[[0, 0, 0], [0, 0, 0.2]])):
        exact = variant.predict(atoms)
        found = compressed.predict(atoms)
        scale = 1.0 + np.abs(exact.forces).max()
        assert np.abs(found.forces - exact.forces).max() < 1e-10 * scale
        assert found.energy == pytest.approx(exact.energy, abs=1e-10 * scale)


def test_nothing_jumps_where_the_table_ends(make_model: MakeModel) -> None:
    compressed, _ = compress(make_model(), shortest=2.0, order=3, spacing=0.05)
    around = [1.95, *(2.0 + gap for gap in (-1e-9, 0.0, 1e-9)), 2.05]
    found = [compressed.predict(Atoms("SiSi", positions=[[0, 0, 0], [0, 0, r]])) for r in around]
    assert abs(found[0].energy - found[-1].energy) > 1e-3
    assert max(abs(found[k].energy - found[2].energy) for k in (1, 3)) < 1e-7
    # The slope of a cubic table errs by 1e-7 at a node; a wrong row would be wrong by 1e-2.
    assert max(np.abs(found[k].forces - found[2].forces).max() for k in (1, 3)) < 1e-5


def test_coinciding_atoms_are_an_error_for_tables_too(make_model: MakeModel) -> None:
    compressed, _ = compress(make_model())
    with pytest.raises(AlpwError, match="closest atoms are 0 Å apart"):
        compressed.predict(Atoms("Si2"))


def test_single_precision_differs_by_rounding_only(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model(precision="float32")
    assert largest_difference(compress(model)[0], model, triclinic) < 1e-4


def test_the_report_says_what_a_comparison_finds(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model()
    compressed, report = compress(model, spacing=0.2, order=3, frames=[triclinic])
    exact, found = model.predict(triclinic), compressed.predict(triclinic)
    assert report.from_user
    assert report.n_frames == 1
    assert report.force_error == pytest.approx(np.abs(found.forces - exact.forces).max(), rel=1e-6)
    assert report.energy_error == pytest.approx(abs(found.energy - exact.energy) / 4, abs=1e-13)
    assert report.n_tables == 4


def test_without_frames_the_error_is_measured_on_crystals(variant: DeepPotential) -> None:
    _, report = compress(variant)
    assert not report.from_user
    assert report.n_frames > 1
    assert 0 < report.force_error < 1e-6
    assert report.energy_error < 1e-9


def test_a_compressed_model_cannot_be_trained_and_says_so(make_model: MakeModel, triclinic: Atoms) -> None:
    compressed, _ = compress(make_model())
    graph = compressed.neighbors(triclinic).graph()
    assert not any(parameter.requires_grad for parameter in compressed.parameters())
    with pytest.raises(AlpwError, match=r"take its parent\(\)"):
        compressed.evaluate(graph, create_graph=True)


def test_the_parent_is_the_model_that_was_compressed(variant: DeepPotential, triclinic: Atoms) -> None:
    compressed, _ = compress(variant)
    parent = compressed.parent()
    assert parent.tables is None
    assert all(parameter.requires_grad for parameter in parent.parameters())
    assert parent.predict(triclinic).energy == variant.predict(triclinic).energy
    assert variant.parent() is variant
    assert variant.tables is None
    assert compressed.state_dict().keys() == variant.state_dict().keys()


def test_compressing_twice_is_compressing_once(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model()
    coarse, _ = compress(model, spacing=1.0, order=3)
    fine, report = compress(coarse)
    assert report.spacing == 0.01
    assert largest_difference(fine, model, triclinic) < 1e-10


@pytest.mark.parametrize(
    ("key", "value"), [("spacing", 0.0), ("spacing", float("nan")), ("order", 4), ("shortest", 4.0)]
)
def test_an_impossible_setting_is_refused_by_name(make_model: MakeModel, key: str, value: float) -> None:
    with pytest.raises(InputError, match=f"^{key}: found .*; allowed: "):
        compress(make_model(), **{key: value})  # type: ignore[arg-type]
