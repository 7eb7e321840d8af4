"""Training lowers the error on unseen frames, by the published loss, and repeats itself exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from alpw.errors import AlpwError, InputError
from alpw.potential import DeepPotential, DeepPotentialConfig, EpochRecord, TrainingOptions, train
from alpw.potential import test as evaluate
from alpw.potential.dataset import join, prepare
from alpw.potential.loss import Prefactors, Schedule, frame_errors, mixed
from alpw.potential.statistics import fit_normalisation, shift_energy_bias
from alpw.structures.frame import Label, LabelledFrame


def labelled(atoms: Atoms, calculator: Calculator) -> LabelledFrame:
    copy = atoms.copy()
    copy.calc = calculator
    virial = -copy.get_stress(voigt=False) * copy.get_volume()
    return LabelledFrame(atoms, Label(copy.get_potential_energy(), copy.get_forces(), virial))


def crystal(rng: np.random.Generator, formula: str, a: float, amplitude: float) -> Atoms:
    """A strained, rattled fcc cell; four atoms, or more along x if the formula has more."""
    n_cells = len(Atoms(formula)) // 4
    atoms = bulk("Cu", "fcc", a=a, cubic=True).repeat((n_cells, 1, 1))
    atoms.symbols = formula
    atoms.set_cell(atoms.cell @ (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, amplitude, atoms.positions.shape)
    return atoms


def emt_frames(number: int, seed: int, formulas: tuple[str, ...] = ("Cu4",)) -> list[LabelledFrame]:
    """Copper and gold, labelled with ASE's effective medium theory."""
    rng = np.random.default_rng(seed)
    structures = [crystal(rng, formulas[k % len(formulas)], 3.75, amplitude=0.15) for k in range(number)]
    return [labelled(atoms, EMT()) for atoms in structures]


def lennard_jones_frames(number: int, seed: int) -> list[LabelledFrame]:
    """Eight atoms and a pair potential that ends within the model's cutoff, so that it can be learnt."""
    rng = np.random.default_rng(seed)
    pair = {"sigma": 2.3, "epsilon": 0.15, "rc": 4.4, "ro": 3.0, "smooth": True}
    structures = [crystal(rng, "Cu8", 3.65, amplitude=0.07) for _ in range(number)]
    return [labelled(atoms, LennardJones(**pair)) for atoms in structures]


def copper_model(**settings: Any) -> DeepPotential:
    defaults: dict[str, Any] = {
        "elements": ("Cu",),
        "rcut": 4.5,
        "rcut_smth": 2.0,
        "neuron": (8, 16),
        "axis_neuron": 4,
        "fitting_neuron": (16, 16),
        "seed": 5,
    }
    return DeepPotential(DeepPotentialConfig(**{**defaults, **settings}))


QUICK = TrainingOptions(
    steps=400, batch_size=2, learning_rate=1e-2, stop_lr=1e-4, device="cpu", threads=1, validate_every=5
)


def with_options(**changes: Any) -> TrainingOptions:
    return TrainingOptions(**{**vars(QUICK), **changes})


def weights(model: DeepPotential) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def test_training_lowers_the_error_on_unseen_frames() -> None:
    model, frames, unseen = copper_model(), lennard_jones_frames(20, seed=1), lennard_jones_frames(10, seed=2)
    valid = lennard_jones_frames(5, seed=3)
    seen: list[EpochRecord] = []
    before = evaluate(model, unseen)
    options = with_options(
        start_pref_energy=1.0,
        start_pref_force=100.0,
        limit_pref_force=10.0,
        start_pref_virial=1.0,
        limit_pref_virial=1.0,
    )
    report = train(model, frames, valid, options, on_epoch=seen.append)
    after = evaluate(model, unseen)
    spread = np.std(np.concatenate([frame.label.forces for frame in unseen]))
    # A model that knows nothing errs by the spread of the labels; 400 steps reach about a quarter of it.
    assert after.force_rmse < 0.4 * min(spread, before.force_rmse)
    assert after.energy_rmse < 0.5 * np.std([frame.label.energy / 8 for frame in unseen])
    assert tuple(seen) == report.epochs
    assert report.valid == evaluate(model, valid)
    assert report.train == evaluate(model, frames)


