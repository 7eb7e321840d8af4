"""A training step of the Kalman filter against deepmd-kit's (PyTorch backend), in one run on the same data.

Both start from the same weights and statistics of the default network (one element, 26651 weights, blocks
of 5120) and see the same frames of 64 silicon atoms in the same order, and the same atoms of each. With
deepmd-kit's settings (P = 1 at first, all measurements divided by the number of atoms) they end with the
same weights, which is checked. Each runs in a process of its own with one thread. Printed are ratios of CPU
time, deepmd-kit's over ours: of the optimizer alone (from gradients to new weights and a new covariance),
and of the whole step (one energy and four force measurements with their gradients; deepmd-kit also finds
neighbours in it, we did that once). Then P in float32 against float64, with our settings: error on held-out
frames after the same number of steps.

python benchmarks/lkf_step.py [--quick] [--json] [--deepmd-python PYTHON]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from common import DEEPMD_PYTHON, labelled, peak_memory, run_python, silicon

from alpw.potential import DeepPotential, DeepPotentialConfig, TrainingOptions
from alpw.potential.dataset import prepare
from alpw.potential.evaluation import errors
from alpw.potential.interchange.deepmd_bridge import dump
from alpw.potential.interchange.deepmd_export import to_deepmd
from alpw.potential.statistics import fit_normalisation, shift_energy_bias
from alpw.potential.training.steps import KalmanSteps
from alpw.potential.weights import to_vector
from alpw.structures.frame import Label, LabelledFrame

HELD_OUT = 10
TARGET = 10.0


def options(p_precision: str, like_deepmd: bool) -> TrainingOptions:
    """Our defaults, or deepmd-kit's settings."""
    theirs = {"p0_weight": 1.0, "pref_energy": 1.0, "pref_force": 1.0, "scale_by_atoms": True}
    return TrainingOptions(optimizer="lkf", p_precision=p_precision, **(theirs if like_deepmd else {}))


class GivenDraws:
    """Stands for a random generator, and gives what deepmd-kit is given too."""

    def __init__(self, draws: np.ndarray) -> None:
        self.draws = iter(draws)

    def random(self, shape: tuple[int, int]) -> np.ndarray:
        """The next step's draws."""
        return next(self.draws)


def frames_of(folder: Path) -> list[LabelledFrame]:
    """The frames in ``frames.npz``."""
    data = np.load(folder / "frames.npz")
    return [
        LabelledFrame(
            Atoms(f"Si{len(positions)}", positions=positions, cell=cell, pbc=True),
            Label(float(energy), forces),
        )
        for positions, cell, energy, forces in zip(
            data["positions"], data["cells"], data["energies"], data["forces"], strict=True
        )
    ]


def timed(work: Callable[..., None], seconds: list[float]) -> Callable[..., None]:
    """``work``, with the CPU time of each call appended to ``seconds``."""

    def call(*arguments: Any) -> None:
        began = time.process_time()
        work(*arguments)
        seconds.append(time.process_time() - began)

    return call


def run_ours(folder: Path, p_precision: str, n_steps: int, like_deepmd: bool) -> dict[str, Any]:
    """Train, and measure the error on the held-out frames; in a process of its own."""
    torch.set_num_threads(1)
    model = DeepPotential.load(folder / "model.pt")
    frames = frames_of(folder)
    batches = prepare(model, frames[:-HELD_OUT])
    steps = KalmanSteps(model, options(p_precision, like_deepmd))
    updates: list[float] = []
    # Collected updates are multiplied in at the end of a step; that belongs to the optimizer.
    steps.assimilate = timed(steps.assimilate, updates)  # type: ignore[method-assign]
    steps.filter.settle = timed(steps.filter.settle, updates)  # type: ignore[method-assign]
    rng: Any = GivenDraws(np.load(folder / "frames.npz")["draws"])
    seconds = []
    for step in range(n_steps):
        began = time.process_time()
        steps.step(batches[step % len(batches)], rng, False)
        seconds.append(time.process_time() - began)
    np.save(folder / "weights.npy", to_vector(list(model.parameters())).detach())
    return {
        "step": float(np.median(seconds)),
        "optimizer": sum(updates) / n_steps,
        "force_rmse": errors(model, prepare(model, frames[-HELD_OUT:])).force_rmse,
        "peak_memory": peak_memory(),
    }


