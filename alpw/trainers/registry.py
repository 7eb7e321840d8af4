"""Trainers by name."""

from __future__ import annotations

from alpw.errors import InputError
from alpw.trainers.deepmd import DeepmdTrainer
from alpw.trainers.matpl import MatplTrainer
from alpw.trainers.own import OwnTrainer
from alpw.trainers.protocol import Trainer

TRAINERS: dict[str, Trainer] = {
    trainer.name: trainer for trainer in (OwnTrainer(), DeepmdTrainer(), MatplTrainer())
}


def trainer_of(name: str) -> Trainer:
    """The trainer that ``train.trainer`` names.

    Raises:
        InputError: there is none of that name.
    """
    if name not in TRAINERS:
        raise InputError(f"unknown trainer {name!r}; one of {', '.join(TRAINERS)}", key="train.trainer")
    return TRAINERS[name]
