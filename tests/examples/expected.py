"""What each example makes, counted by hand from its input files and the predecessor's rules; not by our code.

| number | how it comes about |
| --- | --- |
| generated | copies per parent, stage by stage: one supercell, its two scales, ``perturb`` copies of each |
| runs | AIMD from the leaves of structure 0 alone; structure 1 has ``aimd`` false |
| frames | VASP: NSW. PWmat: the steps of MD_DETAIL. CP2K and xTB: the steps, and the first structure |
| trajectories | structures of a block times temperatures, summed over the blocks of iteration 0 |
| explored | 1000 steps (xTB 200), one frame in 10, and the first: 101 (21) for each trajectory |
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

RATIO = 0.8
"""``train_valid_ratio`` of every example"""

Stages = dict[str, int]


class Expected(NamedTuple):
    """The numbers of an example."""

    generated: tuple[Stages, Stages]
    """structures by stage, for each start structure"""
    n_atoms: tuple[int, int]
    """of a leaf of each start structure; the second is a supercell of two"""
    runs: int
    frames_per_run: int
    trajectories: int
    explored: int

    @property
    def frames(self) -> int:
        """Labelled frames of all runs."""
        return self.runs * self.frames_per_run


def _generated(copies_0: int, copies_1: int) -> tuple[Stages, Stages]:
    return {"perturb": copies_0}, {"super_cell": 1, "scale": 2, "perturb": 2 * copies_1}


EXPECTED: dict[str, Expected] = {
    "si_vasp": Expected(_generated(5, 3), (64, 128), 5, 5, (2 + 4) * 2, 12 * 101),
    "si_pwmat": Expected(_generated(10, 3), (64, 128), 10, 20, 3 * 2, 6 * 101),
    # One step in 20 of 100 is taken.
    "si_dftb": Expected(_generated(20, 10), (64, 128), 20, 5, 2 * 2, 4 * 101),
    "si_cp2k": Expected(_generated(20, 3), (8, 16), 20, 51, 2 * 2, 4 * 101),
    "si_xtb": Expected(_generated(5, 3), (16, 32), 5, 21, 2 * 2, 4 * 21),
}


def is_split(train: int, valid: int, frames: int) -> bool:
    """Whether the frames are divided as ``RATIO`` says.

    Each frame is drawn by a hash of its own, so that the number of training frames is binomial. Four standard
    deviations are exceeded once in 16,000 times; seeds are fixed, so that one that passes goes on to pass.
    """
    return train + valid == frames and abs(train - RATIO * frames) <= 4 * sqrt(RATIO * (1 - RATIO) * frames)
