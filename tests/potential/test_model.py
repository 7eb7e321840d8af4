"""The model is the Deep Potential of the papers, its forces and virial are derivatives of its energy, and
it has the symmetries of physics."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from alpw.errors import AlpwError, InputError
from alpw.potential import DeepPotential, DeepPotentialConfig, NeighborList, collate

MakeModel = Callable[..., DeepPotential]

# Central differences with this step have an error of about 1e-9 in the quantities below.
STEP = 1e-4


def network_by_numpy(state: dict[str, np.ndarray], prefix: str, x: np.ndarray) -> np.ndarray:
    """One residual network, applied to one input vector, layer by layer."""
    n_layers = 1 + max(
        int(key.removeprefix(prefix + ".").split(".")[0]) for key in state if key.startswith(prefix + ".")
    )
    for layer in range(n_layers):
        w, b = state[f"{prefix}.{layer}.w"], state[f"{prefix}.{layer}.b"]
        y = b + sum(x[k] * w[k] for k in range(len(x)))
        is_output = prefix.startswith("fitting") and layer == n_layers - 1
        if not is_output:
            y = np.tanh(y)
            if f"{prefix}.{layer}.idt" in state:
                y = y * state[f"{prefix}.{layer}.idt"]
            if len(y) == len(x):
                y = y + x
            elif len(y) == 2 * len(x):
                y = y + np.concatenate((x, x))
        x = y
    return x


def energies_by_numpy(model: DeepPotential, atoms: Atoms) -> np.ndarray:
    """The equations of DeepPot-SE, atom by atom and neighbour by neighbour."""
    config = model.config
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    i, j, vectors = primitive_neighbor_list(
        "ijD", atoms.pbc, atoms.cell.complete(), atoms.positions, config.rcut, self_interaction=False
    )
    types = [config.elements.index(symbol) for symbol in atoms.symbols]
    n_types, vectors_of = len(config.elements), state.get("descriptor.type_vectors.table")
    energies = []
    for centre in range(len(atoms)):
        moments = np.zeros((4, config.neuron[-1]))
        for pair in np.flatnonzero(i == centre):
            r = np.linalg.norm(vectors[pair])
            u = (r - config.rcut_smth) / (config.rcut - config.rcut_smth)
            s = 1 / r if u < 0 else (u**3 * (-6 * u**2 + 15 * u - 10) + 1) / r
            row = np.array([s, *(s * vectors[pair] / r)]) / state["descriptor.dstd"][types[centre]]
            net = types[j[pair]] if config.type_one_side else types[centre] * n_types + types[j[pair]]
            x = row[:1]
            if vectors_of is not None:
                net = 0
                centre_vector = [] if config.type_one_side else vectors_of[types[centre]]
                x = np.concatenate((x, vectors_of[types[j[pair]]], centre_vector))
            moments += np.outer(row, network_by_numpy(state, f"descriptor.embeddings.{net}", x))
        moments /= float(state["descriptor.normaliser"])
        descriptor = (moments.T @ moments[:, : config.axis_neuron]).ravel()
        if vectors_of is not None:
            descriptor = np.concatenate((descriptor, vectors_of[types[centre]]))
        net = 0 if vectors_of is not None else types[centre]
        atomic = network_by_numpy(state, f"fitting.{net}", descriptor)
        energies.append(atomic[0] + state["energy_bias"][types[centre]])
    return np.array(energies)


VARIANTS: dict[str, dict[str, Any]] = {
    "one net per neighbour": {"type_one_side": True},
    "one net per pair": {"type_one_side": False, "fitting_neuron": (10, 20, 9)},
    "learned vectors": {"type_embedding": "learned", "tebd_dim": 3},
    "learned vectors of the neighbour": {
        "type_embedding": "learned",
        "type_one_side": True,
        "embedding_resnet_dt": True,
    },
    "physical vectors": {"type_embedding": "physical", "activation": "tanh"},
}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> dict[str, Any]:
    return VARIANTS[request.param]


def test_energies_are_those_of_the_published_equations(
    make_model: MakeModel, structure: Atoms, variant: dict[str, Any]
) -> None:
    model = make_model(**variant)
    found = model.predict(structure)
    # The atomic energies are of order 100 eV, of which float64 resolves 1e-14.
    assert np.allclose(found.atomic_energies, energies_by_numpy(model, structure), rtol=0, atol=1e-10)
    assert found.energy == pytest.approx(found.atomic_energies.sum(), abs=1e-10)


def test_forces_are_minus_the_derivative_of_the_energy(
    make_model: MakeModel, structure: Atoms, variant: dict[str, Any]
) -> None:
    model = make_model(**variant)
    forces = model.predict(structure).forces
    for atom, axis in itertools.product(range(len(structure)), range(3)):
        energies = []
        for sign in (1, -1):
            moved = structure.copy()
            moved.positions[atom, axis] += sign * STEP
            energies.append(model.predict(moved).energy)
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * STEP), abs=1e-6)


def test_virial_is_minus_the_derivative_of_the_energy_by_strain(
    make_model: MakeModel, structure: Atoms, variant: dict[str, Any]
) -> None:
    model = make_model(**variant)
    virial = model.predict(structure).virial
    for a, b in itertools.product(range(3), range(3)):
        energies = []
        for sign in (1, -1):
            strained = structure.copy()
            strain = np.eye(3)
            strain[a, b] += sign * STEP
            strained.set_cell(structure.cell.array @ strain)
            strained.positions = structure.positions @ strain
            energies.append(model.predict(strained).energy)
        assert virial[a, b] == pytest.approx(-(energies[0] - energies[1]) / (2 * STEP), abs=1e-6)


def test_the_test_structures_exert_forces_that_could_be_wrong(
    make_model: MakeModel, triclinic: Atoms
) -> None:
    found = make_model().predict(triclinic)
    assert np.abs(found.forces).max() > 1e-2
    assert np.abs(found.virial).max() > 1e-2


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_energy_is_invariant_and_forces_turn_with_the_structure(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = DeepPotential(DeepPotentialConfig(("Si", "Ge"), rcut=4.0, sel=20, neuron=(6, 12), axis_neuron=4))
    atoms = Atoms(
        "Si3Ge3",
        positions=rng.uniform(0, 4, (6, 3)),
        cell=np.eye(3) * 3.6 + rng.uniform(-0.8, 0.8, (3, 3)),
        pbc=True,
    )
    rotation = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    order = rng.permutation(len(atoms))
    other = atoms[order]
    other.set_cell(atoms.cell.array @ rotation.T)
    images = rng.integers(-2, 3, (len(atoms), 3)) @ other.cell.array
    other.positions = atoms.positions[order] @ rotation.T + rng.uniform(-9, 9, 3) + images
    before, after = model.predict(atoms), model.predict(other)
    assert after.energy == pytest.approx(before.energy, abs=1e-10)
    # Close pairs in these random structures give forces of up to 1e3 eV/Å.
    scale = 1 + np.abs(before.forces).max()
    assert np.allclose(after.forces, before.forces[order] @ rotation.T, rtol=0, atol=1e-10 * scale)
    assert np.allclose(after.virial, rotation @ before.virial @ rotation.T, rtol=0, atol=1e-9 * scale)
    assert np.allclose(before.forces.sum(axis=0), 0, atol=1e-10 * scale)


def test_a_supercell_has_the_energy_of_its_cells(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model()
    one, many = model.predict(triclinic), model.predict(triclinic.repeat((2, 1, 3)))
    assert many.energy == pytest.approx(6 * one.energy, abs=1e-9)
    assert np.allclose(many.virial, 6 * one.virial, rtol=0, atol=1e-9)
    assert np.allclose(many.forces[:4], one.forces, rtol=0, atol=1e-10)


def test_an_isolated_atom_has_the_energy_of_an_empty_descriptor_and_no_force(make_model: MakeModel) -> None:
    model = make_model()
    found = model.predict(Atoms("Ge"))
    with torch.no_grad():
        empty = model.fitting[1](torch.zeros(1, model.descriptor.width, dtype=torch.float64)).item()
    assert found.energy == pytest.approx(empty - 107.0, abs=1e-12)
    assert (found.forces == 0).all()
    assert (found.virial == 0).all()


def test_energy_force_and_stiffness_vanish_smoothly_at_the_cutoff(make_model: MakeModel) -> None:
    model = make_model()
    rcut = model.config.rcut
    alone = sum(model.predict(Atoms(symbol)).energy for symbol in ("Si", "Ge"))

    def dimer(r: float) -> tuple[float, float]:
        found = model.predict(Atoms("SiGe", positions=[[0, 0, 0], [0, 0, r]]))
        return found.energy - alone, found.forces[1, 2]

    inside = [dimer(rcut - gap) for gap in (1e-1, 1e-2, 1e-3)]
    assert dimer(rcut) == dimer(rcut + 1e-9) == (pytest.approx(0, abs=1e-12), 0)
    assert abs(inside[0][1]) > 1e-8
    # s falls as the third power of the gap and the descriptor is quadratic in it, so energy and force
    # fall at least as the third and second power: a hundredth of the force for a tenth of the gap.
    for (e0, f0), (e1, f1) in itertools.pairwise(inside):
        assert abs(f1) <= abs(f0) / 50 + 1e-12
        assert abs(e1) <= abs(e0) / 500 + 1e-12


def test_frames_in_a_batch_do_not_see_each_other(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model()
    frames = [triclinic, Atoms("Ge"), triclinic[[1, 2]], Atoms("SiGe", positions=[[0, 0, 0], [0, 2, 0]])]
    batch = model.evaluate(collate([model.neighbors(atoms).graph() for atoms in frames]))
    single = [model.predict(atoms) for atoms in frames]
    assert np.allclose(batch.energy.detach(), [found.energy for found in single], rtol=0, atol=1e-11)
    assert np.allclose(batch.forces, np.concatenate([found.forces for found in single]), rtol=0, atol=1e-11)
    assert np.allclose(batch.virial, np.stack([found.virial for found in single]), rtol=0, atol=1e-11)


def test_the_normaliser_is_a_scale_and_no_limit_on_neighbours(
    make_model: MakeModel, triclinic: Atoms
) -> None:
    few, many = make_model(sel=2), make_model(sel=200)
    most = torch.bincount(few.neighbors(triclinic).graph().i).max()
    assert most > 2
    with torch.no_grad():
        for fitting in many.fitting:
            fitting[0].w *= (200 / 2) ** 2
    assert many.predict(triclinic).energy == pytest.approx(few.predict(triclinic).energy, abs=1e-9)


def test_physical_vectors_are_properties_scaled_over_the_periodic_table() -> None:
    config = DeepPotentialConfig(
        ("H", "Og"),
        type_embedding="physical",
        physical_properties=("atomic_number",),
    )
    assert DeepPotential(config).descriptor.type_vectors.table.tolist() == [[0.0], [1.0]]


def test_an_element_without_a_physical_property_is_named() -> None:
    with pytest.raises(InputError, match="no value of atom_radius is known for He"):
        DeepPotential(DeepPotentialConfig(("Si", "He"), type_embedding="physical"))


def test_an_unknown_element_is_named(make_model: MakeModel) -> None:
    with pytest.raises(InputError, match=r"element H, O is not one of the model's Si, Ge"):
        make_model().predict(Atoms("SiOH", positions=np.eye(3)))


def test_coinciding_atoms_are_an_error_and_not_a_number(make_model: MakeModel) -> None:
    with pytest.raises(AlpwError, match="closest atoms are 0 Å apart"):
        make_model().predict(Atoms("Si2"))


def test_a_graph_that_ends_before_the_cutoff_is_refused(make_model: MakeModel, triclinic: Atoms) -> None:
    with pytest.raises(InputError, match=r"3\.0 Å; the model needs 4\.0 Å"):
        make_model().predict_graph(NeighborList.build(triclinic, 3.0).graph())


def test_a_longer_graph_changes_nothing(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model()
    longer = model.predict_graph(NeighborList.build(triclinic, 6.0).graph())
    assert longer.energy == pytest.approx(model.predict(triclinic).energy, abs=1e-10)


def test_a_reused_list_gives_the_result_of_a_new_one(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model()
    neighbors = model.neighbors(triclinic, skin=0.8)
    rng = np.random.default_rng(5)
    triclinic.set_cell(triclinic.cell @ (np.eye(3) + 0.02 * rng.uniform(-1, 1, (3, 3))), scale_atoms=True)
    triclinic.positions += rng.uniform(-0.1, 0.1, (4, 3))
    triclinic.wrap()
    assert neighbors.covers(triclinic.positions, triclinic.cell)
    reused = model.energy_forces_virial(neighbors, triclinic.positions, triclinic.cell)
    fresh = model.predict(triclinic)
    assert reused.energy == pytest.approx(fresh.energy, abs=1e-10)
    assert np.allclose(reused.forces, fresh.forces, rtol=0, atol=1e-10)
    assert np.allclose(reused.virial, fresh.virial, rtol=0, atol=1e-10)


def test_single_precision_differs_by_rounding_only(make_model: MakeModel, triclinic: Atoms) -> None:
    double, single = make_model().predict(triclinic), make_model(precision="float32").predict(triclinic)
    assert single.forces.dtype == np.float64
    # Seven digits of networks whose values are of order 1; the bias of -100 eV does not cost any of them.
    assert 0 < abs(single.energy - double.energy) < 1e-4
    assert np.allclose(single.forces, double.forces, rtol=0, atol=1e-4)


def test_the_seed_decides_the_weights_and_members_differ(make_model: MakeModel) -> None:
    first, again, other = (
        torch.nn.utils.parameters_to_vector(make_model(seed=seed).parameters()) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 0.1


def test_initial_weights_follow_deepmd(make_model: MakeModel) -> None:
    model = make_model(neuron=(50, 100), axis_neuron=20, fitting_neuron=(200, 200))
    embedding, fitting = model.descriptor.embeddings[0], model.fitting[0]
    for layer in (embedding[1], fitting[0], fitting[1]):
        n_in, n_out = layer.w.shape
        # The standard error of a standard deviation from 5000 draws or more is 1%.
        assert layer.w.std().item() == pytest.approx((n_in + n_out) ** -0.5, rel=0.05)
    assert fitting[1].b.std().item() == pytest.approx(1.0, rel=0.2)
    assert fitting[1].idt.mean().item() == pytest.approx(0.1, abs=1e-3)
    assert embedding[1].idt is None
    assert fitting[0].idt is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("elements", ()),
        ("elements", ("Si", "Si")),
        ("elements", ("Xx",)),
        ("elements", "SiGe"),
        ("rcut", 0.0),
        ("rcut_smth", 4.0),
        ("neuron", ()),
        ("neuron", (25, 0)),
        ("axis_neuron", 13),
        ("activation", "relu"),
        ("precision", "float16"),
        ("sel", 0),
    ],
)
def test_an_impossible_setting_is_refused_by_name(make_model: MakeModel, key: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{key}: found .*; allowed: "):
        make_model(**{key: value})


def test_models_share_an_environment_only_if_it_means_the_same_to_both(make_model: MakeModel) -> None:
    one, seeded, longer = make_model(), make_model(seed=8, neuron=(5, 10)), make_model(rcut=4.5)
    assert one.reads_like(seeded) and not one.reads_like(longer)
    # A mean makes pairs of empty slots, as many as sel says.
    mean, wider = (make_model(set_davg_zero=False, sel=(n, n)) for n in (40, 44))
    assert not one.reads_like(mean) and not mean.reads_like(one) and not mean.reads_like(wider)
    assert mean.reads_like(make_model(set_davg_zero=False, sel=(40, 40), seed=8))
