"""Which covariance knows the error of a model that was trained before: KPU in a campaign's second iteration.

Silicon with Tersoff's potential as the reference. A small model is trained with the Kalman filter on rattled
crystals; then there are new labels of another kind, hotter and more strained. The second training starts
afresh or from the first, and has all labels or the new ones only. Compared with the force error of the model,
on frames like the first data set ("inside") and like the new labels ("outside"), is KPU from 64 draws of the
covariance that the filter ended with, which starts anew in each training, and of the Gauss-Newton one.

python benchmarks/warm_start.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from uncertainty import INSIDE, OUTSIDE, frames, judged

from alpw.potential import DeepPotential, DeepPotentialConfig, TrainingOptions, train
from alpw.potential.covariance import Covariance
from alpw.structures.frame import LabelledFrame
from alpw.uncertainty.calibration import force_error
from alpw.uncertainty.kpu import SampledKPU, Samples
from alpw.uncertainty.posterior import gauss_newton

DRAWS = 64
COLUMNS = {
    "spearman_atoms": "Spearman, atoms",
    "spearman_frames": "Spearman, frames",
    "outside_is_larger": "outside > inside",
    "ratio_to_error": "ratio to the error",
}


def judge(
    model: DeepPotential, covariance: Covariance, inside: list[LabelledFrame], outside: list[LabelledFrame]
) -> dict[str, float]:
    """How KPU of all frames goes with their errors."""
    everything = inside + outside
    errors = [force_error(model.predict(frame.atoms).forces, frame.label.forces) for frame in everything]
    sampler = SampledKPU(model, Samples.draw(covariance, DRAWS))
    found = judged(lambda atoms: sampler.uncertainty(atoms).u_force, everything, errors, len(inside))
    return {key: found[key] for key in COLUMNS}


def compare(n_first: int, n_new: int, n_judged: int, epochs: int) -> dict[str, Any]:
    """All trainings and covariances on the same frames."""
    torch.set_num_threads(1)
    first, new = frames(n_first, INSIDE, 0.02, seed=1), frames(n_new, OUTSIDE, 0.06, seed=5)
    inside, outside = frames(n_judged, INSIDE, 0.02, seed=2), frames(n_judged, OUTSIDE, 0.06, seed=3)
    config = DeepPotentialConfig(
        elements=("Si",),
        rcut=5.0,
        rcut_smth=2.0,
        neuron=(8, 16),
        axis_neuron=6,
        fitting_neuron=(20, 20),
        seed=1,
    )
    options = TrainingOptions(optimizer="lkf", epochs=epochs, threads=1)
    trained = DeepPotential(config)
    train(trained, first, options=options)
    on = replace(options, warm_start=True, seed=2)

    def second(start: DeepPotential, data: Sequence[LabelledFrame], how: TrainingOptions) -> tuple[Any, Any]:
        model = deepcopy(start)
        return model, train(model, data, options=how).covariance

    scratch, of_scratch = second(DeepPotential(config), first + new, options)
    warm, of_warm = second(trained, first + new, on)
    narrow, of_narrow = second(trained, new, on)
    cases = {
        "afresh, all labels: filter": (scratch, of_scratch),
        "on, all labels: filter": (warm, of_warm),
        "on, all labels: Gauss-Newton": (warm, gauss_newton(warm, first + new)),
        "on, new labels: filter": (narrow, of_narrow),
        "on, new labels: Gauss-Newton of all": (narrow, gauss_newton(narrow, first + new)),
    }
    return {name: judge(model, covariance, inside, outside) for name, (model, covariance) in cases.items()}


def report(result: dict[str, Any]) -> str:
    """The table."""
    lines = [f"{'':38}" + "".join(f"{title:>20}" for title in COLUMNS.values())]
    lines += [
        f"{name:38}" + "".join(f"{found[key]:20.3f}" for key in COLUMNS) for name, found in result.items()
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer frames and epochs")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    result = compare(6, 3, 6, 2) if arguments.quick else compare(12, 6, 14, 6)
    print(json.dumps(result) if arguments.json else report(result))


if __name__ == "__main__":
    main()