def test_training_two_elements_in_frames_of_different_sizes() -> None:
    formulas = ("Cu4", "Au4", "Cu3Au", "CuAu3")
    frames = [*emt_frames(40, seed=1, formulas=formulas), *emt_frames(2, seed=3, formulas=("Cu8",))]
    frames.append(LabelledFrame(Atoms("Au"), Label(energy=3.8, forces=np.zeros((1, 3)))))
    unseen = emt_frames(12, seed=2, formulas=formulas)
    model = copper_model(elements=("Au", "Cu"))
    train(model, frames, (), with_options(steps=600, batch_size=3))
    spread = np.std(np.concatenate([frame.label.forces for frame in unseen]))
    assert evaluate(model, unseen).force_rmse < 0.4 * spread


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    frames = emt_frames(6, seed=1)
    results = []
    for seed in (1, 1, 2):
        model = copper_model()
        train(model, frames, (), with_options(steps=25, seed=seed))
        results.append(weights(model))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_the_loss_is_that_of_deepmd() -> None:
    model, frames = copper_model(), emt_frames(3, seed=4)
    (big,) = emt_frames(1, seed=5, formulas=("Cu8",))
    frames.append(LabelledFrame(big.atoms, Label(big.label.energy, big.label.forces)))
    batches = prepare(model, frames)
    fit_normalisation(model, batches)
    p = Prefactors(energy=0.3, force=7.0, virial=0.9)
    batch = join(batches)
    found = frame_errors(model.evaluate(batch.graph, create_graph=True), batch).loss(p)
    expected = []
    for atoms, label in frames:
        prediction, n = model.predict(atoms), len(atoms)
        loss = p.energy * (prediction.energy - label.energy) ** 2 / n
        loss += p.force * ((prediction.forces - label.forces) ** 2).sum() / (3 * n)
        if label.virial is not None:
            loss += p.virial * ((prediction.virial - label.virial) ** 2).sum() / (9 * n)
        expected.append(loss)
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-12)
    found.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_gradient_of_the_loss_matches_finite_differences() -> None:
    model, frames = copper_model(), emt_frames(2, seed=4)
    batches = prepare(model, frames)
    fit_normalisation(model, batches)
    shift_energy_bias(model, batches)
    batch = join(batches)

    def loss() -> torch.Tensor:
        return frame_errors(model.evaluate(batch.graph, create_graph=True), batch).loss(
            Prefactors(0.1, 10.0, 0.2)
        )

    loss().backward()
    for parameter in model.parameters():
        index = int(parameter.grad.abs().argmax())
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.view(-1)[index] += step
            values.append(loss().item())
            with torch.no_grad():
                parameter.view(-1)[index] -= step
        expected = (values[0] - values[1]) / 2e-5
        # Central differences of a loss of order 100 are good to about 1e-6.
        assert parameter.grad.view(-1)[index].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_learning_rate_falls_from_start_to_stop() -> None:
    smooth = Schedule(1e-3, 1e-7, n_steps=400)
    assert smooth(0) == 1e-3
    assert smooth(100) == pytest.approx(1e-4)
    assert smooth(400) == pytest.approx(1e-7)
    stairs = Schedule(1e-3, 1e-7, n_steps=400, decay_steps=100)
    assert [stairs(step) for step in (99, 100, 199)] == pytest.approx([1e-3, 1e-4, 1e-4])


def test_prefactors_go_from_start_to_limit_with_the_learning_rate() -> None:
    start, limit = Prefactors(0.02, 1000, 0), Prefactors(1, 1, 2)
    assert mixed(start, limit, 1.0) == start
    assert mixed(start, limit, 0.0) == limit
    assert mixed(start, limit, 0.25) == pytest.approx((0.755, 250.75, 1.5))


def test_normalisation_is_the_root_mean_square_over_real_neighbours() -> None:
    # A Cu-Au dimer and a lone Au atom: s and the direction are known by hand.
    frames = [
        LabelledFrame(Atoms("CuAu", positions=[[0, 0, 0], [0, 0, 2.0]]), Label(0.0, np.zeros((2, 3)))),
        LabelledFrame(Atoms("Au"), Label(0.0, np.zeros((1, 3)))),
    ]
    model = copper_model(elements=("Cu", "Au", "Ag"))
    fit_normalisation(model, prepare(model, frames))
    expected = [0.5, *[0.5 / np.sqrt(3)] * 3]
    assert np.allclose(model.descriptor.dstd, [expected] * 3, rtol=0, atol=1e-12)
    assert model.descriptor.normaliser == 4


def test_energy_bias_recovers_the_energies_of_free_atoms() -> None:
    model = copper_model(elements=("Cu", "Au"))
    atoms = [Atoms("Cu3Au"), Atoms("CuAu2"), Atoms("Au2")]
    for structure in atoms:
        structure.positions[:, 0] = 10.0 * np.arange(len(structure))
    free = [model.predict(Atoms(symbol)).energy for symbol in ("Cu", "Au")]
    energies = [-50.0 * s.symbols.count("Cu") - 900.0 * s.symbols.count("Au") for s in atoms]
    frames = [LabelledFrame(s, Label(e, np.zeros((len(s), 3)))) for s, e in zip(atoms, energies, strict=True)]
    shift_energy_bias(model, prepare(model, frames))
    assert np.allclose(model.energy_bias, [-50.0 - free[0], -900.0 - free[1]], rtol=0, atol=1e-9)


