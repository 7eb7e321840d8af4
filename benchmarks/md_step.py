"""A step of molecular dynamics against deepmd-kit's in LAMMPS, plain and compressed, in one run.

The same weights (default network, silicon, rcut 6 Å, 25x3 / 16 / 50x3), the same start structure and
velocities, NVE at 300 K, one thread. Ours is the exploration driver: LAMMPS integrates, our forces come
through `fix external`, and every step passes the driver's checks. deepmd-kit's is `pair_style deepmd` on
the exported `.pb` and on what `dp --tf compress` makes of it. Each engine has processes of its own, taking
turns; the smallest CPU time per step of all rounds, and of four segments in each, counts. Energies of both
engines are compared at the first and the last step; peak memory is that of the process.

python benchmarks/md_step.py [--quick] [--json] [--deepmd-python PYTHON]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from common import DEEPMD_PYTHON, labelled, one_thread, peak_memory, run_python, silicon

from alpw.codes.lammps.engine import integrate
from alpw.codes.lammps.inputs import Ensemble, ExplorationTask
from alpw.codes.lammps.models import VerletModel
from alpw.codes.lammps.outputs import EndReason
from alpw.errors import AlpwError
from alpw.potential import DeepPotential, DeepPotentialConfig, TrainingOptions, train
from alpw.potential.compression import compress
from alpw.potential.interchange.deepmd_export import to_deepmd
from alpw.potential.interchange.deepmd_files import write_deepmd
from alpw.potential.model import Prediction

STEPS = {64: 60, 512: 15, 4096: 4}
WARM_UP, SEGMENTS = 5, 4
TEMPERATURE, SEED = 300.0, 11
OURS = ("plain", "compressed", "plain float32", "compressed float32")
THEIRS = {"plain": "model.pb", "compressed": "compressed.pb"}


def structure(n_atoms: int) -> Atoms:
    """A rattled crystal."""
    cells = round((n_atoms / 8) ** (1 / 3))
    (atoms,) = silicon(1, cells=cells, strain=0.0)
    atoms.wrap()
    return atoms


def make_models(folder: Path, python: Path) -> None:
    """Our models and deepmd-kit's, with the same weights."""
    model = DeepPotential(DeepPotentialConfig(elements=("Si",)))
    # Long enough that the crystal stays one; random weights make atoms collide.
    options = TrainingOptions(
        steps=300, learning_rate=5e-3, stop_lr=5e-4, start_pref_force=100, limit_pref_force=10, threads=1
    )
    train(model, labelled(silicon(10, strain=0.02)), options=options)
    single = DeepPotential(DeepPotentialConfig(elements=("Si",), precision="float32"))
    single.load_state_dict(model.state_dict())
    for name, potential in (("", model), (" float32", single)):
        potential.save(folder / f"plain{name}.pt")
        compress(potential)[0].save(folder / f"compressed{name}.pt")
    write_deepmd(to_deepmd(model), folder / "model.pb", python)
    tool = Path(__file__).with_name("deepmd_compress.py")
    compressed = [str(folder / name) for name in THEIRS.values()]
    subprocess.run([python, tool, *compressed], cwd=folder, env=one_thread(), capture_output=True, check=True)


class ClockedModel(VerletModel):
    """Notes the CPU time of the process and the energy at every step."""

    def __init__(self, model: DeepPotential) -> None:
        super().__init__(model)
        self.clock: list[float] = []
        self.energies: list[float] = []

    def predict(self, atoms: Atoms) -> Prediction:
        """As the model itself."""
        prediction = super().predict(atoms)
        self.clock.append(time.process_time())
        self.energies.append(prediction.energy)
        return prediction


def our_steps(folder: Path, name: str, sizes: list[int]) -> dict[str, Any]:
    """Time per step, energies and memory of one of our models, by size; in this process."""
    results = {}
    for n_atoms in sizes:
        n_steps = STEPS[n_atoms]
        model = ClockedModel(DeepPotential.load(folder / f"{name}.pt"))
        task = ExplorationTask(
            atoms=structure(n_atoms),
            models=(folder / f"{name}.pt",),
            ensemble=Ensemble.NVE,
            temperature=TEMPERATURE,
            n_steps=WARM_UP + SEGMENTS * n_steps,
            stride=WARM_UP + SEGMENTS * n_steps,
            seed=SEED,
            restart_stride=0,
        )
        with tempfile.TemporaryDirectory() as directory:
            end = integrate(task, model, Path(directory))
        if end.reason is not EndReason.COMPLETED:
            raise AlpwError(f"{name}, {n_atoms} atoms: {end.reason.value}, {end.message}")
        results[str(n_atoms)] = {
            "ms": 1e3 * float(np.diff(model.clock[WARM_UP::n_steps]).min()) / n_steps,
            "energies": [model.energies[0], model.energies[-1]],
            "memory": peak_memory(),
        }
    return results


LAMMPS_INPUT = """units metal
atom_style atomic
atom_modify sort 0 0.0
read_data {data}
pair_style deepmd {model}
pair_coeff * *
neighbor 1.0 bin
neigh_modify every 1 delay 10 check yes
velocity all create {temperature!r} {seed} mom yes rot no dist gaussian
fix integrate all nve
timestep 0.001
thermo_style custom step pe
thermo_modify norm no format float %.12g
thermo {total}
run {warm_up}
"""


