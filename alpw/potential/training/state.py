"""Where a training stands: what is needed to go on as if it had never stopped, and its file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from alpw.errors import InputError
from alpw.potential.dataset import Batch
from alpw.potential.model import DeepPotential
from alpw.potential.tensor_file import load_tensors, save_tensors
from alpw.potential.training.curve import EpochRecord
from alpw.potential.training.options import TrainingOptions
from alpw.potential.training.steps import Steps

FORMAT, VERSION = "alpw-training-state", 1
STATE_FILE = "training.pt"

# What may differ between the run that wrote a state and the run that goes on from it: what does not change a
# single number, and the length of a training whose steps do not depend on it.
FREE_OPTIONS = ("device", "threads", "checkpoint_every")
FREE_KALMAN_OPTIONS = ("epochs", "steps")


@dataclass
class Best:
    """The weights to return, and those to fall back on."""

    epoch: int = 0
    score: float = math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)
    factors: list[Tensor] = field(default_factory=list)

    def keep(self, epoch: int, score: float, model: DeepPotential, factors: Sequence[Tensor] = ()) -> None:
        """Remember the model as it is now, and the factors of its covariance."""
        self.epoch, self.score = epoch, score
        self.weights = deepcopy(model.state_dict())
        if self.factors:
            for kept, factor in zip(self.factors, factors, strict=True):
                kept.copy_(factor)
        else:
            self.factors = [factor.clone() for factor in factors]


@dataclass
class Progress:
    """A training under way.

    Attributes:
        model, optimizer: as they are after the last step.
        best: the best epoch so far.
        records: of the epochs so far.
        data: `data_digest` of what is trained on.
    """

    model: DeepPotential
    optimizer: Steps
    best: Best
    records: list[EpochRecord]
    data: str

    @property
    def epoch(self) -> int:
        return self.records[-1].epoch if self.records else 0

    @property
    def step(self) -> int:
        return self.records[-1].step if self.records else 0

    @property
    def seconds(self) -> float:
        return self.records[-1].seconds if self.records else 0.0

    def save(self, path: Path, options: TrainingOptions) -> None:
        """Write the state to ``path``; a file there is replaced in one step.

        No generator of random numbers has a state to store: each epoch draws from a new one, seeded with the
        options' seed and its own number.
        """
        content = {
            "options": asdict(options),
            "config": asdict(self.model.config),
            "data": self.data,
            "weights": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": vars(self.best),
            "records": [asdict(record) for record in self.records],
        }
        save_tensors(path, FORMAT, VERSION, content)

    def load(self, path: Path, options: TrainingOptions) -> None:
        """Go on from the state in ``path``.

        Raises:
            InputError: a file that cannot be read, or that belongs to another model, other options or
                other frames; nothing has been changed then.
        """
        content = load_tensors(path, FORMAT, VERSION, device=self.model.device)
        _check_same("options", content.get("options"), _compared(options), path)
        _check_same("config", content.get("config"), asdict(self.model.config), path)
        if content.get("data") != self.data:
            raise InputError(
                "the training was begun with other frames; start it anew elsewhere", path, "frames"
            )
        try:
            records = [EpochRecord(**record) for record in content["records"]]
            best = Best(**content["best"])
            self.model.load_state_dict(content["weights"])
            self.optimizer.load_state_dict(content["optimizer"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"not a usable training state: {error}", path) from error
        self.records, self.best = records, best


def _compared(options: TrainingOptions) -> dict[str, Any]:
    free = FREE_OPTIONS + (FREE_KALMAN_OPTIONS if options.is_kalman else ())
    return {key: value for key, value in asdict(options).items() if key not in free}


def _check_same(what: str, stored: Any, wanted: dict[str, Any], path: Path) -> None:
    if not isinstance(stored, dict):
        raise InputError(f"not a usable training state: it has no {what}", path)
    for key, value in wanted.items():
        if key not in stored or stored[key] != value:
            raise InputError(
                f"the training was begun with {stored.get(key)!r}, and now finds {value!r}; go on with the "
                "old value, or start it anew in another directory",
                path,
                key,
            )


def data_digest(training: Sequence[Batch], validation: Sequence[Batch]) -> str:
    """Sha256 of the frames and their labels, in order."""
    digest = hashlib.sha256()
    for batch in (*training, *validation):
        graph = batch.graph
        for tensor in (graph.numbers, graph.vectors, batch.energy, batch.forces, batch.virial):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    digest.update(f"{len(training)} {len(validation)}".encode())
    return digest.hexdigest()
