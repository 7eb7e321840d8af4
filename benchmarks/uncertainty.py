"""Which uncertainty knows the error: KPU of one model and a committee of 4, on the same frames.

Silicon with Tersoff's potential as the reference. Four small models are trained with the Kalman filter on
rattled crystals. Frames to be judged go from those like the training set ("inside") to hotter and more
strained ones ("outside"). Compared with the force error of the first model, per atom and as the largest of a
frame, are: KPU with the covariance that its Kalman filter ended with, exact and from 32 draws; KPU with the
Gauss-Newton covariance at its weights; and the force deviation of the committee (DP-GEN's).

Printed are Spearman's and Pearson's coefficients (the latter of logarithms), the ratio of the median
uncertainty to the median error, and how often a frame outside has a larger value than one inside.

python benchmarks/uncertainty.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from common import labelled
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, pearsonr, spearmanr

from alpw.potential import DeepPotential, DeepPotentialConfig, TrainingOptions, test
from alpw.potential.training.committee import train_committee
from alpw.structures.frame import LabelledFrame
from alpw.uncertainty.calibration import force_error
from alpw.uncertainty.committee import force_deviation, predict_committee
from alpw.uncertainty.kpu import SampledKPU, Samples, exact_kpu
from alpw.uncertainty.posterior import gauss_newton

Floats = NDArray[np.float64]
MEMBERS = 4
INSIDE, OUTSIDE = (0.03, 0.12), (0.12, 0.35)


def frames(count: int, rattle: tuple[float, float], strain: float, seed: int) -> list[LabelledFrame]:
    """Crystals of 8 atoms with displacements of ``rattle`` Å and strains of up to ``strain``."""
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(count):
        atoms = bulk("Si", cubic=True)
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.uniform(-strain, strain, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0.0, rng.uniform(*rattle), atoms.positions.shape)
        structures.append(atoms)
    return labelled(structures)


def committee(training: list[LabelledFrame], epochs: int) -> tuple[list[DeepPotential], Any]:
    """The models, and the covariance of the first."""
    config = DeepPotentialConfig(
        elements=("Si",),
        rcut=5.0,
        rcut_smth=2.0,
        neuron=(10, 20),
        axis_neuron=8,
        fitting_neuron=(30, 30),
    )
    models = [DeepPotential(replace(config, seed=seed)) for seed in range(1, MEMBERS + 1)]
    options = TrainingOptions(optimizer="lkf", epochs=epochs, threads=1)
    reports = train_committee(models, training, options=options)
    return models, reports[0].covariance


def judged(
    measure: Callable[[Atoms], Floats],
    judged_frames: list[LabelledFrame],
    errors: list[Floats],
    n_inside: int,
) -> dict[str, float]:
    """How an uncertainty of the atoms of each frame goes with their errors."""
    began = time.process_time()
    found = [measure(frame.atoms) for frame in judged_frames]
    seconds = (time.process_time() - began) / len(judged_frames)
    atoms, error_of_atoms = np.concatenate(found), np.concatenate(errors)
    largest, largest_error = (np.array([values.max() for values in sets]) for sets in (found, errors))
    inside = slice(0, n_inside)
    apart = mannwhitneyu(largest[n_inside:], largest[inside], alternative="greater")
    return {
        "spearman_atoms": float(spearmanr(atoms, error_of_atoms).statistic),
        "pearson_atoms": float(pearsonr(np.log(atoms), np.log(error_of_atoms)).statistic),
        "spearman_frames": float(spearmanr(largest, largest_error).statistic),
        "pearson_frames": float(pearsonr(np.log(largest), np.log(largest_error)).statistic),
        "spearman_frames_inside": float(spearmanr(largest[inside], largest_error[inside]).statistic),
        "ratio_to_error": float(np.median(atoms) / np.median(error_of_atoms)),
        "outside_is_larger": float(apart.statistic / (n_inside * (len(largest) - n_inside))),
        "p_value": float(apart.pvalue),
        "seconds": seconds,
    }


def compare(n_training: int, epochs: int, n_judged: int) -> dict[str, Any]:
    """All measures on the same frames."""
    torch.set_num_threads(1)
    training = frames(n_training, INSIDE, 0.02, seed=1)
    inside = frames(n_judged, INSIDE, 0.02, seed=2)
    outside = frames(n_judged, OUTSIDE, 0.06, seed=3)
    models, covariance = committee(training, epochs)
    model, everything = models[0], inside + outside
    posterior = gauss_newton(model, training, atoms_per_frame=None)
    sampler = SampledKPU(model, Samples.draw(covariance, 32))
    errors = [force_error(model.predict(frame.atoms).forces, frame.label.forces) for frame in everything]
    measures: dict[str, Callable[[Atoms], Floats]] = {
        "KPU, Kalman filter": lambda atoms: exact_kpu(model, covariance, atoms).u_force,
        "KPU, 32 draws": lambda atoms: sampler.uncertainty(atoms).u_force,
        "KPU, Gauss-Newton": lambda atoms: exact_kpu(model, posterior, atoms).u_force,
        "committee of 4": lambda atoms: force_deviation(predict_committee(models, atoms).forces),
    }
    return {
        "training_frames": n_training,
        "judged_frames": len(everything),
        "force_rmse_training": test(model, training).force_rmse,
        "force_rmse_inside": test(model, inside).force_rmse,
        "force_rmse_outside": test(model, outside).force_rmse,
        "measures": {
            name: judged(measure, everything, errors, n_judged) for name, measure in measures.items()
        },
    }


def report(result: dict[str, Any]) -> str:
    """The table."""
    columns = {
        "spearman_atoms": "Spearman, atoms",
        "pearson_atoms": "Pearson(log), atoms",
        "spearman_frames": "Spearman, frames",
        "pearson_frames": "Pearson(log), frames",
        "spearman_frames_inside": "Spearman, inside",
        "outside_is_larger": "outside > inside",
        "ratio_to_error": "ratio to the error",
    }
    names = list(result["measures"])
    lines = [
        f"force RMSE in eV/Å: training {result['force_rmse_training']:.3f}, inside "
        f"{result['force_rmse_inside']:.3f}, outside {result['force_rmse_outside']:.3f}",
        f"{'':22}" + "".join(f"{name:>20}" for name in names),
    ]
    lines += [
        f"{title:22}" + "".join(f"{result['measures'][name][key]:20.3f}" for name in names)
        for key, title in columns.items()
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer frames and epochs")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    result = compare(10, 4, 12) if arguments.quick else compare(24, 8, 40)
    print(json.dumps(result) if arguments.json else report(result))


if __name__ == "__main__":
    main()
