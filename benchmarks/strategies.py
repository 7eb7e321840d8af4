"""Which frames to label: by a committee of 4, by KPU of one model, or at random, with the same budget.

Whole campaigns on silicon and silicon carbide (32 atoms) with GFN1-xTB labels, on an embedded database. All
have the same first data set, network, Kalman filter (LKF), dynamics and number of labels in each iteration;
they differ in what chooses the frames:

    committee   4 models; some of the candidates by calibrated thresholds of the force deviation
    kpu         1 model; some of the candidates by calibrated thresholds of KPU
    random      1 model; every explored frame is a candidate

The models in use at the end (member 0) are judged on frames that no campaign has seen: molecular dynamics
with GFN1-xTB itself at the temperatures of the exploration. "accepted" is the force error of the model that
explored last on frames that its thresholds called accurate, which are labelled for this alone, in units of
the target that the thresholds aim at: 1 is as promised, less where all that it explored is better than the
target: "accurate" is the share of those frames. Training time is that of all models, total time from
the first to the last moment of the campaign.

python benchmarks/strategies.py [--quick] [--json] [--only NAME ...] [--systems NAME ...] [--seeds N]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from common import one_thread
from tblite.ase import TBLite

from alpw.codes.xtb.inputs import THEORY
from alpw.database import campaigns, daemon, iterations, judged, models, trajectories
from alpw.database.costs import spent
from alpw.database.launchpad import database, open_launchpad, write_launchpad_file
from alpw.database.summary import seconds_between
from alpw.errors import AlpwError
from alpw.potential import DeepPotential, test
from alpw.sampling.classify import ACCURATE, CLASSES
from alpw.structures.frame import Label, LabelledFrame

ALPW = Path(sys.executable).parent / "alpw"
METHOD = "GFN1-xTB"
SYSTEMS = {
    "silicon": bulk("Si", cubic=True).repeat((2, 2, 1)),
    "silicon carbide": bulk("SiC", "zincblende", a=4.36, cubic=True).repeat((2, 2, 1)),
}
"""Not smaller: xTB is taken at the Γ point, and in 16 atoms forces depend on what no cutoff holds."""

TARGETS = {"silicon": 0.1, "silicon carbide": 0.03}
"""force error that the thresholds aim at, eV/Å; low enough that there are candidates to the end"""

STRATEGIES: dict[str, dict[str, Any]] = {
    "committee": {"uncertainty": "committee", "model_num": 4},
    # The thresholds of the first iteration, which has no calibration yet: times the uncertainty at the start.
    "kpu": {"uncertainty": "kpu", "kpu_lower": 1.5, "kpu_upper": 10.0},
    "random": {
        "uncertainty": "kpu",
        "kpu_mode": "absolute",
        "lower_model_devi_f": 1e-12,
        "upper_model_devi_f": 1e12,
    },
}


@dataclass(frozen=True)
class Size:
    """How much to do.

    Attributes:
        first: perturbed structures to begin with.
        iterations: of exploration.
        labels: training frames of each iteration.
        validation: held-out frames of each iteration.
        epochs: of each training.
        steps: of each trajectory, of 1 fs, saved every 10.
        temperatures: in K.
        judged: frames of the test set per temperature.
        spacing: fs between them.
        accepted: frames called accurate that are labelled to see the error that they have.
        seeds: campaigns of each kind.
    """

    first: int
    iterations: int
    labels: int
    validation: int
    epochs: int
    steps: int
    temperatures: tuple[float, ...]
    judged: int
    spacing: int
    accepted: int
    seeds: int


FULL = Size(12, 3, 6, 3, 20, 300, (300.0, 700.0), 6, 10, 16, 3)
QUICK = Size(4, 1, 2, 1, 2, 40, (600.0,), 3, 4, 3, 1)


def labelled(atoms: Atoms) -> LabelledFrame:
    """A structure with energy, forces and virial by the method of the labels."""
    structure = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
    atoms = structure.copy()
    atoms.calc = TBLite(method=METHOD, verbosity=0, **THEORY)
    virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
    return LabelledFrame(structure, Label(atoms.get_potential_energy(), atoms.get_forces(), virial))


def test_set(start: Atoms, size: Size) -> list[LabelledFrame]:
    """Frames of molecular dynamics with the method of the labels, after an equilibration of a sixth of it."""
    frames = []
    for temperature in size.temperatures:
        atoms = start.copy()
        atoms.calc = TBLite(method=METHOD, verbosity=0, **THEORY)
        rng = np.random.default_rng(int(temperature))
        # Half of the kinetic energy of a crystal at rest becomes potential energy.
        MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=rng)
        dynamics = Langevin(
            atoms, units.fs, temperature_K=temperature, friction=0.01 / units.fs, fixcm=False, rng=rng
        )
        dynamics.run(size.spacing * size.judged // 6)
        for _ in range(size.judged):
            dynamics.run(size.spacing)
            frames.append(labelled(atoms))
    return frames


def inputs(system: str, strategy: str, size: Size, seed: int) -> dict[str, Any]:
    """The param.json of a campaign."""
    start, target = SYSTEMS[system], TARGETS[system]
    calibrated = (
        {} if strategy == "random" else {"target_force_error": target, "upper_force_error": 5 * target}
    )
    block = {
        "sys_idx": [0],
        "temps": list(size.temperatures),
        "nsteps": size.steps,
        "md_dt": 0.001,
        "trj_freq": 10,
    }
    return {
        "seed": seed,
        "initial": {"perturb": size.first, "cell_pert_fraction": 0.01, "atom_pert_distance": 0.1},
        "train": {
            "atom_type": list(dict.fromkeys(start.symbols)),
            "descriptor": {"rcut": 5.0, "rcut_smth": 2.0, "axis_neuron": 4, "neuron": [8, 16]},
            "fitting_net": {"neuron": [24, 24]},
            "optimizer": {"optimizer": "LKF", "epochs": size.epochs, "block_size": 1024},
        },
        "strategy": {
            **STRATEGIES[strategy],
            **({} if strategy == "random" else calibrated),
            "max_select": 1000,
            "max_select_total": size.labels,
            "validation_frames": size.validation,
            "accurate_ratio": 1.0,
            "max_iterations": size.iterations,
        },
        "explore": {"sys_configs": [{"config": "POSCAR", "format": "vasp/poscar"}], "md_jobs": [[block]]},
        "dft": {"dft_style": "xtb", "method": METHOD},
    }


def campaign(folder: Path, start: Atoms, param: dict[str, Any]) -> None:
    """Run a campaign to its end in its own folder.

    Raises:
        AlpwError: it did not get there; with the end of what it said.
    """
    folder.mkdir()
    start.write(folder / "POSCAR", format="vasp", direct=True)
    (folder / "param.json").write_text(json.dumps(param))
    resource = {"train": {}, "explore": {}, "dft": {"group_size": 4}}
    (folder / "resource.json").write_text(json.dumps(resource))
    done = subprocess.run(
        [str(ALPW), "run", "param.json", "resource.json", "--workers", "2"],
        cwd=folder,
        env={**one_thread(), "ALPW_DB_DIR": str(folder.parent / "db")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AlpwError(f"the campaign {folder.name} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def accepted_error(db: Any, name: str, n_frames: int) -> float | None:
    """Force error (eV/Å) of the model that explored last on frames that it was trusted on; None without any.

    Frames are drawn at random from all that the thresholds called accurate, but for those that became
    validation labels.
    """
    index = trajectories.newest(db, name)["iteration"]
    runs = trajectories.of_iteration(db, name, index)
    trusted = [
        (run, frame)
        for run in runs
        for frame, decision in enumerate(trajectories.decisions(run))
        if decision == CLASSES[ACCURATE]
    ]
    if not trusted:
        return None
    coordinates = {run["_id"]: trajectories.frames(db, run) for run in runs}
    drawn = np.random.default_rng(1).permutation(len(trusted))[:n_frames]
    frames = [labelled(coordinates[trusted[place][0]["_id"]][trusted[place][1]]) for place in drawn]
    model = models.committee(db, name, index)[0]
    return test(DeepPotential.from_bytes(models.weights(db, model)), frames).force_rmse


def measured(
    db: Any, folder: Path, frames: list[LabelledFrame], target: float, n_accepted: int
) -> dict[str, float | None]:
    """What a finished campaign has, and what it took."""
    name = folder.name
    document = campaigns.get(db, name)
    errors = test(DeepPotential.load(folder / "models" / "model.000.pt"), frames)
    accepted = accepted_error(db, name, n_accepted)
    counts = iterations.get(db, name, trajectories.newest(db, name)["iteration"])["counts"]
    return {
        "force_rmse": errors.force_rmse,
        "energy_rmse": errors.energy_rmse,
        "labels": judged.count_computed(db, name),
        "training_seconds": spent(db, name)["train"] * 3600,
        "total_seconds": seconds_between(document["created"], document["finished"]),
        "accepted": None if accepted is None else accepted / target,
        "accurate": 100 * counts[CLASSES[ACCURATE]] / sum(counts.values()),
    }


def compare(size: Size, systems: list[str], strategies: list[str], folder: Path) -> dict[str, Any]:
    """Every system, strategy and seed, one campaign after the other on two workers."""
    server = daemon.start(folder / "db")
    launchpad = open_launchpad(write_launchpad_file(folder / "my_launchpad.yaml", server.uri))
    results: dict[str, Any] = {}
    try:
        for system in systems:
            start = SYSTEMS[system]
            frames = test_set(start, size)
            found: dict[str, list[Any]] = {strategy: [] for strategy in strategies}
            # Strategies take turns: what else the machine does meanwhile is no strategy's own.
            for seed in range(1, size.seeds + 1):
                for strategy in strategies:
                    place = folder / f"{system.replace(' ', '-')}-{strategy}-{seed}"
                    campaign(place, start, inputs(system, strategy, size, seed))
                    errors = measured(database(launchpad), place, frames, TARGETS[system], size.accepted)
                    found[strategy].append(errors)
                    print(place.name, errors, file=sys.stderr, flush=True)
            results[system] = {"test_frames": len(frames), "strategies": found}
    finally:
        launchpad.connection.close()
        daemon.stop(folder / "db")
    return results


def report(results: dict[str, Any]) -> str:
    """The tables: medians over seeds, with the smallest and the largest."""
    columns = {
        "force_rmse": ("force RMSE, meV/Å", 1e3),
        "energy_rmse": ("energy RMSE, meV/atom", 1e3),
        "labels": ("labels", 1),
        "training_seconds": ("training, s", 1),
        "total_seconds": ("total, s", 1),
        "accepted": ("accepted / target", 1),
        "accurate": ("accurate, %", 1),
    }
    lines = []
    for system, result in results.items():
        lines.append(f"{system}, {result['test_frames']} test frames")
        lines.append(f"{'':12}" + "".join(f"{title:>24}" for title, _ in columns.values()))
        for strategy, runs in result["strategies"].items():
            cells = []
            for key, (_, factor) in columns.items():
                values = [run[key] * factor for run in runs if run[key] is not None]
                low, high = min(values, default=0), max(values, default=0)
                text = f"{statistics.median(values):.3g} ({low:.3g}-{high:.3g})" if values else "-"
                cells.append(f"{text:>24}")
            lines.append(f"{strategy:12}" + "".join(cells))
        lines.append("")
    return "\n".join(lines).rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny campaigns on silicon, one seed")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--only", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS)
    parser.add_argument("--seeds", type=int, help="campaigns of each kind")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    if arguments.seeds:
        size = replace(size, seeds=arguments.seeds)
    systems = arguments.systems or list(SYSTEMS)[: 1 if arguments.quick else None]
    with tempfile.TemporaryDirectory() as folder:
        results = compare(size, systems, arguments.only, Path(folder))
    print(json.dumps(results) if arguments.json else report(results))


if __name__ == "__main__":
    main()
