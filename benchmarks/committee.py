"""A committee of four trained in one vectorised pass, against one member trained alone; CPU time per step.

The default network (one element, 26651 weights) on silicon, one frame per step, one thread. Steps of the
committee and of the member alternate, so that both meet the same machine; medians are compared. A ratio of 4
is that of four trainings one after another. A committee differentiates in closed form, and `train` twice by
autograd; a committee of one tells that apart from what the members share. Peak memory is that of a process
that only trains one or four.

For Adam the steps are limited by Python and dispatch for small frames, and by matrix products and memory
traffic for large ones; for the Kalman filter by the memory traffic of the covariances, which no member shares
with another.

python benchmarks/committee.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import labelled, peak_memory, run_python, silicon

from alpw.potential import DeepPotential, DeepPotentialConfig, TrainingOptions
from alpw.potential.dataset import prepare
from alpw.potential.statistics import fit_normalisation, shift_energy_bias
from alpw.potential.training.loop import StepRequest
from alpw.potential.training.stacked_steps import StackedAdam, StackedKalman
from alpw.potential.training.steps import AdamSteps, KalmanSteps

MEMBERS = 4
N_FRAMES = 8
TARGET = 3.0
WARM_UP = 2


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        optimizer: ``adam`` or ``lkf``.
        precision: of the networks.
        cells: cubic cells of eight atoms along each axis.
        steps: to be timed.
        block_size: of the covariance.
    """

    optimizer: str
    precision: str
    cells: tuple[int, int, int]
    steps: int
    block_size: int = 5120

    @property
    def name(self) -> str:
        """For the table."""
        blocks = f", blocks of {self.block_size}" if self.optimizer == "lkf" else ""
        return f"{self.optimizer} {self.precision}, {8 * int(np.prod(self.cells))} atoms{blocks}"


SIZES = ((1, 1, 1), (2, 2, 1), (2, 2, 2), (4, 2, 2))
ADAM = [Case("adam", precision, cells, 40) for precision in ("float64", "float32") for cells in SIZES]
LKF = [Case("lkf", "float64", (2, 2, 2), 4), Case("lkf", "float64", (2, 2, 2), 6, block_size=1024)]


Step = Callable[[int], object]


def steppers(case: Case, sizes: Sequence[int]) -> list[Step]:
    """A step of committees of the given ``sizes``; 0 stands for a member alone."""
    torch.set_num_threads(1)
    frames = labelled(silicon(N_FRAMES, cells=case.cells))  # type: ignore[arg-type]
    config = DeepPotentialConfig(elements=("Si",), precision=case.precision)
    models = [DeepPotential(replace(config, seed=seed)) for seed in range(1, max(1, *sizes) + 1)]
    batches = prepare(models[0], frames)
    for model in models:
        fit_normalisation(model, batches)
        shift_energy_bias(model, batches)
    options = TrainingOptions(optimizer=case.optimizer, block_size=case.block_size)

    def optimizer(model: DeepPotential) -> Any:
        return KalmanSteps(model, options) if options.is_kalman else AdamSteps(model, options, case.steps)

    rng = np.random.default_rng(1)

    def committee(members: list[Any]) -> Step:
        together = StackedKalman(members) if options.is_kalman else StackedAdam(members)
        prepared = [together.potential.frame(batch) for batch in batches]

        def take(step: int) -> object:
            chosen = [np.array([(step + shift) % N_FRAMES]) for shift in range(len(members))]
            requests = [
                StepRequest(member, frame, rng, False, step, False)
                for member, frame in zip(members, chosen, strict=True)
            ]
            return together.step([[prepared[index] for index in frame] for frame in chosen], requests)

        return take

    def alone(member: Any) -> Step:
        return lambda step: member.step(batches[step % N_FRAMES], rng, False)

    own = [[optimizer(copy.deepcopy(model)) for model in models[: max(1, size)]] for size in sizes]
    return [committee(members) if size else alone(*members) for size, members in zip(sizes, own, strict=True)]


def seconds(work: Callable[[int], object], step: int) -> float:
    """CPU time of one step."""
    began = time.process_time()
    work(step)
    return time.process_time() - began


def compare(case: Case) -> dict[str, Any]:
    """Medians of all, and the ratios of the committee's."""
    steps = steppers(case, (0, 1, MEMBERS))
    times = [[seconds(take, step) for take in steps] for step in range(case.steps + WARM_UP)][WARM_UP:]
    one, committee_of_one, four = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "case": case.name,
        "one_member": one,
        "committee_of_one": committee_of_one,
        "committee": four,
        "ratio": four / one,
        "ratio_to_committee_of_one": four / committee_of_one,
    }


def memory(optimizer: str, n_members: int) -> float:
    """Peak memory in GB of a process that trains so many members (0: one alone), in steps of 64 atoms."""
    return float(run_python(Path(__file__), ["--memory", optimizer, str(n_members)])["peak_memory"])


def measure_memory(optimizer: str, n_members: int) -> dict[str, float]:
    """Train for a moment; called in a process of its own."""
    case = Case(optimizer, "float64", (2, 2, 2), 1, block_size=1024)
    (take,) = steppers(case, (n_members,))
    for step in range(3):
        take(step)
    return {"peak_memory": peak_memory()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print(json.dumps(measure_memory(arguments.memory[0], int(arguments.memory[1]))))
        return
    cases = (
        [replace(case, steps=16) for case in ADAM] + [replace(LKF[1], steps=3)]
        if arguments.quick
        else ADAM + LKF
    )
    rows = [compare(case) for case in cases]
    peak = {
        optimizer: {"one_member": memory(optimizer, 0), "committee": memory(optimizer, MEMBERS)}
        for optimizer in ("adam", "lkf")
    }
    typical = [
        row["ratio"]
        for row in rows
        if "adam" in row["case"] and ("32 atoms" in row["case"] or "64 atoms" in row["case"])
    ]
    result = {
        "members": MEMBERS,
        "target_ratio": TARGET,
        "largest_ratio_adam_32_64_atoms": max(typical),
        "rows": rows,
        "peak_memory_GB": peak,
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{'ms per step':36s} {'one member':>12s} {'committee: 1':>13s} {MEMBERS:>8d} {'ratios':>14s}")
    for row in rows:
        one, single, four = (1e3 * row[key] for key in ("one_member", "committee_of_one", "committee"))
        ratios = f"{row['ratio']:7.2f} {row['ratio_to_committee_of_one']:6.2f}"
        print(f"{row['case']:36s} {one:12.2f} {single:13.2f} {four:8.2f} {ratios}")
    for optimizer, found in peak.items():
        print(f"peak memory, {optimizer}: {found['one_member']:.2f} GB and {found['committee']:.2f} GB")
    print(f"Adam, 32 and 64 atoms: at most {max(typical):.2f} (target {TARGET:.0f})")


if __name__ == "__main__":
    main()
