"""Epochs and CPU time until a model has a given force error: Kalman filter, Adam, and deepmd-kit's Adam.

All train the same network on the same strained and rattled frames of 32 copper atoms (effective medium theory
through ASE), one frame per step, one thread, float64, and are judged by the force RMSE on the same held-out
frames after every epoch. The Kalman filter has RLEKF's settings, Adam DeePMD-kit's but for the learning rate,
which falls from 5e-3 to 5e-5 over the budget of epochs; that was better for so few steps than its default.
The Kalman filter runs twice: with force measurements as they are, and divided by the number of atoms as in
DeePMD-kit and MatPL. CPU time is that of training and validation, without the start of the program. With
several seeds (first weights and order of the frames), medians are shown.

python benchmarks/convergence.py [--quick] [--json] [--target RMSE] [--seeds N] [--deepmd-python PYTHON]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from common import DEEPMD_PYTHON, run_python

from alpw.errors import AlpwError
from alpw.potential import DeepPotential, DeepPotentialConfig, EpochRecord, TrainingOptions, train
from alpw.potential.dataset import prepare
from alpw.potential.statistics import fit_normalisation
from alpw.structures.frame import Label, LabelledFrame


@dataclass(frozen=True)
class Size:
    """How much to do.

    Attributes:
        n_train, n_valid: frames.
        kalman, adam: epochs.
        seeds: repetitions.
        config: the network.
        target: force RMSE to reach, in eV/Å.
    """

    n_train: int
    n_valid: int
    kalman: int
    adam: int
    seeds: int
    config: DeepPotentialConfig
    target: float


# Small, so that the Kalman filters take minutes and not hours in float64 with one thread.
NETWORK = DeepPotentialConfig(
    elements=("Cu",), rcut=4.5, rcut_smth=1.0, neuron=(8, 16), axis_neuron=4, fitting_neuron=(24, 24)
)
FULL = Size(64, 16, kalman=8, adam=200, seeds=3, config=NETWORK, target=0.08)
QUICK = Size(32, 8, kalman=5, adam=60, seeds=1, config=NETWORK, target=0.7)

ADAM = TrainingOptions(learning_rate=5e-3, stop_lr=5e-5)

NAMES = {
    "lkf": "LKF",
    "lkf_scaled": "LKF, forces divided by N",
    "adam": "Adam",
    "deepmd_adam": "deepmd-kit's Adam",
}


def copper(count: int, seed: int = 1) -> list[LabelledFrame]:
    """Strained and rattled crystals of 32 atoms; the rattling differs from frame to frame."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True, a=3.6).repeat(2)
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0.0, rng.uniform(0.03, 0.2), atoms.positions.shape)
        atoms.calc = EMT()
        label = Label(atoms.get_potential_energy(), atoms.get_forces())
        frames.append(LabelledFrame(atoms.copy(), label))
    return frames


@dataclass
class Run:
    """Force RMSE on the held-out frames (eV/Å) and CPU time (s) after each epoch."""

    force_rmse: list[float]
    cpu: list[float]

    def reached(self, target: float) -> tuple[int | None, float | None]:
        """The first epoch below ``target``, counted from 1, and the CPU time until its end."""
        below = [epoch for epoch, error in enumerate(self.force_rmse) if error <= target]
        return (below[0] + 1, self.cpu[below[0]]) if below else (None, None)


def ours(
    options: TrainingOptions, size: Size, data: list[LabelledFrame], valid: list[LabelledFrame], seed: int
) -> Run:
    """Train with our own optimizers."""
    run = Run([], [])
    began = time.process_time()

    def note(record: EpochRecord) -> None:
        run.cpu.append(time.process_time() - began)
        run.force_rmse.append(record.valid_force_rmse or float("nan"))

    model = DeepPotential(replace(size.config, seed=seed))
    train(model, data, valid, options=replace(options, seed=seed, threads=1), on_epoch=note)
    return run


