"""A training step of the Kalman filter against deepmd-kit's (PyTorch backend), in one run on the same data.

Both start from the same weights and statistics of the default network (one element, 26651 weights), see the
same frames of 64 silicon atoms in the same order and the same atoms of each, with deepmd-kit's settings
(P = 1 at first, all measurements divided by the number of atoms), so that they end with the same weights.
Each runs in a process of its own with one thread. Printed are ratios of CPU time, deepmd-kit's over ours: of
the optimizer alone (from gradients to new weights and a new covariance), and of the whole step (one energy
and four force measurements with their gradients; deepmd-kit also finds neighbours in it, we did that once).
Then the same with P in float32: the error on held-out frames after the same number of steps.

python benchmarks/lkf_step.py [--quick] [--json] [--deepmd-python PYTHON]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import DEEPMD_PYTHON, labelled, peak_memory, run_python, silicon

from alpw.potential import DeepPotential, DeepPotentialConfig, TrainingOptions
from alpw.potential.dataset import prepare
from alpw.potential.evaluation import errors
from alpw.potential.interchange.deepmd_bridge import dump
from alpw.potential.interchange.deepmd_export import to_deepmd
from alpw.potential.statistics import fit_normalisation, shift_energy_bias
from alpw.potential.training.steps import KalmanSteps
from alpw.potential.weights import to_vector
from alpw.structures.frame import LabelledFrame

HELD_OUT = 10
TARGET = 10.0


def options(p_precision: str) -> TrainingOptions:
    """deepmd-kit's settings."""
    return TrainingOptions(
        optimizer="lkf",
        block_size=5120,
        p0_weight=1.0,
        pref_energy=1.0,
        pref_force=1.0,
        scale_by_atoms=True,
        p_precision=p_precision,
    )


class GivenDraws:
    """Stands for a random generator, and gives what deepmd-kit is given too."""

    def __init__(self, draws: np.ndarray) -> None:
        self.draws = iter(draws)

    def random(self, shape: tuple[int, int]) -> np.ndarray:
        """The next step's draws."""
        return next(self.draws)


def frames_of(folder: Path) -> list[LabelledFrame]:
    """The frames in ``frames.npz``."""
    from ase import Atoms

    from alpw.structures.frame import Label

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


def run_ours(folder: Path, p_precision: str, marks: Sequence[int]) -> dict[str, Any]:
    """Train, and measure the held-out error after each of ``marks`` steps; in a process of its own."""
    torch.set_num_threads(1)
    model = DeepPotential.load(folder / "model.pt")
    frames = frames_of(folder)
    batches = prepare(model, frames[:-HELD_OUT])
    held_out = prepare(model, frames[-HELD_OUT:])
    steps = KalmanSteps(model, options(p_precision))
    updates: list[float] = []
    steps.assimilate = timed(steps.assimilate, updates)  # type: ignore[method-assign]
    rng: Any = GivenDraws(np.load(folder / "frames.npz")["draws"])
    seconds, rmse = [], {}
    for step in range(max(marks)):
        began = time.process_time()
        steps.step(batches[step % len(batches)], rng, False)
        seconds.append(time.process_time() - began)
        if step + 1 in marks:
            rmse[step + 1] = errors(model, held_out).force_rmse
            np.save(folder / f"{p_precision}_{step + 1}.npy", to_vector(list(model.parameters())).detach())
    return {
        "step": float(np.median(seconds)),
        "optimizer": sum(updates) / len(seconds),
        "force_rmse": rmse,
        "peak_memory": peak_memory(),
    }


