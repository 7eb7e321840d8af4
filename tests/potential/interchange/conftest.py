"""The structures and models that both programs are asked about, and deepmd-kit's answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from alpw.potential import DeepPotential, DeepPotentialConfig, Prediction
from alpw.potential.interchange import deepmd_bridge, export_model
from alpw.potential.interchange.deepmd_files import PYTHON_VARIABLE

RCUT = 4.0
ELEMENTS = {"silicon": ("Si",), "quaternary": ("Si", "Ge", "C", "O")}

# Name -> system and settings. Type vectors as long as the number of elements, or twice that, meet the skip
# connection of deepmd-kit's type embedding.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain-silicon": ("silicon", {"type_one_side": False}),
    "plain-one-side": ("quaternary", {"type_one_side": True, "embedding_resnet_dt": True}),
    "plain-two-side": ("quaternary", {"type_one_side": False, "neuron": (6, 12), "activation": "gelu"}),
    "learned-silicon": ("silicon", {"type_embedding": "learned", "tebd_dim": 2}),
    "learned-one-side": ("quaternary", {"type_embedding": "learned", "type_one_side": True, "tebd_dim": 8}),
    "learned-two-side": ("quaternary", {"type_embedding": "learned", "tebd_dim": 4}),
    "physical-one-side": ("quaternary", {"type_embedding": "physical", "type_one_side": True}),
    "physical-two-side": ("quaternary", {"type_embedding": "physical", "activation": "softplus"}),
}

# Those that deepmd-kit itself computes, at some seconds each: every network, either side, gaps in the tables.
EVALUATED = ["plain-silicon", "plain-one-side", "plain-two-side", "learned-one-side", "physical-two-side"]

_SE_A = {"type": "se_e2_a", "rcut": RCUT, "rcut_smth": 0.8, "neuron": [5, 10], "axis_neuron": 4, "seed": 1}
_DPA1 = {**_SE_A, "type": "dpa1", "sel": 48, "tebd_dim": 5, "attn_layer": 0, "precision": "float64"}
_DPA1 |= {"smooth_type_embedding": False}
_FITTING = {"type": "ener", "neuron": [12, 12, 12], "resnet_dt": True, "precision": "float64", "seed": 1}


def _made(elements: tuple[str, ...], descriptor: dict[str, Any], davg: float = 0.0) -> dict[str, Any]:
    settings = {"type_map": list(elements), "descriptor": descriptor, "fitting_net": _FITTING}
    return {"settings": settings, "davg": davg}


# Models that deepmd-kit makes. TensorFlow multiplies energies by their `out_std`, which the others ignore.
MADE = {
    "made-plain": _made(
        ELEMENTS["quaternary"],
        {**_SE_A, "sel": [16] * 4, "type_one_side": True, "resnet_dt": True, "precision": "float64"},
    ),
    "made-mean": _made(
        ELEMENTS["quaternary"],
        {**_SE_A, "sel": [20] * 4, "type_one_side": False, "precision": "float64"},
        0.4,
    ),
    "made-dpa1": _made(ELEMENTS["quaternary"], {**_DPA1, "use_tebd_bias": True, "type_one_side": False}),
}

# Models that TensorFlow writes out again.
READ_BACK = ["made-plain", "made-mean"]


def _quaternary() -> Atoms:
    """Eight atoms of four elements in a skewed cell whose heights are below the cutoff."""
    cell = [[5.9, 0.0, 0.0], [2.4, 3.1, 0.0], [-1.9, 0.8, 3.4]]
    atoms = Atoms("SiGeCOOSiGeC", cell=cell, pbc=True)
    scaled = np.stack(np.meshgrid([0.0, 0.5], [0.0, 0.5], [0.0, 0.5], indexing="ij"), -1).reshape(-1, 3)
    atoms.set_scaled_positions(scaled + np.random.default_rng(2).uniform(-0.06, 0.06, (8, 3)))
    return atoms


def _silicon() -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.15, seed=4)
    return atoms


STRUCTURES: dict[str, Callable[[], Atoms]] = {"silicon": _silicon, "quaternary": _quaternary}


@pytest.fixture(scope="session")
def structures() -> dict[str, Atoms]:
    return {name: build() for name, build in STRUCTURES.items()}


@pytest.fixture(scope="session")
def variants() -> dict[str, DeepPotential]:
    """Models with random weights, a visible scale per element, and energies in the hundreds."""
    return {name: make_variant(system, **settings) for name, (system, settings) in VARIANTS.items()}


def make_variant(system: str, **settings: Any) -> DeepPotential:
    elements = ELEMENTS[system]
    sel = 56 if settings.get("type_embedding") else (28,) if len(elements) == 1 else (14, 16, 15, 17)
    defaults: dict[str, Any] = {
        "elements": elements,
        "rcut": RCUT,
        "rcut_smth": 1.0,
        "neuron": (6, 12, 12),
        "axis_neuron": 5,
        "fitting_neuron": (14, 14, 14),
        "sel": sel,
        "seed": 7,
    }
    model = DeepPotential(DeepPotentialConfig(**{**defaults, **settings}))
    with torch.no_grad():
        for index in range(len(elements)):
            model.descriptor.dstd[index] = torch.tensor([0.3, 0.2, 0.2, 0.2]) * (1 + 0.1 * index)
            model.energy_bias[index] = -100.0 - 7 * index
    return model


@pytest.fixture(scope="session")
def deepmd_python() -> Path:
    """The Python of deepmd-kit's environment; tests that need it are skipped where there is none."""
    named = os.environ.get(PYTHON_VARIABLE)
    if named == "":
        pytest.skip("left out: make test DEEPMD=no")
    python = Path(named) if named else Path(__file__).parents[3] / ".venv-deepmd/bin/python"
    if not python.exists():
        pytest.skip(f"no deepmd-kit: {python} is missing; make test installs it")
    return python


