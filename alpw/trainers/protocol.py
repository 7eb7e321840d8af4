"""What every trainer does: train members, hand out their files, and judge them on labelled frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from alpw.codes.lammps_pair.styles import PairStyle
from alpw.config.train import Train
from alpw.potential.covariance import Covariance
from alpw.potential.evaluation import Comparison
from alpw.potential.model import DeepPotential
from alpw.structures.frame import LabelledFrame


@dataclass(frozen=True)
class Compression:
    """Tables in place of the embedding nets.

    Attributes:
        dx: spacing in the scaled s.
        order: of the polynomials.
    """

    dx: float = 0.01
    order: int = 5


@dataclass(frozen=True)
class Start:
    """A model whose weights a member starts from.

    Attributes:
        origin: what the record says about it: the id of a stored model, or a file's path.
        data: a stored model, as `Trained.data`; None if it is a file of the user's.
        file: the user's file.
    """

    origin: Any
    data: bytes | None = None
    file: Path | None = None


@dataclass(frozen=True)
class Member:
    """A member of the committee before its training.

    Attributes:
        index: in the committee.
        seeds: ``weights`` and ``order``.
        start: what it starts from; None for random weights.
    """

    index: int
    seeds: dict[str, int]
    start: Start | None = None


KeepCovariance = Callable[[int, DeepPotential, Covariance | None], dict[str, Any]]
"""Puts the covariance of a member's weights where KPU finds it; returns what the record says about it."""


@dataclass(frozen=True)
class Training:
    """What all members of one training share.

    Attributes:
        section: the block ``train``.
        frames: the training set, not empty.
        valid: held-out frames; empty where nothing is judged by them.
        compression: None for models as they are trained.
        covariance: whether the covariance of a Kalman filter is wanted with the model.
        keep_covariance: what our own trainer does with it; None drops it.
        needs_start: whether a start that cannot be used is an error instead of a start from random weights.
        command: how the trainer is called; our own needs none.
    """

    section: Train
    frames: Sequence[LabelledFrame]
    valid: Sequence[LabelledFrame] = ()
    compression: Compression | None = None
    covariance: bool = False
    keep_covariance: KeepCovariance | None = None
    needs_start: bool = False
    command: str | None = None


@dataclass(frozen=True)
class Trained:
    """A trained member.

    Attributes:
        index: in the committee.
        data: its files in one piece, as the database keeps them; see `Trainer.write_model`.
        record: ``errors``, ``learning_curve``, ``wall_time`` (s), ``warm_start``, ``network``, ... for the
            database.
    """

    index: int
    data: bytes
    record: dict[str, Any] = field(default_factory=dict)


class Trainer(Protocol):
    """One program that trains.

    Attributes:
        name: value of ``train.trainer``.
        needs_command: whether resource.json must say how it is called.
    """

    name: ClassVar[str]
    needs_command: ClassVar[bool]

    def check(self, training: Training) -> None:
        """Raise `InputError` for settings that it cannot follow; ``frames`` are not looked at."""

    def train(self, training: Training, members: Sequence[Member], directory: Path) -> list[Trained]:
        """Train members; goes on with what an interrupted training of the same members left in the folder.

        Args:
            training: what they share.
            members: one or several.
            directory: an existing folder, which is removed when the models are stored.

        Raises:
            InputError: settings or a start that it cannot use.
            CalculationError: no model with finite errors came of it.
        """

    def pair_style(self, command: str | None) -> PairStyle | None:
        """The LAMMPS pair style that explores with its models; None for our own engine.

        Args:
            command: how LAMMPS is called.

        Raises:
            InputError: LAMMPS has none for it.
        """

    def write_model(self, data: bytes, folder: Path, stem: str) -> Path:
        """Write the model that the exploring engine loads, as ``stem`` and its own ending; the file."""

    def own_model(self, data: bytes) -> DeepPotential | None:
        """The model as one of ours, None if it is another program's."""

    def compare(
        self, data: bytes, frames: Sequence[LabelledFrame], directory: Path, command: str | None
    ) -> Comparison:
        """What a model says about labelled frames, in their order.

        Args:
            data: the model, as `Trained.data`.
            frames: not empty.
            directory: an existing folder to work in.
            command: how the trainer is called.
        """