def deepmd(size: Size, data: list[LabelledFrame], valid: list[LabelledFrame], seed: int, python: Path) -> Run:
    """Train with ``dp train`` in deepmd-kit's environment."""
    config, n_steps = size.config, size.adam * len(data)
    settings = ADAM
    # The constant by which deepmd-kit divides the descriptor is the capacity for neighbours. With ours equal
    # to it, both scale the descriptor alike.
    model = DeepPotential(config)
    fit_normalisation(model, prepare(model, data))
    n_neighbors = int(model.descriptor.normaliser)
    network: dict[str, Any] = {"precision": config.precision, "seed": seed, "activation_function": "tanh"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_system(folder / "train", data)
        write_system(folder / "valid", valid)
        document = {
            "model": {
                "type_map": list(config.elements),
                "descriptor": {
                    "type": "se_e2_a",
                    "sel": [n_neighbors],
                    "rcut": config.rcut,
                    "rcut_smth": config.rcut_smth,
                    "neuron": list(config.neuron),
                    "axis_neuron": config.axis_neuron,
                    **network,
                },
                "fitting_net": {"neuron": list(config.fitting_neuron), "resnet_dt": True, **network},
            },
            "learning_rate": {
                "type": "exp",
                "start_lr": settings.learning_rate,
                "stop_lr": settings.stop_lr,
                "decay_steps": max(1, n_steps // 200),
            },
            "loss": {
                "type": "ener",
                "start_pref_e": settings.start_pref_energy,
                "limit_pref_e": settings.limit_pref_energy,
                "start_pref_f": settings.start_pref_force,
                "limit_pref_f": settings.limit_pref_force,
                "start_pref_v": 0.0,
                "limit_pref_v": 0.0,
            },
            "training": {
                "training_data": {"systems": ["train"], "batch_size": 1},
                # All held-out frames in one batch: their RMSE and not a mean of several.
                "validation_data": {"systems": ["valid"], "batch_size": len(valid), "numb_btch": 1},
                "numb_steps": n_steps,
                "seed": seed,
                "disp_file": "lcurve.out",
                "disp_freq": len(data),
                "save_freq": n_steps,
            },
        }
        (folder / "input.json").write_text(json.dumps(document))
        found = run_python(Path(__file__).with_name("deepmd_adam.py"), [name], python=python)
    epochs = [index for index, step in enumerate(found["steps"]) if step % len(data) == 0]
    return Run([found["force_rmse"][k] for k in epochs], [found["cpu"][k] for k in epochs])


def write_system(folder: Path, frames: list[LabelledFrame]) -> None:
    """Frames of one composition in deepmd-kit's format."""
    (folder / "set.000").mkdir(parents=True)
    arrays = {
        "coord": [frame.atoms.positions.ravel() for frame in frames],
        "box": [np.asarray(frame.atoms.cell).ravel() for frame in frames],
        "energy": [frame.label.energy for frame in frames],
        "force": [frame.label.forces.ravel() for frame in frames],
    }
    for name, values in arrays.items():
        np.save(folder / "set.000" / f"{name}.npy", np.array(values))
    np.savetxt(folder / "type.raw", np.zeros(len(frames[0].atoms), dtype=int), fmt="%d")
    (folder / "type_map.raw").write_text("Cu\n")


def compare(size: Size, python: Path | None) -> dict[str, Any]:
    """All runs, their medians over seeds, and ratios."""
    torch.set_num_threads(1)
    frames = copper(size.n_train + size.n_valid)
    data, valid = frames[: size.n_train], frames[size.n_train :]
    kalman = TrainingOptions(optimizer="lkf", epochs=size.kalman)
    runs: dict[str, list[Run]] = {name: [] for name in NAMES}
    for seed in range(1, size.seeds + 1):
        runs["lkf"].append(ours(kalman, size, data, valid, seed))
        runs["lkf_scaled"].append(ours(replace(kalman, scale_by_atoms=True), size, data, valid, seed))
        runs["adam"].append(ours(replace(ADAM, epochs=size.adam), size, data, valid, seed))
        if python:
            runs["deepmd_adam"].append(deepmd(size, data, valid, seed, python))
    spread = float(np.std([frame.label.forces for frame in valid]))
    results = {name: summary(found, size.target) for name, found in runs.items() if found}
    return {
        "target": size.target,
        "force_spread": spread,
        "train_frames": size.n_train,
        "valid_frames": size.n_valid,
        "seeds": size.seeds,
        "weights": sum(w.numel() for w in DeepPotential(size.config).parameters()),
        "results": results,
        "ratios": ratios(results),
    }


def summary(runs: list[Run], target: float) -> dict[str, Any]:
    """Medians over the seeds; None where fewer than half of the runs reached the target."""
    reached = [run.reached(target) for run in runs]
    return {
        "epochs_to_target": median([epochs for epochs, _ in reached]),
        "cpu_to_target": median([cpu for _, cpu in reached]),
        "cpu_per_epoch": float(np.median([run.cpu[-1] / len(run.cpu) for run in runs])),
        "best_force_rmse": float(np.median([min(run.force_rmse) for run in runs])),
        "epochs": len(runs[0].cpu),
        "curves": [{"force_rmse": run.force_rmse, "cpu": run.cpu} for run in runs],
    }


def median(values: list[float] | list[int] | list[Any]) -> float | None:
    """The median with None as infinity."""
    found = float(np.median([np.inf if value is None else value for value in values]))
    return found if np.isfinite(found) else None


def ratios(results: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """How many times fewer epochs and less CPU time LKF takes than the others; None if one never arrived."""
    found: dict[str, float | None] = {}
    for name in results.keys() - {"lkf"}:
        for what in ("epochs", "cpu"):
            one, other = results["lkf"][f"{what}_to_target"], results[name][f"{what}_to_target"]
            found[f"{what}_{name}_over_lkf"] = None if one is None or other is None else other / one
    return dict(sorted(found.items()))


def show(found: dict[str, Any]) -> None:
    """Print the table."""
    print(
        f"{found['train_frames']} training and {found['valid_frames']} held-out frames of 32 Cu atoms, "
        f"{found['weights']} weights, seeds: {found['seeds']}; forces spread by "
        f"{found['force_spread']:.2f} eV/Å"
    )
    print(f"{'':26}{'epochs to':>12}{'CPU s to':>12}{'CPU s':>12}{'best RMSE':>14}")
    target = f"{found['target']:g} eV/Å"
    print(f"{'':26}{target:>12}{target:>12}{'per epoch':>12}{'eV/Å (epochs)':>16}")
    for name, row in found["results"].items():
        epochs = "-" if row["epochs_to_target"] is None else f"{row['epochs_to_target']:.0f}"
        cpu = "-" if row["cpu_to_target"] is None else f"{row['cpu_to_target']:.1f}"
        best = f"{row['best_force_rmse']:.3f} ({row['epochs']})"
        print(f"{NAMES[name]:26}{epochs:>12}{cpu:>12}{row['cpu_per_epoch']:>12.2f}{best:>16}")
    for name, value in found["ratios"].items():
        print(f"{name.replace('_', ' ')}: {'not reached' if value is None else f'{value:.1f}'}")


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--target", type=float, help="force RMSE in eV/Å")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--deepmd-python", type=Path, default=DEEPMD_PYTHON)
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    size = replace(size, target=arguments.target or size.target, seeds=arguments.seeds or size.seeds)
    python = arguments.deepmd_python if arguments.deepmd_python.exists() else None
    if python is None:
        print(f"without deepmd-kit: there is no {arguments.deepmd_python}", file=sys.stderr)
    try:
        found = compare(size, python)
    except AlpwError as error:
        sys.exit(f"error: {error}")
    if arguments.json:
        print(json.dumps(found))
    else:
        show(found)


if __name__ == "__main__":
    main()
