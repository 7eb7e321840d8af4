"""The stand-in's commands: train, compress, script, test, kpu.

Environment: ``MATPL_FAULT`` is one of

- ``nan``: the errors become NaN half way, the status is 0
- ``no_checkpoint``: everything but the checkpoint is written
- ``cut``: the training ends half way, the status is 0
- ``status``: everything is well, but the status is 1
- ``no_p``: P is not in the checkpoint, whatever was asked
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
from ase import Atoms

from matpl.regression import Regression

STORE, CHECKPOINT = "model_record", "dp_model.ckpt"


def main(program: str, arguments: list[str]) -> int:
    """Run ``PWMLFF`` or ``MatPL`` with its arguments; the status."""
    commands = {"train": train, "compress": compress, "script": script, "test": test, "kpu": kpu}
    return commands[arguments[0].lower()](program, arguments[1:])


def read_frames(folders: list[str], part: str) -> list[tuple[Atoms, float, np.ndarray]]:
    """Frames of PWdata folders, of their subfolder ``part`` where they have one."""
    frames = []
    for name in folders:
        folder = Path(name) / part if (Path(name) / "train").is_dir() else Path(name)
        if not (folder / "image_type.npy").is_file():
            continue
        names = ("lattice", "position", "energies", "forces")
        arrays = {key: np.load(folder / f"{key}.npy") for key in names}
        numbers = np.load(folder / "image_type.npy")[0]
        assert np.load(folder / "atom_type.npy").shape == (1, len(set(numbers.tolist())))
        for k in range(len(arrays["energies"])):
            atoms = Atoms(numbers, cell=arrays["lattice"][k].reshape(3, 3), pbc=True)
            atoms.set_scaled_positions(arrays["position"][k].reshape(-1, 3))
            frames.append((atoms, float(arrays["energies"][k, 0]), arrays["forces"][k].reshape(-1, 3)))
    return frames


def data_of(content: dict, program: str, part: str) -> list[tuple[Atoms, float, np.ndarray]]:
    """What each generation reads: ``datasets_path``, or ``train_data`` and ``valid_data``."""
    if program == "PWMLFF":
        return read_frames(content["datasets_path"], part)
    assert content["format"] == "pwmlff/npy"
    return read_frames(content[f"{part}_data"], part)


def train(program: str, arguments: list[str]) -> int:
    fault = os.environ.get("MATPL_FAULT")
    content = json.loads(Path(arguments[0]).read_text())
    assert content["model_type"] == "DP" and content["model_num"] == 1
    assert content["model"]["fitting_net"]["network_size"][-1] == 1
    frames, valid = data_of(content, program, "train"), data_of(content, program, "valid")
    model = Regression(content["atom_type"], content["model"]["descriptor"]["Rmax"])
    model.fit(frames, content["seed"])
    start = np.zeros_like(model.coefficients)
    if content.get("recover_train") and content.get("model_load_file"):
        start = load(Path(content["model_load_file"])).coefficients
        sys.stdout.write(f"start from {content['model_load_file']}\n")
    store = Path(content.get("model_store_dir", STORE))
    store.mkdir(exist_ok=True)
    Path("std_input.json").write_text(json.dumps({"chunk_size": 10, **content}))
    epochs, final = content["optimizer"]["epochs"], model.coefficients
    rows = {"train": [], "valid": []}
    for epoch in range(1, (epochs // 2 if fault == "cut" else epochs) + 1):
        model.coefficients = final + (start - final) * (0.3**epoch if epoch < epochs else 0.0)
        for part, members in (("train", frames), ("valid", valid)):
            if members:
                energy, force = model.errors(members)
                if fault == "nan" and epoch > epochs // 2:
                    energy = force = float("nan")
                rows[part].append((epoch, energy**2 + force**2, energy, force, 0.1 * epoch))
    for part, table in rows.items():
        if table:
            (store / f"epoch_{part}.dat").write_text(curve(program, table))
    if fault != "no_checkpoint":
        with_p = content.get("save_p_matrix", False) and fault != "no_p"
        save(store / content.get("model_name", CHECKPOINT), model, content, with_p)
    return 1 if fault == "status" else 0


def curve(program: str, rows: list[tuple[float, ...]]) -> str:
    names = {
        "PWMLFF": "epoch loss RMSE_Etot_per_atom RMSE_F time",
        "MatPL": "# epoch loss RMSE_Etot(eV/atom) RMSE_F(eV/Å) time(s)",
    }[program]
    lines = [f"{int(row[0]):5d} " + " ".join(f"{value:18.10e}" for value in row[1:]) for row in rows]
    return "\n".join([names, *lines]) + "\n"


def save(path: Path, model: Regression, content: dict, with_p: bool) -> None:
    """A checkpoint: torch's archive where P is in it, with lists for tensors: torch takes long to import."""
    if not with_p:
        path.write_text(json.dumps({"json_file": content, "model": model.to_json()}))
        return
    n = len(model.coefficients)
    covariance = [(np.eye(n) * 0.01).tolist()]
    state = {0: {"P": covariance, "kalman_lambda": 0.99, "weights_num": 1, "params_packed_index": [n]}}
    checkpoint = {
        "json_file": content,
        "epoch": content["optimizer"]["epochs"],
        "state_dict": model.to_json(),
        "optimizer": {"state": state, "param_groups": []},
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("dp_model/data.pkl", pickle.dumps(checkpoint, protocol=2))


def read(path: Path) -> dict:
    if not zipfile.is_zipfile(path):
        return json.loads(path.read_text())
    with zipfile.ZipFile(path) as archive:
        return pickle.loads(archive.read("dp_model/data.pkl"))


def load(path: Path) -> Regression:
    checkpoint = read(path)
    model = checkpoint.get("model") or checkpoint["state_dict"]
    return Regression(model["numbers"], model["rcut"], model["coefficients"])


def compress(program: str, arguments: list[str]) -> int:
    """Coefficients to as many digits as a table of spacing dx would give."""
    options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    assert int(options["-o"]) in (3, 5) and float(options["-d"]) > 0
    model = load(Path(arguments[0]))
    model.coefficients = np.round(model.coefficients, 8)
    Path(options["-s"]).write_text(json.dumps({"compress": options, "model": model.to_json()}))
    return 0


def script(program: str, arguments: list[str]) -> int:
    name = "torch_script_module.pt" if program == "PWMLFF" else "jit_dp.pt"
    folder = Path(arguments[1]) if len(arguments) > 1 else Path()
    (folder / name).write_text(json.dumps(load(Path(arguments[0])).to_json()))
    return 0


def test(program: str, arguments: list[str]) -> int:
    content = json.loads(Path(arguments[0]).read_text())
    key = "datasets_path" if program == "PWMLFF" else "test_data"
    frames, model = read_frames(content[key], "train"), load(Path(content["model_load_file"]))
    folder = Path(content.get("test_dir_name", "test_result"))
    folder.mkdir(exist_ok=True)
    found = [model.predict(atoms) for atoms, _, _ in frames]
    for name, energies, forces in (
        ("dft", [energy for _, energy, _ in frames], [forces for _, _, forces in frames]),
        ("inference", [energy for energy, _ in found], [forces for _, forces in found]),
    ):
        np.savetxt(folder / f"{name}_total_energy.txt", energies)
        np.savetxt(folder / f"{name}_force.txt", np.concatenate(forces))
    return 0


def kpu(program: str, arguments: list[str]) -> int:
    """h^T P h of force components of half of the atoms, with the indices of the atoms among the numbers."""
    from ase.io import read as read_structure

    where = {name: k for k, name in enumerate(arguments) if name.startswith("-")}
    option = {name: arguments[k + 1] for name, k in where.items()}
    covariance = np.array(read(Path(option["-m"]))["optimizer"]["state"][0]["P"][0])
    model, lines = load(Path(option["-m"])), ["step etot_kpu f_kpu_mean f_kpu_max f_kpu_min"]
    for file in sorted(Path(option["-c"]).iterdir(), key=lambda path: int(path.name.split(".")[0])):
        atoms = read_structure(file, format="lammps-dump-text")
        rows = model.design(atoms)
        chosen = np.random.default_rng(2024).permutation(len(atoms))[: len(atoms) // 2]
        values = np.einsum("ia,ab,ib->i", rows[1:], covariance, rows[1:]).reshape(-1, 3)[chosen]
        table = np.column_stack([chosen, values])
        energy = float(rows[0] @ covariance @ rows[0]) / len(atoms) ** 4
        numbers = (energy, table.mean(), table.max(), table.min())
        lines.append(f"{int(file.name.split('.')[0]):10d} " + " ".join(f"{x:15.2f}" for x in numbers))
    Path(option["-s"]).write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main("MatPL", sys.argv[1:]))
