"""What deepmd-kit says about our models, and models that deepmd-kit makes: runs in its own environment.

``python deepmd_reference.py FOLDER``: every ``<name>.yaml`` there is converted with `dp convert-backend` and
evaluated on the structure that ``jobs.json`` names for it. Models of deepmd-kit's own are made from the
settings in ``jobs.json`` and evaluated too, by its NumPy reference as well. Some are read back from
TensorFlow as ``<name>.back.yaml``. Numbers go to ``results.npz``.
"""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
from deepmd.dpmodel.model.base_model import BaseModel
from deepmd.dpmodel.model.model import get_model
from deepmd.dpmodel.utils.serialization import load_dp_model, save_dp_model
from deepmd.entrypoints.convert_backend import convert_backend
from deepmd.infer import DeepPot


def make(file: Path, settings: dict, davg: float) -> None:
    """A model with random weights, scale and energies, as training would leave it behind."""
    rng = np.random.default_rng(5)
    data = get_model(json.loads(json.dumps(settings))).serialize()
    n_types = len(settings["type_map"])
    scale = rng.uniform(0.1, 0.4, size=(n_types, 1, 2))[:, :, [0, 1, 1, 1]]
    statistics = data["descriptor"]["@variables"]
    statistics["dstd"] = np.broadcast_to(scale, statistics["dstd"].shape).copy()
    statistics["davg"][:, :, 0] = davg
    data["fitting"]["@variables"]["bias_atom_e"] = rng.uniform(-9, -8, size=(n_types, 1))
    data["@variables"]["out_bias"] = rng.uniform(-3, -2, size=(1, n_types, 1))
    data["@variables"]["out_std"] = np.full((1, n_types, 1), 1.3)
    save_dp_model(str(file), {"model": data, "model_def_script": settings, "backend": "DPModel"})


def main(folder: Path) -> None:
    jobs = json.loads((folder / "jobs.json").read_text())
    structures = np.load(folder / "structures.npz")
    results = {}
    for name, made in jobs["made"].items():
        make(folder / f"{name}.yaml", made["settings"], made["davg"])
    for name, system in jobs["evaluated"].items():
        frozen = str(folder / f"{name}.pb")
        convert_backend(INPUT=str(folder / f"{name}.yaml"), OUTPUT=frozen)
        positions, cell, types = (structures[f"{system}.{what}"] for what in ("positions", "cell", "types"))
        energy, forces, virial = DeepPot(frozen).eval(positions[None], cell[None], types)
        results |= {f"{name}.energy": energy[0, 0], f"{name}.forces": forces[0]}
        results[f"{name}.virial"] = virial.reshape(3, 3)
        if name in jobs["made"]:
            model = BaseModel.deserialize(load_dp_model(str(folder / f"{name}.yaml"))["model"])
            numpy = model(positions[None], types[None], cell.reshape(1, 9))
            results[f"{name}.numpy"] = numpy["energy"][0, 0]
    # With our bridge: deepmd-kit's own writer of YAML stumbles over the NumPy integers of `dpa1`.
    bridge = runpy.run_path(jobs["bridge"])["main"]
    for name in jobs["read_back"]:
        bridge("read", str(folder / f"{name}.pb"), str(folder / f"{name}.back.yaml"))
    np.savez(folder / "results.npz", **results)


main(Path(sys.argv[1]))