def write_task(folder: Path, n_long: int) -> None:
    """Frames, draws, and the model before training, in both programs' formats."""
    frames = labelled(silicon(min(n_long, 40) + HELD_OUT, cells=2))
    model = DeepPotential(DeepPotentialConfig(elements=("Si",), seed=1))
    batches = prepare(model, frames)
    fit_normalisation(model, batches)
    shift_energy_bias(model, batches)
    model.save(folder / "model.pt")
    (folder / "model.json").write_text(dump(to_deepmd(model)))
    settings = options("float64", like_deepmd=True)
    n_groups = settings.atoms_selected // settings.atoms_per_group
    draws = np.random.default_rng(1).random((n_long, n_groups, settings.atoms_per_group))
    np.savez(
        folder / "frames.npz",
        positions=[frame.atoms.positions for frame in frames],
        cells=[frame.atoms.cell.array for frame in frames],
        energies=[frame.label.energy for frame in frames],
        forces=[frame.label.forces for frame in frames],
        draws=draws,
        atoms=(draws * len(frames[0].atoms)).astype(int),
    )
    settings_of_both = {
        "block_size": settings.block_size,
        "atoms_selected": settings.atoms_selected,
        "atoms_per_group": settings.atoms_per_group,
        "held_out": HELD_OUT,
    }
    (folder / "settings.json").write_text(json.dumps(settings_of_both))


def compare(n_common: int, n_long: int, deepmd_python: Path) -> dict[str, Any]:
    """All runs, one after the other."""
    here = Path(__file__).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_task(folder, n_long)

        def ours(precision: str, n_steps: int, *more: str) -> dict[str, Any]:
            return run_python(
                here, ["--ours", name, "--precision", precision, "--steps", str(n_steps), *more]
            )

        deepmd = run_python(
            here.with_name("deepmd_lkf.py"), [name, str(n_common)], python=deepmd_python, timeout=7200
        )
        same = ours("float64", n_common, "--like-deepmd")
        first = to_vector(list(DeepPotential.load(folder / "model.pt").parameters())).detach().numpy()
        theirs, found = np.load(folder / "deepmd_weights.npy"), np.load(folder / "weights.npy")
        runs = {precision: ours(precision, n_long) for precision in ("float64", "float32")}
    result: dict[str, Any] = {
        "common_steps": n_common,
        "weights_difference": float(np.linalg.norm(found - theirs) / np.linalg.norm(theirs - first)),
        "force_rmse_difference": abs(same["force_rmse"] - deepmd["force_rmse"]),
        "deepmd_step_seconds": deepmd["step"],
        "deepmd_optimizer_seconds": deepmd["optimizer"],
        "deepmd_peak_memory_gb": deepmd["peak_memory"],
        "steps": n_long,
    }
    for precision, run in runs.items():
        result |= {
            f"{precision}_optimizer_ratio": deepmd["optimizer"] / run["optimizer"],
            f"{precision}_step_ratio": deepmd["step"] / run["step"],
            f"{precision}_step_seconds": run["step"],
            f"{precision}_optimizer_seconds": run["optimizer"],
            f"{precision}_peak_memory_gb": run["peak_memory"],
            f"{precision}_force_rmse": run["force_rmse"],
        }
    return {**result, "target": TARGET, "target_met": result["float64_step_ratio"] >= TARGET}


def report(result: dict[str, Any]) -> str:
    """The table."""
    lines = [
        f"after {result['common_steps']} steps with deepmd-kit's settings, weights differ by "
        f"{result['weights_difference']:.1e} of their change",
        f"{'':16}{'optimizer':>12}{'step':>10}{'ratio':>8}{'ratio':>8}{'memory':>9}   force RMSE",
        f"{'':16}{'CPU s':>12}{'CPU s':>10}{'opt.':>8}{'step':>8}{'GB':>9}   {result['steps']} steps, eV/Å",
        f"{'deepmd-kit':16}{result['deepmd_optimizer_seconds']:12.2f}{result['deepmd_step_seconds']:10.2f}"
        f"{'':16}{result['deepmd_peak_memory_gb']:9.2f}",
    ]
    for name in ("float64", "float32"):
        lines.append(
            f"{'P in ' + name:16}{result[f'{name}_optimizer_seconds']:12.2f}"
            f"{result[f'{name}_step_seconds']:10.2f}"
            f"{result[f'{name}_optimizer_ratio']:8.1f}{result[f'{name}_step_ratio']:8.1f}"
            f"{result[f'{name}_peak_memory_gb']:9.2f}{result[f'{name}_force_rmse']:13.4f}"
        )
    lines.append(
        f"target for the step: {result['target']:.0f}, {'met' if result['target_met'] else 'NOT met'}"
    )
    return "\n".join(lines)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--deepmd-python", type=Path, default=DEEPMD_PYTHON)
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--like-deepmd", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        found = run_ours(arguments.ours, arguments.precision, arguments.steps, arguments.like_deepmd)
        print(json.dumps(found))
        return
    n_common, n_long = (2, 4) if arguments.quick else (5, 60)
    result = compare(n_common, n_long, arguments.deepmd_python)
    print(json.dumps(result) if arguments.json else report(result))


if __name__ == "__main__":
    sys.exit(main())
