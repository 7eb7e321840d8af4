"""How to train."""

from __future__ import annotations

import math
from dataclasses import dataclass

from alpw.errors import InputError
from alpw.potential.config import PRECISIONS
from alpw.potential.training.loss import Prefactors

OPTIMIZERS = ("adam", "adamw", "lkf", "gkf")
POSITIVE = (
    *("epochs", "batch_size", "learning_rate", "stop_lr", "validate_every", "checkpoint_every"),
    *("block_size", "atoms_selected", "atoms_per_group"),
)
OPTIONAL = ("steps", "decay_steps", "threads", "patience", "p0_weight")


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; names and defaults follow DeePMD-kit and MatPL.

    Attributes:
        optimizer: ``adam``, ``adamw``, ``lkf`` (Kalman filter with a block-diagonal covariance) or ``gkf``
            (Kalman filter with one dense covariance).
        epochs: passes over the training set.
        steps: number of steps instead; the last epoch may then be a part of one.
        batch_size: frames per step.
        train_energy, train_force, train_virial: which labels are trained on.
        learning_rate, stop_lr: of Adam at the first step and after the last.
        decay_steps: keep the rate constant for so many steps; None lets it fall at every step.
        start_pref_energy, limit_pref_energy, start_pref_force, limit_pref_force, start_pref_virial,
            limit_pref_virial: weights of Adam's loss at the first step and for a vanishing learning rate.
            The limits also judge which epoch is best in validation, for every optimizer.
        weight_decay: of ``adamw``.
        kalman_lambda, kalman_nue: first forgetting factor, and how it approaches 1 with every update:
            1 - λ_t = (1 - λ_0) ν^t.
        block_size: largest number of weights in a block of the covariance, for ``lkf``.
        p0_weight: variance of each weight before the first update; None: 0.01 for ``lkf``, 1 for ``gkf``.
        p_precision: ``float64`` or ``float32``, of the covariance.
        pref_energy, pref_force, pref_virial: weights of the Kalman filter's measurements.
        atoms_selected, atoms_per_group: atoms drawn in each frame per step, and how many of them make one
            force measurement of the Kalman filter.
        scale_by_atoms: divide force measurements by the number of atoms, as DeePMD-kit and MatPL do; it
            makes the filter trust forces the less the larger the frame is.
        patience: stop after so many epochs without a better validation; None never does.
        validate_every: epochs between validations; the last epoch is always validated.
        checkpoint_every: epochs between files to resume from; the last epoch always writes one.
        seed: of the order of the frames and of the atoms that a Kalman filter looks at.
        device: ``cuda``, ``cpu``, ...; None takes CUDA where there is one.
        threads: of the CPU; None leaves torch's setting.
        warm_start: keep the model's normalisation, because its weights are already fitted to it. The
            energy bias is shifted to the training set in any case.

    Raises:
        InputError: a value that is impossible, naming the key.
    """

    optimizer: str = "adam"
    epochs: int = 30
    steps: int | None = None
    batch_size: int = 1
    train_energy: bool = True
    train_force: bool = True
    train_virial: bool = False
    learning_rate: float = 1e-3
    stop_lr: float = 3.51e-8
    decay_steps: int | None = None
    start_pref_energy: float = 0.02
    limit_pref_energy: float = 1.0
    start_pref_force: float = 1000.0
    limit_pref_force: float = 1.0
    start_pref_virial: float = 50.0
    limit_pref_virial: float = 1.0
    weight_decay: float = 1e-3
    kalman_lambda: float = 0.98
    kalman_nue: float = 0.9987
    block_size: int = 5120
    p0_weight: float | None = None
    p_precision: str = "float64"
    pref_energy: float = 10.0
    pref_force: float = 2.0
    pref_virial: float = 1.0
    atoms_selected: int = 24
    atoms_per_group: int = 6
    scale_by_atoms: bool = False
    patience: int | None = None
    validate_every: int = 1
    checkpoint_every: int = 10
    seed: int = 1
    device: str | None = None
    threads: int | None = None
    warm_start: bool = False

    def __post_init__(self) -> None:
        for key in (*POSITIVE, *(key for key in OPTIONAL if getattr(self, key) is not None)):
            if not (getattr(self, key) > 0 and math.isfinite(getattr(self, key))):
                raise InputError(f"found {getattr(self, key)!r}; allowed: a positive number", key=key)
        for key in ("weight_decay", *(key for key in vars(self) if "pref_" in key)):
            if not (getattr(self, key) >= 0 and math.isfinite(getattr(self, key))):
                raise InputError(f"found {getattr(self, key)!r}; allowed: zero or a positive number", key=key)
        for key in ("kalman_lambda", "kalman_nue"):
            if not 0 < getattr(self, key) <= 1:
                raise InputError(f"found {getattr(self, key)!r}; allowed: above 0, at most 1", key=key)
        for key, allowed in (("optimizer", OPTIMIZERS), ("p_precision", tuple(PRECISIONS))):
            if getattr(self, key) not in allowed:
                raise InputError(f"found {getattr(self, key)!r}; allowed: {', '.join(allowed)}", key=key)
        if self.stop_lr > self.learning_rate:
            raise InputError(f"{self.stop_lr} is above learning_rate {self.learning_rate}", key="stop_lr")
        if self.atoms_selected % self.atoms_per_group:
            raise InputError(
                f"found {self.atoms_selected}; allowed: a multiple of atoms_per_group "
                f"({self.atoms_per_group})",
                key="atoms_selected",
            )
        if not (self.train_energy or self.train_force or self.train_virial):
            raise InputError(
                "nothing to train: give train_energy, train_force or train_virial", key="train_force"
            )

    @property
    def is_kalman(self) -> bool:
        return self.optimizer in ("lkf", "gkf")

    @property
    def initial_variance(self) -> float:
        """Of each weight, for a Kalman filter: the defaults of MatPL's LKF and GKF."""
        return self.p0_weight or (0.01 if self.optimizer == "lkf" else 1.0)

    @property
    def start(self) -> Prefactors:
        """Prefactors of the loss at the first step."""
        return self._trained(self.start_pref_energy, self.start_pref_force, self.start_pref_virial)

    @property
    def limit(self) -> Prefactors:
        """Prefactors of the loss for a vanishing learning rate."""
        return self._trained(self.limit_pref_energy, self.limit_pref_force, self.limit_pref_virial)

    def _trained(self, energy: float, force: float, virial: float) -> Prefactors:
        return Prefactors(energy * self.train_energy, force * self.train_force, virial * self.train_virial)