@dataclass(frozen=True)
class Reference:
    """deepmd-kit's answers, and the folder where its models lie."""

    folder: Path
    results: dict[str, Any]

    def __call__(self, name: str) -> tuple[float, Any, Any]:
        """Energy in eV, forces in eV/Å and virial in eV of model ``name`` in the TensorFlow backend."""
        return tuple(self.results[f"{name}.{what}"] for what in ("energy", "forces", "virial"))


@pytest.fixture(scope="session")
def reference(
    deepmd_python: Path,
    variants: dict[str, DeepPotential],
    structures: dict[str, Atoms],
    tmp_path_factory: pytest.TempPathFactory,
) -> Reference:
    """All conversions and evaluations in one process of deepmd-kit, whose start takes longest."""
    folder = tmp_path_factory.mktemp("deepmd")
    for name in EVALUATED:
        # Larger neighbour tables than the model's own, for which the export has to make up.
        sel = None if name == "plain-two-side" else 20 if name.startswith("plain") else 64
        export_model(variants[name], "deepmd", folder / f"{name}.yaml", sel=sel)
    arrays = {}
    for name, atoms in structures.items():
        types = [ELEMENTS[name].index(symbol) for symbol in atoms.symbols]
        arrays |= {f"{name}.positions": atoms.positions, f"{name}.cell": atoms.cell.array}
        arrays[f"{name}.types"] = np.array(types)
    np.savez(folder / "structures.npz", **arrays)
    evaluated = {name: VARIANTS[name][0] for name in EVALUATED} | dict.fromkeys(MADE, "quaternary")
    jobs = {"made": MADE, "evaluated": evaluated, "read_back": READ_BACK}
    jobs["bridge"] = deepmd_bridge.__file__
    (folder / "jobs.json").write_text(json.dumps(jobs))
    script = Path(__file__).with_name("deepmd_reference.py")
    done = subprocess.run(
        [deepmd_python, script, folder], capture_output=True, text=True, timeout=500, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "results.npz") as results:
        return Reference(folder, dict(results))


def agrees(ours: Prediction, theirs: tuple[float, Any, Any]) -> float:
    """The largest deviation of energy, forces and virial, each relative to its own largest element."""
    pairs = zip((ours.energy, ours.forces, ours.virial), theirs, strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def first_step(log: str) -> tuple[float, float]:
    """Potential energy in eV and pressure in bar of step 0 in LAMMPS's table."""
    found = re.search(r"(?m)^\s+0\s+\S+\s+(\S+)\s+\S+\s+(\S+)", log)
    assert found, log
    return float(found[1]), float(found[2])


def in_bar(virial: np.ndarray, volume: float) -> float:
    return float(np.trace(virial) / 3 / volume) * 1.602176634e6
