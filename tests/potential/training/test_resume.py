"""An interrupted training goes on as if nothing had happened, and never from a wrong file."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from alpw.errors import InputError
from alpw.potential import DeepPotential, EpochRecord, TrainingOptions, train
from alpw.potential.training import read_curve
from alpw.structures.frame import LabelledFrame

MakeModel = Callable[..., DeepPotential]
Frames = Callable[..., list[LabelledFrame]]


class Killed(Exception):
    """What ends a job."""


def options(optimizer: str, **changes: Any) -> TrainingOptions:
    values: dict[str, Any] = {
        "optimizer": optimizer,
        "epochs": 7,
        "batch_size": 2,
        "block_size": 200,
        "learning_rate": 1e-2,
        "train_virial": True,
        "checkpoint_every": 2,
        "device": "cpu",
        "threads": 1,
    }
    return TrainingOptions(**{**values, **changes})


def kill_after(epoch: int) -> Callable[[EpochRecord], None]:
    def on_epoch(record: EpochRecord) -> None:
        if record.epoch == epoch:
            raise Killed

    return on_epoch


def state(model: DeepPotential) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def timeless(records: tuple[EpochRecord, ...]) -> list[EpochRecord]:
    return [replace(record, seconds=0.0) for record in records]


@pytest.mark.parametrize("held_out", [True, False], ids=["with validation", "without"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lkf", "gkf"])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(
    copper_model: MakeModel, emt_frames: Frames, tmp_path: Path, optimizer: str, held_out: bool
) -> None:
    frames = emt_frames(6, seed=1, formulas=("Cu4", "Cu8"))
    valid = emt_frames(3, seed=2) if held_out else []
    whole = copper_model()
    expected = train(whole, frames, valid, options=options(optimizer))

    with pytest.raises(Killed):
        train(
            copper_model(),
            frames,
            valid,
            options=options(optimizer),
            directory=tmp_path,
            on_epoch=kill_after(5),
        )
    # The last file is that of epoch 4; epoch 5 is done again.
    assert len(read_curve(tmp_path / "learning_curve.csv")) == 5
    resumed = copper_model()
    found = train(resumed, frames, valid, options=options(optimizer), directory=tmp_path, resume=True)

    assert all(torch.equal(a, b) for a, b in zip(state(resumed), state(whole), strict=True))
    assert timeless(found.epochs) == timeless(expected.epochs)
    assert (found.best_epoch, found.train, found.valid) == (
        expected.best_epoch,
        expected.train,
        expected.valid,
    )
    if optimizer in ("lkf", "gkf"):
        assert found.covariance is not None and expected.covariance is not None
        assert found.covariance.fingerprint == expected.covariance.fingerprint
        factors = zip(found.covariance.factors, expected.covariance.factors, strict=True)
        assert all(torch.equal(a, b) for a, b in factors)
    assert read_curve(tmp_path / "learning_curve.csv") == list(found.epochs)


def test_a_finished_training_is_not_trained_further(
    copper_model: MakeModel, emt_frames: Frames, tmp_path: Path
) -> None:
    frames, valid = emt_frames(4, seed=1), emt_frames(2, seed=2)
    settings = options("lkf", epochs=40, patience=3)
    first, again = copper_model(), copper_model()
    expected = train(first, frames, valid, options=settings, directory=tmp_path)
    assert expected.stopped_early
    before = (tmp_path / "training.pt").read_bytes()
    found = train(again, frames, valid, options=settings, directory=tmp_path, resume=True)
    assert found.epochs == expected.epochs and found.stopped_early
    assert all(torch.equal(a, b) for a, b in zip(state(first), state(again), strict=True))
    assert (tmp_path / "training.pt").read_bytes() == before


def test_a_kalman_training_can_be_made_longer(
    copper_model: MakeModel, emt_frames: Frames, tmp_path: Path
) -> None:
    """Its steps do not depend on how many are to come; Adam's learning rate does."""
    frames = emt_frames(4, seed=1)
    long, model = copper_model(), copper_model()
    train(long, frames, options=options("lkf", epochs=5))
    train(model, frames, options=options("lkf", epochs=3), directory=tmp_path)
    train(model, frames, options=options("lkf", epochs=5), directory=tmp_path, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(state(long), state(model), strict=True))


def test_resuming_where_nothing_is_begins_a_training(
    copper_model: MakeModel, emt_frames: Frames, tmp_path: Path
) -> None:
    model, folder = copper_model(), tmp_path / "run"
    train(model, emt_frames(3, seed=1), options=options("adam", epochs=1), directory=folder, resume=True)
    assert sorted(path.name for path in folder.iterdir()) == ["learning_curve.csv", "training.pt"]


