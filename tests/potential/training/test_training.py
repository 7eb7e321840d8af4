"""Training lowers the error on unseen frames, repeats itself exactly, and fails with a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from ase import Atoms
from torch.utils._python_dispatch import TorchDispatchMode

from alpw.errors import AlpwError, InputError
from alpw.potential import DeepPotential, EpochRecord, TrainingOptions, train
from alpw.potential import test as evaluate
from alpw.potential.dataset import join, prepare
from alpw.potential.training.steps import AdamSteps, KalmanSteps
from alpw.structures.frame import Label, LabelledFrame

MakeModel = Callable[..., DeepPotential]
Frames = Callable[..., list[LabelledFrame]]

ADAM: dict[str, Any] = {
    "steps": 400,
    "batch_size": 2,
    "learning_rate": 1e-2,
    "stop_lr": 1e-4,
    "device": "cpu",
    "threads": 1,
    "validate_every": 5,
}
KALMAN: dict[str, Any] = {
    "optimizer": "lkf",
    "block_size": 300,
    "batch_size": 2,
    "device": "cpu",
    "threads": 1,
}


def adam(**changes: Any) -> TrainingOptions:
    return TrainingOptions(**{**ADAM, **changes})


def kalman(**changes: Any) -> TrainingOptions:
    return TrainingOptions(**{**KALMAN, **changes})


def weights(model: DeepPotential) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()


@pytest.mark.parametrize(
    "options",
    [
        adam(
            train_virial=True,
            start_pref_energy=1.0,
            start_pref_force=100.0,
            limit_pref_force=10.0,
            start_pref_virial=1.0,
        ),
        kalman(epochs=12, train_virial=True),
        kalman(optimizer="gkf", epochs=8, p_precision="float32"),
    ],
    ids=["adam", "lkf", "gkf"],
)
def test_training_lowers_the_error_on_unseen_frames(
    copper_model: MakeModel, lennard_jones_frames: Frames, options: TrainingOptions
) -> None:
    model, frames, unseen = copper_model(), lennard_jones_frames(20, seed=1), lennard_jones_frames(10, seed=2)
    valid = lennard_jones_frames(5, seed=3)
    seen: list[EpochRecord] = []
    before = evaluate(model, unseen)
    report = train(model, frames, valid, options=options, on_epoch=seen.append)
    after = evaluate(model, unseen)
    spread = np.std(np.concatenate([frame.label.forces for frame in unseen]))
    # A model that knows nothing errs by the spread of the labels; a short training reaches about a quarter.
    assert after.force_rmse < 0.4 * min(spread, before.force_rmse)
    assert after.energy_rmse < 0.8 * np.std([frame.label.energy / 8 for frame in unseen])
    assert tuple(seen) == report.epochs
    assert report.valid == evaluate(model, valid)
    assert report.train == evaluate(model, frames)


def test_training_two_elements_in_frames_of_different_sizes(
    copper_model: MakeModel, emt_frames: Frames
) -> None:
    formulas = ("Cu4", "Au4", "Cu3Au", "CuAu3")
    frames = [*emt_frames(28, seed=1, formulas=formulas), *emt_frames(2, seed=3, formulas=("Cu8",))]
    frames.append(LabelledFrame(Atoms("Au"), Label(energy=3.8, forces=np.zeros((1, 3)))))
    unseen = emt_frames(12, seed=2, formulas=formulas)
    spread = np.std(np.concatenate([frame.label.forces for frame in unseen]))
    for options in (adam(steps=300, batch_size=3), kalman(epochs=5, batch_size=3)):
        model = copper_model(elements=("Au", "Cu"))
        train(model, frames, options=options)
        assert evaluate(model, unseen).force_rmse < 0.4 * spread


@pytest.mark.parametrize("options", [adam(steps=25), kalman(epochs=2)], ids=["adam", "lkf"])
def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    copper_model: MakeModel, emt_frames: Frames, options: TrainingOptions
) -> None:
    frames = emt_frames(6, seed=1)
    results = []
    for seed in (1, 1, 2):
        model = copper_model()
        train(model, frames, options=TrainingOptions(**{**vars(options), "seed": seed}))
        results.append(weights(model))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_a_warm_start_keeps_the_normalisation_and_a_cold_one_refits_it(
    copper_model: MakeModel, emt_frames: Frames
) -> None:
    model = copper_model()
    train(model, emt_frames(5, seed=1), options=adam(steps=5))
    before = model.descriptor.dstd.clone()
    dimer = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.2]])
    other = [LabelledFrame(dimer, Label(1.0, np.zeros((2, 3))))]
    train(model, other, options=adam(steps=1, warm_start=True))
    assert torch.equal(model.descriptor.dstd, before)
    train(model, other, options=adam(steps=1))
    assert not torch.equal(model.descriptor.dstd, before)


def test_the_best_epoch_in_validation_is_returned(copper_model: MakeModel, emt_frames: Frames) -> None:
    model, valid = copper_model(), emt_frames(4, seed=9)
    # A rate that does not fall makes the last epoch a poor one.
    options = adam(steps=60, learning_rate=5e-2, stop_lr=5e-2, validate_every=1)
    report = train(model, emt_frames(6, seed=1), valid, options=options)
    score = [
        options.limit_pref_energy * 4 * (record.valid_energy_rmse or 0) ** 2
        + options.limit_pref_force * (record.valid_force_rmse or 0) ** 2
        for record in report.epochs
    ]
    assert report.best_epoch == 1 + int(np.argmin(score)) < len(score)
    assert evaluate(model, valid).force_rmse == report.epochs[report.best_epoch - 1].valid_force_rmse


def test_training_stops_when_validation_does_not_improve(copper_model: MakeModel, emt_frames: Frames) -> None:
    options = adam(steps=None, epochs=200, learning_rate=5e-2, stop_lr=5e-2, validate_every=1, patience=4)
    report = train(copper_model(), emt_frames(6, seed=1), emt_frames(4, seed=9), options=options)
    assert report.stopped_early
    assert len(report.epochs) == report.best_epoch + 4 < 200
    with pytest.raises(InputError, match="patience: early stopping needs held-out frames"):
        train(copper_model(), emt_frames(6, seed=1), options=options)


def test_a_kalman_filter_returns_the_covariance_of_the_weights_it_returns(
    copper_model: MakeModel, emt_frames: Frames
) -> None:
    frames, valid = emt_frames(6, seed=1), emt_frames(4, seed=9)
    model = copper_model()

    def spoil(record: EpochRecord) -> None:
        if record.epoch == 3:
            with torch.no_grad():
                model.fitting[0][-1].w *= 100

    report = train(model, frames, valid, options=kalman(epochs=4), on_epoch=spoil)
    assert report.covariance is not None
    report.covariance.check(model)
    assert report.covariance.kind == "lkf"
    assert report.best_epoch < 4
    # The same weights and the same covariance as if training had ended with the best epoch.
    shorter = copper_model()
    same = train(shorter, frames, valid, options=kalman(epochs=report.best_epoch))
    assert torch.equal(weights(shorter), weights(model))
    assert same.covariance is not None
    for factor, expected in zip(report.covariance.factors, same.covariance.factors, strict=True):
        assert torch.equal(factor, expected)


def test_without_validation_spoiled_last_weights_are_not_returned(
    copper_model: MakeModel, emt_frames: Frames, caplog: pytest.LogCaptureFixture
) -> None:
    frames, model = emt_frames(6, seed=1), copper_model()

    def spoil(record: EpochRecord) -> None:
        if record.epoch == 3:
            with torch.no_grad():
                model.fitting[0][-1].w *= 100

    report = train(model, frames, options=kalman(epochs=4), on_epoch=spoil)
    assert report.best_epoch < 4
    assert report.covariance is None
    assert "training ended spoiled" in caplog.text
    shorter = copper_model()
    same = train(shorter, frames, options=kalman(epochs=report.best_epoch))
    assert torch.equal(weights(shorter), weights(model))
    assert report.train == same.train
    assert same.best_epoch == report.best_epoch
    assert same.covariance is not None


def test_divergence_of_adam_stops_training_and_keeps_the_last_good_weights(
    copper_model: MakeModel, emt_frames: Frames
) -> None:
    model = copper_model(precision="float32")
    seen: list[torch.Tensor] = []
    options = adam(steps=50, batch_size=2, learning_rate=1e20, stop_lr=1e20)
    with pytest.raises(AlpwError, match=r"training diverged in epoch \d+ \(learning rate 1e\+20\): "):
        train(model, emt_frames(2, seed=1), options=options, on_epoch=lambda _: seen.append(weights(model)))
    assert weights(model).isfinite().all()
    assert torch.equal(weights(model), seen[-1] if seen else weights(copper_model(precision="float32")))


def test_divergence_of_a_kalman_filter_stops_training_and_keeps_the_last_good_weights(
    copper_model: MakeModel, emt_frames: Frames
) -> None:
    model, seen = copper_model(), []

    def spoil(record: EpochRecord) -> None:
        seen.append(weights(model))
        if record.epoch == 2:
            with torch.no_grad():
                next(model.parameters()).fill_(torch.nan)

    with pytest.raises(
        AlpwError, match=r"training diverged in epoch 3 \(λ 0\.98\d*\): .* those after epoch 2"
    ):
        train(model, emt_frames(2, seed=1), options=kalman(epochs=5), on_epoch=spoil)
    assert torch.equal(weights(model), seen[1])


def test_a_useless_model_counts_as_divergence_although_it_is_finite(
    copper_model: MakeModel, emt_frames: Frames
) -> None:
    model = copper_model()
    with torch.no_grad():
        model.fitting[0][-1].w *= 1e6
    before = weights(model)
    with pytest.raises(
        AlpwError, match=r"the force error is .* eV/Å\. The model holds its last good weights"
    ):
        train(model, emt_frames(2, seed=1), options=adam(steps=5))
    assert torch.equal(weights(model), before)


def test_steps_may_end_within_an_epoch(copper_model: MakeModel, emt_frames: Frames) -> None:
    report = train(copper_model(), emt_frames(5, seed=1), options=adam(steps=4, batch_size=2))
    assert [record.step for record in report.epochs] == [3, 4]


@pytest.mark.parametrize("options", [adam(steps=150), kalman(epochs=6)], ids=["adam", "lkf"])
def test_the_virial_is_trained_when_asked_for(
    copper_model: MakeModel, emt_frames: Frames, options: TrainingOptions
) -> None:
    frames = emt_frames(6, seed=1)
    # A frame without a virial does not stand in the way of the others.
    frames[3] = LabelledFrame(frames[3].atoms, Label(frames[3].label.energy, frames[3].label.forces))
    errors = []
    for train_virial in (False, True):
        model = copper_model()
        train(model, frames, options=TrainingOptions(**{**vars(options), "train_virial": train_virial}))
        errors.append(evaluate(model, frames).virial_rmse)
    assert errors[1] < errors[0]


def test_only_what_is_asked_for_is_trained(copper_model: MakeModel, emt_frames: Frames) -> None:
    frames = emt_frames(6, seed=1)
    by_energy, by_force = copper_model(), copper_model()
    train(by_energy, frames, options=kalman(epochs=4, train_force=False))
    train(by_force, frames, options=kalman(epochs=4, train_energy=False))
    assert evaluate(by_energy, frames).energy_rmse < evaluate(by_force, frames).energy_rmse
    assert evaluate(by_force, frames).force_rmse < evaluate(by_energy, frames).force_rmse


def _broken(frame: LabelledFrame, **changes: Any) -> LabelledFrame:
    atoms, label = frame
    values = {"energy": label.energy, "forces": label.forces, "virial": label.virial, **changes}
    return LabelledFrame(atoms, Label(**values))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy": np.nan}, "energy has 1 non-finite"),
        ({"forces": np.full((4, 3), np.inf)}, "forces has 12 non-finite"),
        ({"forces": np.zeros((3, 3))}, r"forces has shape \(3, 3\); expected \(4, 3\)"),
        ({"forces": None}, "the frame has no forces"),
        ({"forces": "many"}, "forces is not an array of numbers"),
        ({"virial": np.zeros(6)}, r"virial has shape \(6,\); expected \(3, 3\)"),
        (Atoms("Pb"), "element Pb is not one of the model's Cu"),
        (Atoms(), "no atoms"),
    ],
)
def test_a_bad_frame_is_named_by_its_index_and_nothing_is_written(
    copper_model: MakeModel, emt_frames: Frames, tmp_path: Path, changes: Any, message: str
) -> None:
    good = emt_frames(2, seed=1)
    if isinstance(changes, Atoms):
        bad = LabelledFrame(changes, Label(0.0, np.zeros((len(changes), 3))))
    else:
        bad = _broken(good[0], **changes)
    model = copper_model()
    with pytest.raises(InputError, match=rf"^frames\[2\]: .*{message}"):
        train(model, [*good, bad], options=adam(), directory=tmp_path)
    with pytest.raises(InputError, match=rf"^valid\[1\]: .*{message}"):
        train(model, good, [good[0], bad], options=kalman(), directory=tmp_path)
    assert torch.equal(weights(model), weights(copper_model()))
    assert not list(tmp_path.iterdir())


def test_nothing_to_train_on_is_an_error(copper_model: MakeModel, emt_frames: Frames) -> None:
    with pytest.raises(InputError, match="training set is empty"):
        train(copper_model(), [], options=adam())
    without = [_broken(emt_frames(1, seed=0)[0], virial=None)]
    with pytest.raises(InputError, match=r"train_virial: .* no frame has one"):
        train(copper_model(), without, options=kalman(train_virial=True))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer", "sgd"),
        ("steps", 0),
        ("batch_size", 0),
        ("learning_rate", float("nan")),
        ("limit_pref_force", -1.0),
        ("pref_force", -1.0),
        ("weight_decay", float("inf")),
        ("stop_lr", 1.0),
        ("kalman_lambda", 1.1),
        ("kalman_nue", 0.0),
        ("block_size", 0),
        ("p0_weight", -0.01),
        ("p_precision", "float16"),
        ("atoms_selected", 25),
        ("patience", 0),
    ],
)
def test_an_impossible_option_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{key}: "):
        TrainingOptions(**{key: value})


class _Reading(AssertionError):
    """What waits for a device."""


class _NothingIsRead(TorchDispatchMode):
    """Fails where a number, or the size of an array, is read back from the device."""

    WAITING: ClassVar = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "bincount"}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name.removeprefix("aten::") in self.WAITING:
            raise _Reading(func._schema.name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lkf", "gkf"])
def test_a_step_reads_nothing_back_from_the_device(
    copper_model: MakeModel, emt_frames: Frames, optimizer: str
) -> None:
    model = copper_model(elements=("Cu", "Au"))
    options = TrainingOptions(optimizer=optimizer, train_virial=True, block_size=300)
    steps = KalmanSteps(model, options) if options.is_kalman else AdamSteps(model, options, n_steps=10)
    batch = join(prepare(model, emt_frames(2, seed=1, formulas=("Cu3Au", "Cu8"))))
    rng = np.random.default_rng(0)
    with _NothingIsRead():
        result = steps.step(batch, rng, True)
        steps.step(batch, rng, True)
    with pytest.raises(_Reading), _NothingIsRead():
        result[0].item()