def their_steps(folder: Path, file: str, n_atoms: int, python: Path) -> dict[str, Any]:
    """The same of `pair_style deepmd`: LAMMPS itself, without a Python around it."""
    data = folder / f"{n_atoms}.data"
    write(data, structure(n_atoms), format="lammps-data", specorder=["Si"], masses=True)
    text = LAMMPS_INPUT.format(
        data=data.name,
        model=file,
        temperature=TEMPERATURE,
        seed=SEED % 900_000_000 + 1,
        warm_up=WARM_UP,
        total=WARM_UP + SEGMENTS * STEPS[n_atoms],
    )
    (folder / "in.lammps").write_text(text + f"run {STEPS[n_atoms]}\n" * SEGMENTS)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    libraries = f"{python.parent.parent}/lib:{site}/tensorflow:{site}/deepmd/lib"
    environment = one_thread() | {
        "LD_LIBRARY_PATH": libraries,
        "LAMMPS_PLUGIN_PATH": f"{site}/deepmd/lib",
    }
    log = folder / "screen"
    with log.open("w") as screen:
        process = subprocess.Popen(
            [f"{site}/lammps/lmp", "-in", "in.lammps", "-log", "none"],
            cwd=folder,
            env=environment,
            stdout=screen,
            stderr=subprocess.STDOUT,
        )
        memory = 0.0
        while process.poll() is None:
            memory = max(memory, peak_memory(process.pid))
            time.sleep(0.02)
    said = log.read_text()
    if process.returncode:
        raise AlpwError(f"LAMMPS failed on {file}:\n{said[-2000:]}")
    seconds = np.array(re.findall(r"Loop time of (\S+)", said), dtype=float)
    share = np.array(re.findall(r"([\d.]+)% CPU use", said), dtype=float) / 100
    energies = [float(value) for value in re.findall(r"^ +\d+ +(-?[\d.]+(?:e[+-]\d+)?)$", said, re.M)]
    return {
        "ms": 1e3 * float((seconds * share)[1:].min()) / STEPS[n_atoms],
        "energies": [energies[0], energies[-1]],
        "memory": memory,
    }


def compare(quick: bool, python: Path) -> dict[str, Any]:
    """Every engine at every size; the best of the rounds."""
    sizes, rounds = ([64, 512], 1) if quick else (list(STEPS), 3)
    runs: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_models(folder, python)
        for _ in range(rounds):
            for variant in OURS:
                arguments = ["--ours", variant, "--folder", name, "--sizes", *map(str, sizes)]
                found = run_python(Path(__file__), arguments)
                runs.setdefault(f"alpw {variant}", []).append(found)
            for variant, file in THEIRS.items():
                found = {str(n): their_steps(folder, file, n, python) for n in sizes}
                runs.setdefault(f"deepmd-kit {variant}", []).append(found)
    return {str(n_atoms): _table(runs, str(n_atoms)) for n_atoms in sizes}


def _table(runs: dict[str, list[dict[str, Any]]], size: str) -> dict[str, Any]:
    ms = {engine: min(found[size]["ms"] for found in rounds) for engine, rounds in runs.items()}
    last = {engine: rounds[0][size] for engine, rounds in runs.items()}
    ours, theirs = (np.array(last[f"{name} plain"]["energies"]) for name in ("alpw", "deepmd-kit"))
    tables = np.array(last["alpw compressed"]["energies"])
    return {
        "cpu_ms_per_step": ms,
        "peak_memory_gb": {engine: found["memory"] for engine, found in last.items()},
        "plain_over_deepmd": ms["alpw plain"] / ms["deepmd-kit plain"],
        "compressed_over_deepmd": ms["alpw compressed"] / ms["deepmd-kit compressed"],
        "gain_by_compression": ms["alpw plain"] / ms["alpw compressed"],
        "gain_by_compression_of_deepmd": ms["deepmd-kit plain"] / ms["deepmd-kit compressed"],
        "energy_difference_ev_per_atom": (np.abs(ours - theirs) / int(size)).tolist(),
        "energy_change_by_compression_ev_per_atom": (np.abs(ours - tables) / int(size)).tolist(),
    }


def report(result: dict[str, Any]) -> None:
    """The comparison for people."""
    for size, table in result.items():
        print(f"{size} atoms")
        for engine, ms in table["cpu_ms_per_step"].items():
            memory = table["peak_memory_gb"][engine]
            print(f"  {engine:26s} {ms:8.2f} ms of CPU time per step, peak memory {memory:.2f} GB")
        print(f"  ours / deepmd-kit's: plain {table['plain_over_deepmd']:.2f}", end="")
        print(f", compressed {table['compressed_over_deepmd']:.2f}")
        print(f"  plain / compressed: ours {table['gain_by_compression']:.2f}", end="")
        print(f", deepmd-kit's {table['gain_by_compression_of_deepmd']:.2f}")
        first, last = table["energy_difference_ev_per_atom"]
        print(f"  energy, ours - deepmd-kit's: {first:.1e} eV/atom at first, {last:.1e} at last")


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--deepmd-python", type=Path, default=DEEPMD_PYTHON)
    parser.add_argument("--ours", choices=OURS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        print(json.dumps(our_steps(arguments.folder, arguments.ours, arguments.sizes)))
        return
    result = compare(arguments.quick, arguments.deepmd_python)
    print(json.dumps(result)) if arguments.json else report(result)


if __name__ == "__main__":
    main()
