"""The block ``train.optimizer``: Adam, or a Kalman filter, and the weights of what is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from alpw.config.section import Problem, Section, choices, setting

_ADAM = frozenset(
    {
        "learning_rate",
        "stop_lr",
        "start_pre_fac_force",
        "end_pre_fac_force",
        "start_pre_fac_etot",
        "end_pre_fac_etot",
        "start_pre_fac_virial",
        "end_pre_fac_virial",
    }
)
_KALMAN = frozenset(
    {
        "kalman_lambda",
        "kalman_nue",
        "p0_weight",
        "p_precision",
        "nselect",
        "groupsize",
        "scale_by_atoms",
        "pre_fac_force",
        "pre_fac_etot",
        "pre_fac_virial",
    }
)
OPTIMIZER_KEYS: dict[str, frozenset[str]] = {
    "ADAM": _ADAM,
    "ADAMW": _ADAM | {"weight_decay"},
    "LKF": _KALMAN | {"block_size"},
    "GKF": _KALMAN,
}
"""Which keys belong to each optimizer alone; the others belong to all."""


class Optimizer(Section):
    """The optimizer, and how much energies, forces and virials count.

    LKF is the layer-wise Kalman filter with a block-diagonal covariance P of the weights (Hu et al., RLEKF,
    AAAI 2023), GKF the filter with one dense P.
    """

    section: ClassVar[str] = "train.optimizer"

    optimizer: Annotated[Literal["ADAM", "ADAMW", "LKF", "GKF"], choices("ADAM", "ADAMW", "LKF", "GKF")] = (
        setting("ADAM", meaning="Adam, Adam with decaying weights, blocked or dense Kalman filter")
    )
    epochs: int = setting(30, meaning="passes over the training set", ge=1)
    steps: int | None = setting(None, meaning="training steps, instead of epochs", ge=1)
    batch_size: int = setting(1, meaning="frames per step", ge=1)
    patience: int | None = setting(
        None, meaning="stop after this many epochs without a better validation; absent: never", ge=1
    )
    train_energy: bool = setting(True, meaning="train energies")
    train_force: bool = setting(True, meaning="train forces")
    train_virial: bool = setting(
        False, meaning="train virials as well; frames without one are left out of that term"
    )
    learning_rate: float = setting(1e-3, meaning="Adam: learning rate at the start", gt=0, le=1)
    stop_lr: float = setting(3.51e-8, meaning="Adam: learning rate at the end", gt=0)
    weight_decay: float = setting(
        1e-4, meaning="ADAMW: decay of the weights per step and learning rate", ge=0
    )
    start_pre_fac_force: float = setting(1000.0, meaning="Adam: weight of forces at the start", ge=0)
    end_pre_fac_force: float = setting(1.0, meaning="Adam: weight of forces at the end", ge=0)
    start_pre_fac_etot: float = setting(0.02, meaning="Adam: weight of energies at the start", ge=0)
    end_pre_fac_etot: float = setting(1.0, meaning="Adam: weight of energies at the end", ge=0)
    start_pre_fac_virial: float = setting(50.0, meaning="Adam: weight of virials at the start", ge=0)
    end_pre_fac_virial: float = setting(1.0, meaning="Adam: weight of virials at the end", ge=0)
    kalman_lambda: float = setting(0.98, meaning="Kalman: memory factor λ of the first update", gt=0, le=1)
    kalman_nue: float = setting(
        0.9987, meaning="Kalman: each update takes λ to nue λ + (1 - nue)", gt=0, le=1
    )
    block_size: int = setting(5120, meaning="LKF: largest number of weights in a block of P", ge=1)
    p0_weight: float | None = setting(
        None, meaning="Kalman: P starts as this times the unit matrix; absent: LKF 0.01, GKF 1", gt=0, le=1
    )
    p_precision: Annotated[Literal["float64", "float32"], choices("float64", "float32")] = setting(
        "float64", meaning="Kalman: floating point type of P"
    )
    nselect: int = setting(24, meaning="Kalman: atoms drawn for the force updates of a step", ge=1)
    groupsize: int = setting(6, meaning="Kalman: atoms per force update", ge=1)
    scale_by_atoms: bool = setting(
        False, meaning="Kalman: divide force errors by the number of atoms; large frames then count less"
    )
    pre_fac_force: float = setting(2.0, meaning="Kalman: weight of forces", gt=0)
    pre_fac_etot: float = setting(10.0, meaning="Kalman: weight of energies", gt=0)
    pre_fac_virial: float = setting(1.0, meaning="Kalman: weight of virials", gt=0)

    @property
    def is_kalman(self) -> bool:
        return self.optimizer in ("LKF", "GKF")

    def problems(self) -> Iterator[Problem]:
        if self.stop_lr > self.learning_rate and not self.is_kalman:
            yield Problem(("stop_lr",), f"{self.stop_lr} is larger than learning_rate {self.learning_rate}")
        if self.nselect % self.groupsize and self.is_kalman:
            text = f"{self.nselect} is not a multiple of groupsize {self.groupsize}"
            yield Problem(("nselect",), text)
        if not (self.train_energy or self.train_force or self.train_virial):
            yield Problem(("train_energy",), "neither energies nor forces nor virials are trained; train one")

    def remarks(self) -> Iterator[Problem]:
        for key in type(self).model_fields:
            users = [name for name, keys in OPTIMIZER_KEYS.items() if key in keys]
            if key in self.model_fields_set and users and self.optimizer not in users:
                text = f"has no effect: {self.optimizer} does not use it, but {' and '.join(users)}"
                yield Problem((key,), text)
