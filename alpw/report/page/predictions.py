"""What the stored models say about stored labels: parity, and uncertainty against true error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray
from pymongo.database import Database

from alpw.database import configurations, models, reading, snapshots
from alpw.database.configurations import Role
from alpw.errors import AlpwError
from alpw.potential import DeepPotential
from alpw.potential.dataset import prepare
from alpw.potential.evaluation import Comparison, compare
from alpw.trainers.registry import trainer_of
from alpw.uncertainty.calibration import Calibration, Source, force_error
from alpw.uncertainty.committee import force_deviation

Floats = NDArray[np.float64]

MOST_FRAMES = 200
"""Frames that models are run on for one figure; a random sample of more looks the same."""


class Unavailable(AlpwError):
    """A figure cannot be made; says why."""


@dataclass(frozen=True)
class Parity:
    """Predictions of one model.

    Attributes:
        comparison: with the labels.
        elements: in the order of the model's types.
        n_frames: held-out frames that there are; the comparison may be of a sample.
    """

    comparison: Comparison
    elements: tuple[str, ...]
    n_frames: int


def parity(db: Database, model: dict[str, Any]) -> Parity | None:
    """A model on the campaign's held-out frames; None if it was trained on one of them.

    Raises:
        Unavailable: there are none, or the model cannot be run here.
    """
    heldout = configurations.ids(db, model["campaign"], Role.VALIDATION)
    if not heldout:
        raise Unavailable("No parity plots: no frame has been held out and labelled yet.")
    if set(heldout) & set(_trained_on(db, model)):
        # The last training may take everything; its error on these frames would say nothing.
        return None
    potential = _load(db, model)
    comparison = _compare(db, potential, sample(heldout))
    return Parity(comparison, tuple(potential.config.elements), len(heldout))


def committee_pairs(
    db: Database, committee: Sequence[dict[str, Any]], frames: list[ObjectId], definition: str
) -> tuple[Floats, Floats]:
    """The deviation of a committee and the true error of its first member, for every atom of some frames.

    Args:
        db: the campaign's database.
        committee: documents of the models, two or more.
        frames: labelled, and not trained on by them.
        definition: of the deviation, ``dpgen`` or ``legacy``.

    Returns:
        ``(n_atoms,)`` each, in eV/Å.

    Raises:
        Unavailable: a model cannot be run here.
    """
    chosen = sample(frames)
    comparisons = [_compare(db, _load(db, model), chosen) for model in committee]
    first = comparisons[0]
    deviation = force_deviation([found.forces for found in comparisons], definition)  # type: ignore[arg-type]
    return deviation, force_error(first.forces, first.force_labels)


def _trained_on(db: Database, model: dict[str, Any]) -> list[ObjectId]:
    training_set = model.get("training_set")
    return snapshots.ids(db, training_set["hash"]) if training_set else []


def sample(frames: list[ObjectId]) -> list[ObjectId]:
    """At most `MOST_FRAMES`, at random, always the same ones."""
    if len(frames) <= MOST_FRAMES:
        return frames
    chosen = np.random.default_rng(1).choice(len(frames), MOST_FRAMES, replace=False)
    return [frames[place] for place in sorted(chosen)]


def uncalibrated(measure: str, uncertainty: Floats) -> Calibration:
    """The map that takes an uncertainty for the error itself."""
    largest = float(uncertainty.max(initial=0))
    return Calibration(
        "isotonic", 0.9, measure, Source(), len(uncertainty), True, (1.0,), (1.0,), 1.0, largest
    )


def _load(db: Database, model: dict[str, Any]) -> DeepPotential:
    if not model.get("weights"):
        raise Unavailable("Left out: the weights of these models are no longer in the database.")
    trainer = models.trainer(model)
    potential = trainer_of(trainer).own_model(models.weights(db, model))
    if potential is None:
        raise Unavailable(f"Left out: models trained by {trainer} are not run for a report.")
    return potential


def _compare(db: Database, potential: DeepPotential, frames: list[ObjectId]) -> Comparison:
    return compare(potential, prepare(potential, list(reading.frames(db, frames))))