def test_energy_bias_of_a_single_composition_has_minimum_norm() -> None:
    model = copper_model(elements=("Cu", "Au"))
    atoms = Atoms("CuAu", positions=[[0, 0, 0], [10, 0, 0]])
    before = model.predict(atoms).energy
    shift_energy_bias(model, prepare(model, [LabelledFrame(atoms, Label(-80.0, np.zeros((2, 3))))]))
    assert model.predict(atoms).energy == pytest.approx(-80.0, abs=1e-9)
    assert np.allclose(model.energy_bias, [(-80.0 - before) / 2] * 2, rtol=0, atol=1e-9)


def test_a_warm_start_keeps_the_normalisation_and_a_cold_one_refits_it() -> None:
    model = copper_model()
    train(model, emt_frames(5, seed=1), (), with_options(steps=5))
    before = model.descriptor.dstd.clone()
    dimer = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.2]])
    other = [LabelledFrame(dimer, Label(1.0, np.zeros((2, 3))))]
    train(model, other, (), with_options(steps=1, warm_start=True))
    assert torch.equal(model.descriptor.dstd, before)
    train(model, other, (), with_options(steps=1))
    assert not torch.equal(model.descriptor.dstd, before)


def test_the_best_epoch_in_validation_is_returned() -> None:
    model, valid = copper_model(), emt_frames(4, seed=9)
    # A rate that does not fall makes the last epoch a poor one.
    options = with_options(steps=60, learning_rate=5e-2, stop_lr=5e-2, validate_every=1)
    report = train(model, emt_frames(6, seed=1), valid, options)
    score = [
        options.limit_pref_energy * 4 * (record.valid_energy_rmse or 0) ** 2
        + options.limit_pref_force * (record.valid_force_rmse or 0) ** 2
        for record in report.epochs
    ]
    assert report.best_epoch == 1 + int(np.argmin(score)) < len(score)
    assert evaluate(model, valid).force_rmse == report.epochs[report.best_epoch - 1].valid_force_rmse


def test_divergence_stops_training_and_keeps_the_last_good_weights() -> None:
    model = copper_model(precision="float32")
    seen: list[torch.Tensor] = []
    frames = emt_frames(2, seed=1)
    options = with_options(steps=50, batch_size=2, learning_rate=1e20, stop_lr=1e20)
    with pytest.raises(AlpwError, match=r"training diverged: the loss of step .* Lower learning_rate"):
        train(model, frames, (), options, on_epoch=lambda record: seen.append(weights(model)))
    assert weights(model).isfinite().all()
    assert torch.equal(weights(model), seen[-1] if seen else weights(copper_model(precision="float32")))


def test_steps_may_end_within_an_epoch() -> None:
    report = train(copper_model(), emt_frames(5, seed=1), (), with_options(steps=4, batch_size=2))
    assert [record.step for record in report.epochs] == [3, 4]


def test_the_virial_is_trained_when_it_has_a_prefactor() -> None:
    frames = emt_frames(10, seed=1)
    errors = []
    for prefactor in (0.0, 50.0):
        model = copper_model()
        train(model, frames, (), with_options(start_pref_virial=prefactor, limit_pref_virial=prefactor))
        errors.append(evaluate(model, frames).virial_rmse)
    assert errors[1] < errors[0]


def _broken(**changes: Any) -> LabelledFrame:
    atoms, label = emt_frames(1, seed=0)[0]
    values = {"energy": label.energy, "forces": label.forces, "virial": label.virial, **changes}
    return LabelledFrame(atoms, Label(**values))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (_broken(energy=np.nan), "energy has 1 non-finite"),
        (_broken(forces=np.full((4, 3), np.inf)), "forces has 12 non-finite"),
        (_broken(forces=np.zeros((3, 3))), r"forces has shape \(3, 3\); expected \(4, 3\)"),
        (_broken(forces=None), "the frame has no forces"),
        (_broken(forces="many"), "forces is not an array of numbers"),
        (_broken(virial=np.zeros(6)), r"virial has shape \(6,\); expected \(3, 3\)"),
        (LabelledFrame(Atoms("Pb"), Label(0.0, np.zeros((1, 3)))), "element Pb is not one of the model's Cu"),
        (LabelledFrame(Atoms(), Label(0.0, np.zeros((0, 3)))), "no atoms"),
    ],
)
def test_a_bad_frame_is_named_by_its_index(frame: LabelledFrame, message: str) -> None:
    good = emt_frames(2, seed=1)
    with pytest.raises(InputError, match=rf"^frames\[2\]: .*{message}"):
        train(copper_model(), [*good, frame], (), QUICK)
    with pytest.raises(InputError, match=rf"^valid\[1\]: .*{message}"):
        train(copper_model(), good, [good[0], frame], QUICK)


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(InputError, match="training set is empty"):
        train(copper_model(), [], (), QUICK)
    with pytest.raises(InputError, match="no frame has one"):
        train(copper_model(), [_broken(virial=None)], (), with_options(start_pref_virial=1.0))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("learning_rate", float("nan")),
        ("limit_pref_force", -1.0),
        ("stop_lr", 1.0),
    ],
)
def test_an_impossible_option_is_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(InputError, match=f"^{key}: "):
        TrainingOptions(**{key: value})