def write_task(folder: Path, n_common: int, n_long: int) -> None:
    """Frames, draws, and the model before training, in both programs' formats."""
    frames = labelled(silicon(min(n_long, 40) + HELD_OUT, cells=2))
    model = DeepPotential(DeepPotentialConfig(elements=("Si",), seed=1))
    batches = prepare(model, frames)
    fit_normalisation(model, batches)
    shift_energy_bias(model, batches)
    model.save(folder / "model.pt")
    (folder / "model.json").write_text(dump(to_deepmd(model)))
    settings = options("float64")
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
        write_task(folder, n_common, n_long)
        deepmd = run_python(
            here.with_name("deepmd_lkf.py"), [name, str(n_common)], python=deepmd_python, timeout=7200
        )
        ours = {
            precision: run_python(
                here, ["--ours", name, "--precision", precision, "--marks", f"{n_common},{n_long}"]
            )
            for precision in ("float64", "float32")
        }
        theirs = np.load(folder / "deepmd_weights.npy")
        same = np.load(folder / f"float64_{n_common}.npy")
        first = to_vector(list(DeepPotential.load(folder / "model.pt").parameters())).detach().numpy()
    result: dict[str, Any] = {
        "steps": n_common,
        "weights_difference": float(np.linalg.norm(same - theirs) / np.linalg.norm(theirs - first)),
        "deepmd_step_seconds": deepmd["step"],
        "deepmd_optimizer_seconds": deepmd["optimizer"],
        "deepmd_peak_memory_gb": deepmd["peak_memory"],
        "deepmd_force_rmse": deepmd["force_rmse"],
        "long_steps": n_long,
    }
    for precision, found in ours.items():
        result |= {
            f"{precision}_optimizer_ratio": deepmd["optimizer"] / found["optimizer"],
            f"{precision}_step_ratio": deepmd["step"] / found["step"],
            f"{precision}_step_seconds": found["step"],
            f"{precision}_optimizer_seconds": found["optimizer"],
            f"{precision}_peak_memory_gb": found["peak_memory"],
            f"{precision}_force_rmse": found["force_rmse"][str(n_common)],
            f"{precision}_long_force_rmse": found["force_rmse"][str(n_long)],
        }
    return {**result, "target": TARGET, "target_met": result["float64_step_ratio"] >= TARGET}


def report(result: dict[str, Any]) -> str:
    """The table."""
    lines = [
        f"{result['steps']} steps, difference of the weights relative to their change: "
        f"{result['weights_difference']:.1e}",
        f"{'':12}{'optimizer':>12}{'step':>10}{'ratio':>8}{'ratio':>8}{'memory':>9}   force RMSE after",
        f"{'':12}{'CPU s':>12}{'CPU s':>10}{'opt.':>8}{'step':>8}{'GB':>9}"
        f"{result['steps']:>7} steps{result['long_steps']:>7} steps",
        f"{'deepmd-kit':12}{result['deepmd_optimizer_seconds']:12.2f}{result['deepmd_step_seconds']:10.2f}"
        f"{'':16}{result['deepmd_peak_memory_gb']:9.2f}{result['deepmd_force_rmse']:13.3f}",
    ]
    for name in ("float64", "float32"):
        lines.append(
            f"{'P in ' + name:12}{result[f'{name}_optimizer_seconds']:12.2f}"
            f"{result[f'{name}_step_seconds']:10.2f}"
            f"{result[f'{name}_optimizer_ratio']:8.1f}{result[f'{name}_step_ratio']:8.1f}"
            f"{result[f'{name}_peak_memory_gb']:9.2f}{result[f'{name}_force_rmse']:13.3f}"
            f"{result[f'{name}_long_force_rmse']:13.3f}"
        )
    lines.append(f"target: {result['target']:.0f}, {'met' if result['target_met'] else 'NOT met'}")
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
    parser.add_argument("--marks", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        marks = [int(mark) for mark in arguments.marks.split(",")]
        print(json.dumps(run_ours(arguments.ours, arguments.precision, marks)))
        return
    n_common, n_long = (2, 6) if arguments.quick else (5, 160)
    result = compare(n_common, n_long, arguments.deepmd_python)
    print(json.dumps(result) if arguments.json else report(result))


if __name__ == "__main__":
    sys.exit(main())
