"""Float32 against float64: CPU time of a training step and of a force call, and the difference in forces.

python benchmarks/precision.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from alpw.potential import DeepPotential, DeepPotentialConfig, TrainingOptions, train
from alpw.structures.frame import Label, LabelledFrame


def frames(count: int) -> list[LabelledFrame]:
    """Rattled 32-atom argon cells with Lennard-Jones labels."""
    labelled = []
    for seed in range(count):
        atoms = bulk("Ar", cubic=True, a=5.26).repeat(2)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0)
        labelled.append(LabelledFrame(atoms.copy(), Label(atoms.get_potential_energy(), atoms.get_forces())))
    return labelled


def model(precision: str) -> DeepPotential:
    """The same weights in either precision."""
    config = DeepPotentialConfig(elements=("Ar",), rcut=6.0, neuron=(25, 25, 25), precision=precision, seed=1)
    return DeepPotential(config)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(steps: int, calls: int) -> dict[str, float]:
    """Ratios float64 / float32 of CPU time, and the largest relative force difference."""
    torch.set_num_threads(1)
    data = frames(4)
    seconds: dict[str, dict[str, float]] = {}
    forces: dict[str, np.ndarray] = {}
    for precision in ("float64", "float32"):
        potential = model(precision)
        options = TrainingOptions(steps=steps, threads=1)
        # The first step of a process pays for torch's own start.
        train(potential, data, options=TrainingOptions(steps=2, threads=1))
        training = cpu_seconds(lambda p=potential, o=options: train(p, data, options=o))
        fresh, atoms = model(precision), data[0].atoms
        forces[precision] = fresh.predict(atoms).forces
        force_calls = cpu_seconds(lambda p=fresh, a=atoms: repeat(p, a, calls))
        seconds[precision] = {"training_step": training / steps, "force_call": force_calls / calls}
    return {
        "training_step_ratio": seconds["float64"]["training_step"] / seconds["float32"]["training_step"],
        "force_call_ratio": seconds["float64"]["force_call"] / seconds["float32"]["force_call"],
        "relative_force_difference": float(
            abs(forces["float64"] - forces["float32"]).max() / abs(forces["float64"]).max()
        ),
    }


def repeat(potential: DeepPotential, atoms: Atoms, calls: int) -> None:
    """Force calls with one neighbour list, as molecular dynamics makes them."""
    neighbors = potential.neighbors(atoms, 1.0)
    for _ in range(calls):
        potential.energy_forces_virial(neighbors, atoms.positions)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = compare(steps=40 if arguments.quick else 400, calls=40 if arguments.quick else 400)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"training step, float64 / float32 CPU time: {result['training_step_ratio']:.2f}")
        print(f"force call,    float64 / float32 CPU time: {result['force_call_ratio']:.2f}")
        print(f"largest force difference, relative: {result['relative_force_difference']:.1e}")


if __name__ == "__main__":
    main()
