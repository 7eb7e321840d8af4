"""Input files like those that the predecessor ships, in a folder of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import pytest
from ase.build import bulk

from alpw.config import Param, load_param
from alpw.structures.atom_config import write_atom_config

Edit = Callable[[dict[str, Any]], None]


def md(**changes: Any) -> dict[str, Any]:
    """The molecular dynamics block of the predecessor's silicon examples."""
    block = {
        "sys_idx": [0, 1],
        "select_sys": [50, 50],
        "ensemble": "nvt",
        "nsteps": 1000,
        "md_dt": 0.002,
        "trj_freq": 10,
        "temps": [500, 800],
        "taut": 0.1,
        "taup": 0.5,
        "press": [1.0],
        "boundary": True,
        "merge_traj": False,
    }
    return {**block, **changes}


@pytest.fixture
def silicon() -> dict[str, Any]:
    """A small valid param.json."""
    return {
        "initial": {"perturb": 4},
        "train": {"atom_type": ["Si"]},
        "strategy": {"lower_model_devi_f": 0.1, "upper_model_devi_f": 0.2},
        "explore": {
            "sys_configs": ["POSCAR"],
            "md_jobs": [[{"sys_idx": [0], "nsteps": 100, "temps": [300]}]],
        },
        "dft": {"dft_style": "xtb"},
    }


@pytest.fixture
def si_pwmat() -> dict[str, Any]:
    """Like si_pwmat: all training keys inline, perturbed atom.config files, labels by PWmat."""
    return {
        "record_file": "si.al",
        "reserve_work": True,
        "init_data": ["init_bulk/collection/init_config_0/PWdata"],
        "train": {
            "model_type": "DP",
            "atom_type": [14],
            "max_neigh_num": 100,
            "seed": 2023,
            "model": {
                "descriptor": {"Rmax": 6.5, "Rmin": 0.6, "M2": 12, "network_size": [25, 25, 25]},
                "fitting_net": {"network_size": [50, 50, 50, 1]},
            },
            "optimizer": {
                "optimizer": "LKF",
                "epochs": 30,
                "batch_size": 4,
                "print_freq": 10,
                "block_size": 5120,
                "kalman_lambda": 0.98,
                "kalman_nue": 0.9987,
                "train_energy": True,
                "train_force": True,
                "train_ei": False,
                "train_virial": False,
                "train_egroup": False,
                "pre_fac_force": 2.0,
                "pre_fac_etot": 1.0,
            },
        },
        "strategy": {
            "uncertainty": "committee",
            "lower_model_deiv_f": 0.05,
            "upper_model_deiv_f": 0.2,
            "model_num": 4,
            "max_select": 30,
            "md_type": 2,
            "compress": False,
            "Compress_order": 3,
            "Compress_dx": 0.01,
        },
        "explore": {
            "sys_config_prefix": "init_bulk/collection/init_config_0/relax_pertub",
            "sys_configs": [{"config": f"{k}_pertub.config", "format": "pwmat/config"} for k in range(1, 7)],
            "md_jobs": [[md(sys_idx=[0, 1, 3], select_sys=[30, 20, 10])], [md()]],
        },
        "dft": {
            "dft_style": "pwmat",
            "input": "scf_etot.input",
            "kspacing": 0.3,
            "flag_symm": 0,
            "pseudo": ["Si.SG15.PBE.UPF"],
        },
    }


@pytest.fixture
def auag() -> dict[str, Any]:
    """Like the AuAg examples: a NEP model, LAMMPS templates, start structures by shell patterns."""
    return {
        "init_data": ["init_bulk/collection/init_config_0/PWdata"],
        "data_format": "pwmlff/npy",
        "use_pre_model": True,
        "train": {"model_type": "NEP", "atom_type": [47, 79]},
        "strategy": {
            "lower_model_devi_f": 0.15,
            "upper_model_devi_f": 0.25,
            "max_select": 2,
            "lmps_tolerance": True,
        },
        "explore": {
            "sys_configs": [
                {"config": "init_bulk/collection/init_config_0/*_pertub/*", "format": "pwmat/config"}
            ],
            "lmps_in": ["in0.lammps"],
            "md_jobs": [
                [{"sys_idx": [0], "lmps_in_idx": [0], "trj_freq": 5}],
                [
                    md(
                        sys_idx=[0],
                        select_sys=2,
                        ensemble="npt",
                        press=[100, 200],
                        temps=[500, 700],
                        nsteps=4000,
                    )
                ],
            ],
        },
        "dft": {"dft_style": "vasp", "input": "INCAR", "pseudo": ["POTCAR"]},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A campaign's folder with the files that the inputs above name."""
    folder = tmp_path / "campaign_1"
    perturbed = folder / "init_bulk/collection/init_config_0/relax_pertub"
    perturbed.mkdir(parents=True)
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    ase.io.write(folder / "POSCAR", atoms, format="vasp")
    for k in range(1, 7):
        write_atom_config(perturbed / f"{k}_pertub.config", atoms)
    data = folder / "init_bulk/collection/init_config_0/PWdata/train"
    data.mkdir(parents=True)
    (data / "image_type.npy").touch()
    for name in ("scf_etot.input", "Si.SG15.PBE.UPF", "INCAR", "POTCAR", "cp2k.inp", "BASIS"):
        (folder / name).touch()
    return folder


@pytest.fixture
def read(folder: Path) -> Callable[[dict[str, Any]], Param]:
    """Writes a param.json into the folder and loads it."""

    def write_and_load(content: dict[str, Any]) -> Param:
        (folder / "param.json").write_text(json.dumps(content))
        return load_param(folder / "param.json")

    return write_and_load
