"""Model files drive the dynamics; what one step needs of a structure is computed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from alpw.codes.lammps.checks import TrajectoryEnded
from alpw.codes.lammps.forces import search_close_pairs
from alpw.codes.lammps.inputs import ExplorationTask
from alpw.codes.lammps.models import Member, VerletModel, load, member_of
from alpw.codes.lammps.outputs import EndReason
from alpw.errors import AlpwError, InputError
from alpw.potential import DeepPotential, DeepPotentialConfig
from alpw.potential.tables import TableOptions
from alpw.potential.weights import fingerprint
from alpw.uncertainty.committee import predict_committee
from alpw.uncertainty.kpu import Samples, sampled_kpu


def make_model(seed: int, **options) -> DeepPotential:
    settings = {"rcut": 4.0, "neuron": (6, 12), "axis_neuron": 4, "fitting_neuron": (8, 8), **options}
    return DeepPotential(DeepPotentialConfig(settings.pop("elements", ("Si", "C")), seed=seed, **settings))


@pytest.fixture
def atoms() -> Atoms:
    crystal = bulk("SiC", "zincblende", a=4.36, cubic=True)
    crystal.rattle(0.1, seed=1)
    return crystal


@pytest.fixture
def counted(monkeypatch):
    """How often a model has built the environment of a structure."""
    calls = []
    build = DeepPotential.environment

    def environment(self, graph):
        calls.append(self)
        return build(self, graph)

    monkeypatch.setattr(DeepPotential, "environment", environment)
    return calls


def drift(atoms: Atoms, steps: int):
    """The same structure, moving and shearing by up to 1.5 Å, with atoms wrapped now and then."""
    rng = np.random.default_rng(0)
    for step in range(steps):
        atoms = atoms.copy()
        atoms.set_cell(atoms.cell.array + rng.normal(scale=0.01, size=(3, 3)), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.1, size=(len(atoms), 3))
        if step % 3 == 2:
            atoms.wrap()
        yield atoms


def test_moving_atoms_give_what_the_model_says_about_each_structure_alone(atoms):
    model, other = make_model(1), make_model(2)
    driver = VerletModel(model)
    member = Member(other, driver)
    for moved in drift(atoms, 30):
        for found, expected in (
            (driver.predict(moved), model.predict(moved)),
            (member.predict(moved), other.predict(moved)),
        ):
            assert found.energy == pytest.approx(expected.energy, abs=1e-12)
            np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-12)
            np.testing.assert_allclose(found.virial, expected.virial, rtol=0, atol=1e-12)


def test_all_questions_about_one_structure_share_one_environment(atoms, counted):
    driver = VerletModel(make_model(1))
    members = [member_of(driver, make_model(seed)) for seed in (2, 3)]
    for step, moved in enumerate(drift(atoms, 4), start=1):
        driver.close_pairs(moved, 1.5)
        for model in (driver, *members):
            model.predict(moved)
        assert len(counted) == step
    # Moved in place, as the engine does it.
    moved.positions[0, 0] += 1e-12
    driver.predict(moved)
    assert len(counted) == 5


@pytest.mark.parametrize(
    "options", [{"rcut": 4.5}, {"rcut_smth": 1.0}, {"type_one_side": True}, {"elements": ("C", "Si")}]
)
def test_member_to_which_the_environment_means_something_else_makes_its_own(options, atoms, counted):
    driver, other = VerletModel(make_model(1)), make_model(2, **options)
    found = member_of(driver, other).predict(atoms)
    assert counted == [other]
    np.testing.assert_allclose(found.forces, other.predict(atoms).forces, rtol=0, atol=1e-12)


def test_committee_of_members_with_different_widths_and_embeddings_shares(atoms, counted):
    driver = VerletModel(make_model(1))
    others = [make_model(2, neuron=(10, 20)), make_model(3, type_embedding="learned")]
    driver.predict(atoms)
    predictions = [member_of(driver, other).predict(atoms) for other in others]
    assert counted == [driver.model]
    expected = predict_committee(others, atoms)
    for found, forces in zip(predictions, expected.forces, strict=True):
        np.testing.assert_allclose(found.forces, forces, rtol=0, atol=1e-12)


@pytest.mark.parametrize("within", [1.0, 1.7, 2.5, 3.9, 5.0])
def test_close_pairs_are_those_of_a_search(within, atoms):
    driver = VerletModel(make_model(1))
    for moved in drift(atoms, 6):
        expected = {(i, j, round(d, 9)) for i, j, d in zip(*search_close_pairs(moved, within), strict=True)}
        expected = {pair for pair in expected if pair[2] < within}
        i, j, d = driver.close_pairs(moved, within)
        found = {(min(a, b), max(a, b), round(r, 9)) for a, b, r in zip(i, j, d, strict=True) if r < within}
        assert found == {(min(a, b), max(a, b), r) for a, b, r in expected}


def test_coinciding_atoms_end_the_trajectory(atoms):
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(TrajectoryEnded, match="not finite") as caught:
        VerletModel(make_model(1)).predict(atoms)
    assert caught.value.reason is EndReason.NAN


def test_unknown_element_is_an_input_error_not_an_end(atoms):
    atoms.symbols[0] = "Ge"
    with pytest.raises(InputError, match="Ge"):
        VerletModel(make_model(1)).predict(atoms)


@pytest.fixture
def make_task(tmp_path, atoms):
    """A task whose models are written to files."""

    def make(*models: DeepPotential, **options) -> ExplorationTask:
        paths = [tmp_path / f"{index}.pt" for index, _ in enumerate(models)]
        for path, model in zip(paths, models, strict=True):
            model.save(path)
        return ExplorationTask(atoms, paths, "nve", 300.0, 10, **options)

    return make


def test_committee_is_loaded_with_the_tasks_definition(make_task, atoms):
    models = [make_model(seed) for seed in (1, 2, 3)]
    for definition in ("dpgen", "legacy"):
        driver, measure = load(make_task(*models, deviation=definition))
        assert (measure.deviation, measure.members) == (definition, 3)
        expected = predict_committee(models, atoms).deviation(definition)
        found = measure(atoms, driver.predict(atoms))
        assert found["max_f"] == pytest.approx(expected.max_f, abs=1e-12)
        assert found["worst_atom"] == expected.worst_atom


def test_single_model_has_no_measure(make_task):
    assert load(make_task(make_model(1)))[1] is None


def test_collapsed_committee_is_refused_with_its_files(make_task):
    with pytest.raises(AlpwError, match=r"collapsed: members \S+/0.pt and \S+/2.pt \(0\)"):
        load(make_task(make_model(1), make_model(2), make_model(1)))


def test_no_model_is_refused(make_task):
    with pytest.raises(InputError, match="models: no model file"):
        load(replace(make_task(make_model(1)), models=()))


@pytest.fixture
def draws():
    """Draws of independent weights with a spread of 1e-3."""

    def draw(model: DeepPotential, seed: int = 1) -> Samples:
        n_weights = sum(parameter.numel() for parameter in model.parameters())
        rng = torch.Generator().manual_seed(seed)
        changes = 1e-3 * torch.randn(6, n_weights, generator=rng, dtype=torch.float64)
        return Samples(changes, fingerprint(model), "lkf", seed)

    return draw


@pytest.mark.parametrize("compressed", [False, True])
def test_kpu_on_the_fly_is_that_of_the_frame_and_shares_the_environment(
    compressed, make_task, draws, atoms, counted, tmp_path
):
    parent = make_model(1)
    samples = draws(parent)
    samples.save(tmp_path / "draws.pt")
    model = parent.tabulated(TableOptions()) if compressed else parent
    driver, measure = load(make_task(model, samples=tmp_path / "draws.pt"))
    assert (measure.deviation, measure.members, measure.draws) == (None, 1, 6)
    driver.close_pairs(atoms, 1.5)
    found = measure(atoms, driver.predict(atoms))
    assert len(counted) == 1
    expected = sampled_kpu(parent, samples, atoms)
    assert found == pytest.approx(
        {
            "max_kpu": expected.u_force.max(),
            "mean_kpu": expected.u_force.mean(),
            "min_kpu": expected.u_force.min(),
            "worst_atom_kpu": expected.u_force.argmax(),
            "energy_kpu": expected.u_energy,
        },
        abs=1e-12,
    )
    assert found["max_kpu"] > 1e-6


def test_both_measures_say_of_one_frame_what_each_says_alone(make_task, draws, atoms, counted, tmp_path):
    models = [make_model(seed) for seed in (1, 2, 3)]
    draws(models[0]).save(tmp_path / "draws.pt")
    driver, measure = load(make_task(*models, samples=tmp_path / "draws.pt", deviation="legacy"))
    assert (measure.deviation, measure.members, measure.draws) == ("legacy", 3, 6)
    found = measure(atoms, driver.predict(atoms))
    assert len(counted) == 1
    committee = load(make_task(*models, deviation="legacy"))[1](atoms, driver.predict(atoms))
    kpu = load(make_task(models[0], samples=tmp_path / "draws.pt"))[1](atoms, driver.predict(atoms))
    assert found == pytest.approx(committee | kpu, abs=1e-12)
    assert not committee.keys() & kpu.keys()


def test_draws_of_another_model_are_refused_with_their_file(make_task, draws, tmp_path):
    draws(make_model(2)).save(tmp_path / "draws.pt")
    with pytest.raises(InputError, match=r"draws.pt: these 6 draws of \d+ weights belong to other weights"):
        load(make_task(make_model(1), samples=tmp_path / "draws.pt"))


def test_uncertainty_that_is_no_number_ends_the_trajectory(make_task, draws, atoms, tmp_path):
    draws(make_model(1)).save(tmp_path / "draws.pt")
    driver, measure = load(make_task(make_model(1), samples=tmp_path / "draws.pt"))
    driving = driver.predict(atoms)
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(TrajectoryEnded, match="the uncertainty is not finite") as caught:
        measure(atoms, driving)
    assert caught.value.reason is EndReason.NAN