@pytest.fixture
def begun(copper_model: MakeModel, emt_frames: Frames, tmp_path: Path) -> Path:
    """A directory with the files of a training of three epochs."""
    train(copper_model(), emt_frames(3, seed=1), options=options("lkf", epochs=3), directory=tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_of_a_training_are_never_overwritten_by_another(
    copper_model: MakeModel, emt_frames: Frames, begun: Path
) -> None:
    before = contents(begun)
    with pytest.raises(InputError, match=r"training\.pt: there is a training here already; resume it"):
        train(copper_model(), emt_frames(3, seed=1), options=options("lkf", epochs=3), directory=begun)
    assert contents(begun) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "gkf"}, "optimizer: the training was begun with 'lkf', and now finds 'gkf'"),
        ({"kalman_nue": 0.99}, r"kalman_nue: the training was begun with 0\.9987, and now finds 0\.99"),
        ({"seed": 2}, "seed: the training was begun with 1, and now finds 2"),
    ],
)
def test_a_training_with_other_options_is_not_resumed(
    copper_model: MakeModel, emt_frames: Frames, begun: Path, changes: dict[str, Any], message: str
) -> None:
    before = contents(begun)
    with pytest.raises(InputError, match=message):
        train(
            copper_model(),
            emt_frames(3, seed=1),
            options=options(**{"optimizer": "lkf", **changes}),
            directory=begun,
            resume=True,
        )
    assert contents(begun) == before


def test_a_training_of_another_model_or_on_other_frames_is_not_resumed(
    copper_model: MakeModel, emt_frames: Frames, begun: Path
) -> None:
    before = contents(begun)
    same: dict[str, Any] = {"options": options("lkf", epochs=3), "directory": begun, "resume": True}
    with pytest.raises(InputError, match="axis_neuron: the training was begun with 4, and now finds 3"):
        train(copper_model(axis_neuron=3), emt_frames(3, seed=1), **same)
    for frames, valid in ((emt_frames(3, seed=2), []), (emt_frames(3, seed=1), emt_frames(1, seed=1))):
        with pytest.raises(InputError, match="frames: the training was begun with other frames"):
            train(copper_model(), frames, valid, **same)
    assert contents(begun) == before


@pytest.mark.parametrize("keep", [0, 1, 1000, -1])
def test_a_truncated_state_is_refused(
    copper_model: MakeModel, emt_frames: Frames, begun: Path, keep: int
) -> None:
    path = begun / "training.pt"
    path.write_bytes(path.read_bytes()[:keep])
    before, model = contents(begun), copper_model()
    with pytest.raises(InputError, match=r"training\.pt: not a readable training state"):
        train(model, emt_frames(3, seed=1), options=options("lkf", epochs=3), directory=begun, resume=True)
    assert contents(begun) == before
    assert all(torch.equal(a, b) for a, b in zip(state(model), state(copper_model()), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 999}, "version: training state format 999; this code reads 1"),
        ({"format": "alpw-deep-potential"}, "a torch file, but not a training state"),
        ({"options": None}, "not a usable training state: it has no options"),
        ({"records": [{"epoch": 1}]}, "not a usable training state"),
    ],
)
def test_a_foreign_state_is_refused(
    copper_model: MakeModel, emt_frames: Frames, begun: Path, change: dict[str, Any], message: str
) -> None:
    path = begun / "training.pt"
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    before = contents(begun)
    with pytest.raises(InputError, match=message):
        train(
            copper_model(),
            emt_frames(3, seed=1),
            options=options("lkf", epochs=3),
            directory=begun,
            resume=True,
        )
    assert contents(begun) == before


def test_the_learning_curve_is_a_table_that_grows_with_every_epoch(
    copper_model: MakeModel, emt_frames: Frames, tmp_path: Path
) -> None:
    lines: list[int] = []
    path = tmp_path / "learning_curve.csv"

    def count(record: EpochRecord) -> None:
        lines.append(len(path.read_text().splitlines()))

    settings = options("adam", epochs=4, validate_every=2)
    report = train(
        copper_model(),
        emt_frames(3, seed=1),
        emt_frames(2, seed=2),
        options=settings,
        directory=tmp_path,
        on_epoch=count,
    )
    assert lines == [2, 3, 4, 5]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [record.loss for record in report.epochs]
    assert [row["valid_force_rmse"] == "" for row in rows] == [True, False, True, False]
    assert read_curve(path) == list(report.epochs)


def test_a_file_that_is_no_learning_curve_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    with pytest.raises(InputError, match=r"curve\.csv: cannot read the learning curve"):
        read_curve(path)
    for text in ("", "a,b\n1,2\n"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"curve\.csv: not a learning curve"):
            read_curve(path)
