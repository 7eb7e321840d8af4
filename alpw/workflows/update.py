"""Changed inputs of a campaign that there is already, and what of it they change."""

from __future__ import annotations

from typing import Any

from fireworks import LaunchPad
from pymongo.database import Database

from alpw.config.dft import Dft
from alpw.config.param import Param
from alpw.config.resource import Resource
from alpw.database import campaigns, iterations, models, trajectories
from alpw.database.launchpad import database
from alpw.errors import InputError
from alpw.workflows.first_data import freeze_data, import_data
from alpw.workflows.launch import (
    check_place,
    frozen,
    inputs_document,
    inputs_of,
    replan,
    training_set,
)
from alpw.workflows.rerun import Stage, refresh_selection, undo
from alpw.workflows.stages import allowed_iterations

NO_LEVEL = frozenset({"max_force", "max_silence", "reuse_labels", "reuse_wavefunctions", "allow_physics"})
"""Keys of ``dft`` that decide how a label is come by and whether it is taken, and not what it says."""

MODEL_SETTINGS = ("uncertainty", "model_num", "kpu_draws", "compress", "compress_order", "compress_dx")
"""Keys of ``strategy`` that a trained model depends on, besides the block ``train`` and the seed."""


def same_level(old: Dft, new: Dft) -> bool:
    """Whether labels of two blocks ``dft`` go together."""
    return old.model_dump(exclude=set(NO_LEVEL)) == new.model_dump(exclude=set(NO_LEVEL))


def trains_alike(old: Param, new: Param) -> bool:
    """Whether two campaigns would train the same models on the same frames."""
    settings = (getattr(old.strategy, key) == getattr(new.strategy, key) for key in MODEL_SETTINGS)
    return old.train == new.train and old.seed == new.seed and all(settings)


def update_inputs(launchpad: LaunchPad, param: Param, resource: Resource) -> None:
    """Let a campaign use changed inputs from its next iteration on; labels and models stay.

    Labelled frames that are named for the first time are imported. A campaign that has ended goes on when the
    new inputs allow more iterations than it has done; one that has stalled uses them at once.

    Raises:
        InputError: another folder, another level of theory, another first data set, or nothing left to do.
    """
    db = database(launchpad)
    name = param.campaign
    campaign = campaigns.get(db, name)
    check_place(campaign, param)
    old, _ = inputs_of(campaign)
    if not same_level(old.dft, param.dft):
        text = "another level of theory needs another campaign: its labels do not go with those there are"
        raise InputError(text, param.file, "dft")
    if old.initial != param.initial:
        text = "the first data set is made already; another one needs another campaign"
        raise InputError(text, param.file, "initial")
    ended = campaign["state"] in campaigns.ENDED_STATES
    newest = iterations.latest(db, name)
    limit = allowed_iterations(param)
    if ended and newest and limit <= newest["index"]:
        raise InputError(
            f"campaign '{name}' ended after {newest['index']} iterations; allow more to extend it",
            param.file,
            "strategy.max_iterations",
        )
    stored = freeze_data(db, param)
    import_data(db, param, stored)
    campaigns.update(db, name, **inputs_document(db, param, resource), stored_data=stored)
    if ended and newest:
        _extend(db, name, newest)
    elif newest and campaign["state"] == campaigns.CampaignState.STALLED.value:
        _try_otherwise(launchpad, name, newest)


def _try_otherwise(launchpad: LaunchPad, name: str, iteration: dict[str, Any]) -> None:
    """Let an iteration that stalled use the campaign's present inputs, as far as they still count for it."""
    db, index = database(launchpad), iteration["index"]
    explores = iteration["kind"] == "explore"
    if explores and not any(run["n_frames"] for run in trajectories.without_frames(db, name, index)):
        undo(launchpad, name, index, Stage.EXPLORE)
        campaigns.reopen(db, name)
        return
    iterations.update(db, name, index, inputs=frozen(campaigns.get(db, name)))
    if explores:
        refresh_selection(db, name, index, replan(db, name, index)["plan"])


def _extend(db: Database, name: str, final: dict[str, Any]) -> None:
    """Turn the final training of an ended campaign into the first step of one more iteration.

    Models that were trained on held-out frames are put aside: everything that descends from them would know
    those frames. So are those of another network, training or committee than is wanted now.
    """
    campaign, index = campaigns.get(db, name), final["index"]
    document = replan(db, name, index)
    if final.get("everything") or not trains_alike(inputs_of(final["inputs"])[0], inputs_of(campaign)[0]):
        models.put_aside(db, name, index)
        document |= training_set(db, campaign, index) | {"everything": False, "health": None}
    again: dict[str, Any] = {"stage": "planned", "workflow": None, "model_file": None, "hooks": {}}
    iterations.update(db, name, index, **document, **again)
    campaigns.reopen(db, name)
