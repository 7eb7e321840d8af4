"""Members trained together end as they would alone; `train`, which differentiates twice, is the reference."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from alpw.errors import AlpwError, InputError
from alpw.potential import DeepPotential
from alpw.potential.dataset import prepare
from alpw.potential.training import EpochRecord, TrainingOptions, read_curve, train, train_committee
from alpw.potential.training.shared_rows import shared_rows
from alpw.structures.frame import Label, LabelledFrame

Frames = Callable[..., list[LabelledFrame]]
Model = Callable[..., DeepPotential]

FORMULAS = ("Cu4", "Au4", "Cu3Au", "CuAu7")
OPTIONS = TrainingOptions(
    steps=24, batch_size=2, learning_rate=5e-3, stop_lr=1e-4, seed=11, device="cpu", threads=1
)


def committee(make: Model, number: int = 3, **settings: Any) -> list[DeepPotential]:
    settings = {"elements": ("Cu", "Au"), "type_one_side": False, **settings}
    return [make(seed=seed, **settings) for seed in range(1, number + 1)]


def alone(
    models: list[DeepPotential], frames: list[LabelledFrame], valid: Any, options: TrainingOptions
) -> list[Any]:
    return [
        train(model, frames, valid, options=replace(options, seed=options.seed + index))
        for index, model in enumerate(models)
    ]


def weights(model: DeepPotential) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def largest_difference(models: list[DeepPotential], others: list[DeepPotential]) -> float:
    return max(float((weights(a) - weights(b)).abs().max()) for a, b in zip(models, others, strict=True))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train_virial": True, "batch_size": 3},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "lkf", "block_size": 200, "train_virial": True, "limit_pref_virial": 1.0, "steps": 8},
        {"optimizer": "lkf", "p_precision": "float32", "train_force": False, "steps": 8},
        {"optimizer": "gkf", "batch_size": 1, "steps": 4},
    ],
)
def test_each_member_ends_as_if_trained_alone(
    emt_frames: Frames, copper_model: Model, changes: dict[str, Any]
) -> None:
    frames, valid = emt_frames(7, seed=1, formulas=FORMULAS), emt_frames(3, seed=2, formulas=FORMULAS)
    frames[2] = LabelledFrame(frames[2].atoms, Label(frames[2].label.energy, frames[2].label.forces))
    options = replace(OPTIONS, **changes)
    small = {"neuron": (4, 8), "fitting_neuron": (8, 8)}
    singles, members = committee(copper_model, **small), committee(copper_model, **small)
    before = weights(members[0])
    expected = alone(singles, frames, valid, options)
    found = train_committee(members, frames, valid, options=options)
    # The members' chaos amplifies rounding in P of single precision.
    tolerance = 1e-5 if options.p_precision == "float32" else 1e-9
    assert largest_difference(singles, members) < tolerance
    assert float((weights(members[0]) - before).abs().max()) > 100 * tolerance
    for report, other in zip(found, expected, strict=True):
        assert report.best_epoch == other.best_epoch
        assert report.valid.force_rmse == pytest.approx(other.valid.force_rmse, rel=tolerance)
        losses = [[record.loss for record in r.epochs] for r in (report, other)]
        assert losses[0] == pytest.approx(losses[1], rel=max(tolerance, 1e-9))
        assert (report.covariance is None) == (other.covariance is None)
        if report.covariance and other.covariance:
            for factor, reference in zip(report.covariance.factors, other.covariance.factors, strict=True):
                assert torch.allclose(factor, reference, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "settings",
    [
        {"elements": ("Cu",)},
        {"elements": ("Cu", "Ag", "Au"), "type_one_side": True},
        {"type_embedding": "learned", "tebd_dim": 3},
        {"type_embedding": "learned", "tebd_dim": 3, "type_one_side": True},
        {"type_embedding": "physical"},
        {"activation": "gelu", "embedding_resnet_dt": True, "neuron": (6, 6, 12)},
        {"activation": "softplus", "resnet_dt": False, "fitting_neuron": (8, 16, 5)},
        {"activation": "sigmoid"},
    ],
    ids=str,
)
def test_every_variant_of_the_model(
    emt_frames: Frames, copper_model: Model, settings: dict[str, Any]
) -> None:
    formulas = ("Cu4", "Cu8") if settings.get("elements") == ("Cu",) else FORMULAS
    frames = emt_frames(5, seed=1, formulas=formulas)
    frames.append(LabelledFrame(Atoms("Cu"), Label(0.3, np.zeros((1, 3)))))
    options = replace(OPTIONS, steps=12, train_virial=True)
    singles, members = committee(copper_model, 2, **settings), committee(copper_model, 2, **settings)
    alone(singles, frames, (), options)
    train_committee(members, frames, options=options)
    assert largest_difference(singles, members) < 1e-9


def test_single_precision_agrees_to_its_own_rounding(emt_frames: Frames, copper_model: Model) -> None:
    frames = emt_frames(4, seed=1, formulas=FORMULAS)
    singles, members = (committee(copper_model, 2, precision="float32") for _ in range(2))
    options = replace(OPTIONS, steps=4)
    alone(singles, frames, (), options)
    train_committee(members, frames, options=options)
    assert largest_difference(singles, members) < 1e-4


def test_isolated_atoms_have_nothing_to_embed(copper_model: Model) -> None:
    frames = [LabelledFrame(Atoms("Cu"), Label(energy, np.zeros((1, 3)))) for energy in (0.1, 0.2)]
    singles, members = committee(copper_model, 2), committee(copper_model, 2)
    options = replace(OPTIONS, steps=3, batch_size=1)
    alone(singles, frames, (), options)
    train_committee(members, frames, options=options)
    assert largest_difference(singles, members) < 1e-9


def test_members_stop_early_each_for_itself(emt_frames: Frames, copper_model: Model) -> None:
    frames, valid = emt_frames(4, seed=1), emt_frames(3, seed=9)
    options = replace(OPTIONS, steps=60, learning_rate=5e-2, stop_lr=5e-2, patience=3)
    singles, members = (committee(copper_model, 3, elements=("Cu",)) for _ in range(2))
    expected = alone(singles, frames, valid, options)
    found = train_committee(members, frames, valid, options=options)
    assert [len(report.epochs) for report in found] == [len(report.epochs) for report in expected]
    assert len({len(report.epochs) for report in found}) > 1
    assert largest_difference(singles, members) < 1e-9


class _Interrupted(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["adam", "lkf"])
def test_a_resumed_committee_equals_an_uninterrupted_one(
    emt_frames: Frames, copper_model: Model, tmp_path: Path, optimizer: str
) -> None:
    frames, valid = emt_frames(4, seed=1, formulas=FORMULAS), emt_frames(2, seed=3, formulas=FORMULAS)
    options = replace(OPTIONS, steps=10, optimizer=optimizer, checkpoint_every=1, block_size=300)

    def stop(member: int, record: EpochRecord) -> None:
        # The first member has been saved after this epoch, the last one has not.
        if (member, record.epoch) == (1, 3):
            raise _Interrupted

    whole, resumed = committee(copper_model), committee(copper_model)
    train_committee(whole, frames, valid, options=options)
    with pytest.raises(_Interrupted):
        train_committee(resumed, frames, valid, options=options, directory=tmp_path, on_epoch=stop)
    assert [len(read_curve(tmp_path / f"member_{m}" / "learning_curve.csv")) for m in range(3)] == [3, 3, 2]
    resumed = committee(copper_model)
    with pytest.raises(InputError, match="there is a training here already"):
        train_committee(resumed, frames, valid, options=options, directory=tmp_path)
    reports = train_committee(resumed, frames, valid, options=options, directory=tmp_path, resume=True)
    assert largest_difference(whole, resumed) < 1e-12
    assert [len(report.epochs) for report in reports] == [5, 5, 5]


def test_a_member_of_a_committee_can_be_resumed_alone(
    emt_frames: Frames, copper_model: Model, tmp_path: Path
) -> None:
    frames = emt_frames(4, seed=1, formulas=FORMULAS)
    options = replace(OPTIONS, steps=6, checkpoint_every=1)
    whole, members = committee(copper_model), committee(copper_model)
    train_committee(whole, frames, options=options)

    def stop(member: int, record: EpochRecord) -> None:
        if (member, record.epoch) == (2, 2):
            raise _Interrupted

    with pytest.raises(_Interrupted):
        train_committee(members, frames, options=options, directory=tmp_path, on_epoch=stop)
    single = committee(copper_model)[1]
    train(single, frames, options=replace(options, seed=12), directory=tmp_path / "member_1", resume=True)
    assert largest_difference([single], [whole[1]]) < 1e-9


def test_divergence_names_the_member_and_keeps_the_last_good_weights(
    emt_frames: Frames, copper_model: Model
) -> None:
    members = committee(copper_model)
    with torch.no_grad():
        list(members[1].fitting[0].parameters())[-2].mul_(1e6)
    before = [weights(model) for model in members]
    with pytest.raises(AlpwError, match=r"^member 1: training diverged in epoch 1 .* the initial ones"):
        train_committee(members, emt_frames(4, seed=1, formulas=FORMULAS), options=OPTIONS)
    assert torch.equal(weights(members[1]), before[1])
    assert all(weights(model).isfinite().all() for model in members)


def test_numbers_that_are_not_finite_stop_all_members(emt_frames: Frames, copper_model: Model) -> None:
    members = committee(copper_model)
    options = replace(OPTIONS, learning_rate=1e150, stop_lr=1e150, batch_size=4)
    with pytest.raises(AlpwError, match=r"^member \d: training diverged"):
        train_committee(members, emt_frames(4, seed=1, formulas=FORMULAS), options=options)
    assert all(weights(model).isfinite().all() for model in members)


def test_options_for_all_give_each_member_its_own_order(emt_frames: Frames, copper_model: Model) -> None:
    frames = emt_frames(6, seed=1, formulas=FORMULAS)
    each, common = committee(copper_model), committee(copper_model)
    train_committee(each, frames, options=[replace(OPTIONS, seed=seed) for seed in (11, 12, 13)])
    train_committee(common, frames, options=OPTIONS)
    assert largest_difference(each, common) == 0.0


def test_one_member_is_a_committee_too(emt_frames: Frames, copper_model: Model) -> None:
    frames = emt_frames(4, seed=1, formulas=FORMULAS)
    (single,), (member,) = committee(copper_model, 1), committee(copper_model, 1)
    train(single, frames, options=OPTIONS)
    (report,) = train_committee([member], frames, options=OPTIONS)
    assert largest_difference([single], [member]) < 1e-9
    assert report.epochs[-1].step == OPTIONS.steps


def test_members_that_would_end_as_one_are_refused(
    emt_frames: Frames, copper_model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    frames = emt_frames(2, seed=1)
    twins = [copper_model(), copper_model(), copper_model(seed=6)]
    with pytest.raises(InputError, match=r"^seed: members 0 and 1 have the same weights and the seed 11"):
        train_committee(twins, frames, options=[OPTIONS] * 3)
    with caplog.at_level(logging.WARNING):
        train_committee(twins, frames, options=replace(OPTIONS, steps=1))
    assert "members 0 and 1 start from the same weights" in caplog.text


def test_members_of_another_architecture_are_refused(emt_frames: Frames, copper_model: Model) -> None:
    frames = emt_frames(2, seed=1)
    with pytest.raises(InputError, match=r"^neuron: member 1 has \(8,\), member 0 has \(8, 16\)"):
        train_committee([copper_model(), copper_model(neuron=(8,), seed=6)], frames, options=OPTIONS)
    with pytest.raises(InputError, match=r"^models: a committee needs at least one model"):
        train_committee([], frames, options=OPTIONS)


def test_options_that_differ_in_more_than_the_seed_are_refused(
    emt_frames: Frames, copper_model: Model
) -> None:
    models, frames = committee(copper_model, 2), emt_frames(2, seed=1)
    with pytest.raises(InputError, match=r"^batch_size: member 1 has 5, member 0 has 2"):
        train_committee(models, frames, options=[OPTIONS, replace(OPTIONS, batch_size=5)])
    with pytest.raises(InputError, match=r"^options: found options of 3 members; there are 2 models"):
        train_committee(models, frames, options=[OPTIONS] * 3)
    with pytest.raises(InputError, match=r"^frames: the training set is empty"):
        train_committee(models, [], options=OPTIONS)


def test_pairs_of_like_atoms_share_a_row_of_the_embedding_net(
    emt_frames: Frames, copper_model: Model
) -> None:
    model = committee(copper_model, 1)[0]
    for batch in prepare(model, emt_frames(4, seed=1, formulas=FORMULAS)):
        environment = batch.environment
        graph, types = environment.graph, environment.types
        rows = shared_rows(environment, n_nets=4)
        first, second = torch.cat(rows.first), torch.cat(rows.second)
        like = types[graph.i] == types[graph.j]
        assert len(first) == int(like.sum()) // 2 + int((~like).sum())
        assert sorted([*first.tolist(), *second[second >= 0].tolist()]) == list(range(len(graph.i)))
        there, back = first[second >= 0], second[second >= 0]
        assert torch.equal(graph.i[there], graph.j[back])
        assert torch.equal(graph.j[there], graph.i[back])
        assert torch.allclose(graph.vectors[there], -graph.vectors[back], rtol=0, atol=1e-9)
