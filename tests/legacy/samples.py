"""Directories as DP-GEN and PWact leave them, with frames of our own; small, and complete in what is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk

from alpw.formats.deepmd import write_deepmd
from alpw.formats.extxyz import write_extxyz
from alpw.formats.pwdata import write_pwdata
from alpw.structures.atom_config import write_atom_config
from alpw.structures.frame import Label, LabelledFrame

TRAINING: dict[str, Any] = {
    "_comment": "as deepmd-kit 2 takes it",
    "model": {
        "type_map": ["C", "Si"],
        "descriptor": {
            "type": "se_e2_a",
            "sel": [20, 40],
            "rcut_smth": 0.5,
            "rcut": 5.0,
            "neuron": [10, 20, 40],
            "axis_neuron": 4,
            "resnet_dt": False,
            "seed": 0,
        },
        "fitting_net": {"neuron": [40, 40], "resnet_dt": True, "seed": 1},
    },
    "learning_rate": {"type": "exp", "start_lr": 0.001, "decay_rate": 0.95, "decay_steps": 1000},
    "loss": {
        "start_pref_e": 0.02,
        "limit_pref_e": 2,
        "start_pref_f": 1000,
        "limit_pref_f": 1,
        "start_pref_v": 0.0,
        "limit_pref_v": 0.0,
    },
    "training": {"stop_batch": 20000, "disp_file": "lcurve.out", "disp_freq": 1000, "save_freq": 1000},
}

DPGEN: dict[str, Any] = {
    "type_map": ["C", "Si"],
    "mass_map": [12.011, 28.085],
    "_comment": "made for a test",
    "init_data_prefix": "data",
    "init_data_sys": ["init"],
    "init_batch_size": [8],
    "sys_configs_prefix": "structures",
    "sys_configs": [["sic/*/POSCAR"], ["si.POSCAR", "si_strained.POSCAR"]],
    "sys_batch_size": [8, 8],
    "numb_models": 4,
    "training_init_model": False,
    "training_reuse_iter": None,
    "default_training_param": TRAINING,
    "dp_compress": False,
    "model_devi_dt": 0.002,
    "model_devi_skip": 0,
    "model_devi_f_trust_lo": [0.05, 0.08],
    "model_devi_f_trust_hi": 0.25,
    "model_devi_v_trust_lo": 1e10,
    "model_devi_clean_traj": True,
    "model_devi_jobs": [
        {
            "sys_idx": [0],
            "temps": [300, 600],
            "press": [1.0, 10000.0],
            "trj_freq": 10,
            "nsteps": 1000,
            "ensemble": "npt",
            "_idx": "00",
        },
        {
            "sys_idx": [0, 1],
            "temps": [900],
            "trj_freq": 20,
            "nsteps": 4000,
            "ensemble": "nvt",
            "taut": 0.2,
            "model_devi_f_trust_hi": {"0": 0.25, "1": 0.4},
        },
    ],
    "fp_style": "vasp",
    "shuffle_poscar": False,
    "fp_task_max": 20,
    "fp_task_min": 5,
    "fp_accurate_threshold": 0.99,
    "fp_pp_path": "vasp",
    "fp_pp_files": ["POTCAR_C", "POTCAR_Si"],
    "fp_incar": "vasp/INCAR",
    "ratio_failed": 0.2,
    "fp_skip_bad_box": "length_ratio:5;height_ratio:5",
    "a_key_of_my_own": 1,
}

MACHINE: dict[str, Any] = {
    "api_version": "1.0",
    "deepmd_version": "2.1.5",
    "train": [
        {
            "command": "dp",
            "machine": {
                "batch_type": "Slurm",
                "context_type": "SSHContext",
                "local_root": "./",
                "remote_root": "/scratch/me",
                "remote_profile": {
                    "hostname": "cluster.example.org",
                    "username": "me",
                    "password": "hunter2",
                },
            },
            "resources": {
                "number_node": 1,
                "cpu_per_node": 4,
                "gpu_per_node": 1,
                "queue_name": "gpu",
                "group_size": 1,
                "custom_flags": ["#SBATCH --time=23:0:0"],
                "source_list": ["/opt/deepmd/env.sh"],
                "module_list": ["cuda/12"],
                "module_purge": True,
                "envs": {"OMP_NUM_THREADS": 4},
                "strategy": {"if_cuda_multi_devices": False},
            },
        }
    ],
    "model_devi": {
        "command": "lmp -i input.lammps -v restart 0",
        "machine": {"batch_type": "Shell", "context_type": "LocalContext", "local_root": "./"},
        "resources": {"number_node": 1, "cpu_per_node": 1, "queue_name": "none", "group_size": 0},
    },
    "fp": [
        {
            "command": "srun -n 16 vasp_std",
            "machine": {"batch_type": "Slurm", "context_type": "LazyLocalContext"},
            "resources": {
                "number_node": 1,
                "cpu_per_node": 16,
                "queue_name": "cpu",
                "exclude_list": ["n1", "n7"],
                "group_size": 5,
                "para_deg": 1,
                "wait_time": 0,
            },
        },
        {
            "command": "vasp_gam",
            "machine": {"batch_type": "PBS"},
            "resources": {"queue_name": "old", "group_size": 1},
        },
    ],
}


def frames(n: int, seed: int, *, carbide: bool = True) -> list[LabelledFrame]:
    """Rattled cells of SiC or silicon with numbers for labels; the same for the same seed."""
    random = np.random.default_rng(seed)
    perfect = bulk("SiC", "zincblende", a=4.36, cubic=True) if carbide else bulk("Si", cubic=True)
    found = []
    for _ in range(n):
        atoms = perfect.copy()
        atoms.positions += random.normal(0, 0.05, atoms.positions.shape)
        forces = random.normal(0, 1, atoms.positions.shape)
        virial = random.normal(0, 1, (3, 3))
        label = Label(float(random.normal(-60, 0.1)), forces - forces.mean(axis=0), virial + virial.T)
        found.append(LabelledFrame(atoms, label))
    return found


def _structures(folder: Path) -> None:
    for number in range(2):
        target = folder / "structures/sic" / f"{number:06d}" / "POSCAR"
        target.parent.mkdir(parents=True)
        bulk("SiC", "zincblende", a=4.3 + 0.1 * number, cubic=True).write(target, format="vasp", direct=True)
    for name, a in (("si", 5.43), ("si_strained", 5.5)):
        path = folder / f"structures/{name}.POSCAR"
        bulk("Si", a=a, cubic=True).write(path, format="vasp", direct=True)


def dpgen(folder: Path) -> Path:
    """A campaign of DP-GEN that has done its two iterations and the last training; returns the folder.

    System 1 of iteration 1 has three tasks and two labels; the report files of iteration 1 are not there,
    its counts stand in dpgen.log only.
    """
    folder.mkdir(parents=True)
    (folder / "param.json").write_text(json.dumps(DPGEN))
    (folder / "machine.json").write_text(json.dumps(MACHINE))
    _structures(folder)
    (folder / "vasp").mkdir()
    (folder / "vasp/INCAR").write_text("ENCUT = 500\nKSPACING = 0.3\n")
    for symbol in ("C", "Si"):
        (folder / f"vasp/POTCAR_{symbol}").write_text(f"  PAW_PBE {symbol} 01Jan2000\n")
    write_deepmd(folder / "data/init/sys.a", frames(3, 1))
    labels = {(0, 0): frames(2, 2), (1, 0): frames(2, 3), (1, 1): frames(2, 4, carbide=False)}
    tasks = {(0, 0): 2, (1, 0): 2, (1, 1): 3}
    for (index, system), labelled in labels.items():
        place = folder / f"iter.{index:06d}"
        target = place / f"02.fp/data.{system:03d}"
        (made,) = write_deepmd(place / "02.fp/tmp", labelled)
        made.rename(target)
        made.parent.rmdir()
        temps = DPGEN["model_devi_jobs"][index]["temps"]
        for number in range(tasks[index, system]):
            run = f"task.{system:03d}.{number:06d}"
            explored = place / "01.model_devi" / run
            explored.mkdir(parents=True)
            temperature = temps[number % len(temps)]
            (explored / "job.json").write_text(json.dumps({"temps": temperature, "press": 1.0}))
            task = place / "02.fp" / run
            task.mkdir(parents=True)
            (task / "conf.dump").symlink_to(f"../../01.model_devi/{run}/traj/{10 * number}.lammpstrj")
    report = folder / "iter.000000/02.fp"
    for name, count in (("candidate", 5), ("rest_accurate", 12), ("rest_failed", 3)):
        lines = [f"iter.000000/01.model_devi/task.000.000000 {10 * k}\n" for k in range(count)]
        (report / f"{name}.shuffled.000.out").write_text("".join(lines))
    (folder / "iter.000001/02.fp/data.hdf5").write_bytes(b"of another program")
    (folder / "dpgen.log").write_text(
        "2024-01-01 10:00:00,000 - INFO : -------------------------iter.000001 task 06-----------\n"
        "2024-01-01 10:00:01,000 - INFO : system 000 candidate :      4 in     50   8.00 %\n"
        "2024-01-01 10:00:01,000 - INFO : system 000 failed    :      1 in     50   2.00 %\n"
        "2024-01-01 10:00:01,000 - INFO : system 000 accurate  :     45 in     50  90.00 %\n"
        "2024-01-01 10:00:02,000 - INFO : system 001 candidate :     10 in     20  50.00 %\n"
        "2024-01-01 10:00:02,000 - INFO : system 001 failed    :      0 in     20   0.00 %\n"
        "2024-01-01 10:00:02,000 - INFO : system 001 accurate  :     10 in     20  50.00 %\n"
    )
    (folder / "iter.000002/00.train/000").mkdir(parents=True)
    (folder / "iter.000002/00.train/graph.000.pb").write_bytes(b"frozen")
    stages = [(i, s) for i in range(2) for s in range(9)] + [(2, s) for s in range(3)]
    (folder / "record.dpgen").write_text("".join(f"{i} {s}\n" for i, s in stages))
    return folder


PWACT: dict[str, Any] = {
    "_about": "made for a test",
    "work_dir": "./",
    "record_file": "si.al",
    "reserve_work": False,
    "init_data": ["init/PWdata"],
    "train": {
        "model_type": "DP",
        "atom_type": [14],
        "max_neigh_num": 100,
        "seed": 2023,
        "model": {
            "descriptor": {"Rmax": 5.0, "Rmin": 0.5, "M2": 8, "network_size": [25, 25, 25]},
            "fitting_net": {"network_size": [30, 30, 1]},
        },
        "optimizer": {
            "optimizer": "LKF",
            "epochs": 30,
            "batch_size": 4,
            "print_freq": 10,
            "train_ei": False,
            "pre_fac_ei": 1.0,
        },
    },
    "strategy": {
        "uncertainty": "COMMITTEE",
        "model_num": 4,
        "lower_model_deiv_f": 0.1,
        "upper_model_deiv_f": 0.2,
        "max_select": 20,
        "md_type": 2,
        "Compress_dx": 0.01,
        "typo_of_mine": 1,
    },
    "explore": {
        "sys_config_prefix": "structures",
        "sys_configs": ["0.config", {"config": "1.poscar", "format": "vasp/poscar"}],
        "md_jobs": [
            [
                {"sys_idx": [0], "temps": [500, 800], "nsteps": 100, "md_dt": 0.002, "ensemble": "nvt"},
                {
                    "sys_idx": 1,
                    "temps": 300,
                    "nsteps": 100,
                    "ensemble": "npt-tri",
                    "press": 1.0,
                    "merge_traj": False,
                },
            ],
            {"sys_idx": [0, 1], "temps": [900], "nsteps": 100, "ensemble": "nvt"},
        ],
    },
    "dft": {"dft_style": "vasp", "input": ["INCAR"], "pseudo": ["Si_POTCAR"]},
}

PWACT_RESOURCE: dict[str, Any] = {
    "train": {"command": "PWMLFF", "queue_name": "gpu, old", "gpu_per_node": 1, "task_run_num": 1},
    "explore": {"command": "mpirun -np 1 lmp_mpi_gpu", "group_size": 2, "queue_name": "gpu"},
    "dft": {
        "command": "mpirun -np 12 vasp_std",
        "group_size": -1,
        "cpu_per_node": 12,
        "queue_name": "cpu",
        "env_list": ["ulimit -s unlimited"],
    },
}

PWACT_INIT: dict[str, Any] = {
    "train_valid_ratio": 0.8,
    "sys_configs": [{"config": "../structures/1.poscar", "relax": True, "perturb": 2, "aimd": False}],
    "dft_style": "VASP",
    "pseudo": ["../Si_POTCAR"],
    "relax_input": [{"input": "../INCAR"}],
    "direct_input": [],
}


def pwact(folder: Path, *, newer: bool = False) -> Path:
    """A campaign of PWact that was stopped in its second iteration; returns the folder.

    Args:
        folder: to make.
        newer: the layout of PWact since 2025, extxyz, or AL-PWMLFF's with PWdata of train and valid.
    """
    folder.mkdir(parents=True)
    (folder / "param.json").write_text(json.dumps(PWACT))
    (folder / "resource.json").write_text(json.dumps(PWACT_RESOURCE))
    (folder / "init_bulk").mkdir()
    (folder / "init_bulk/init_param.json").write_text(json.dumps(PWACT_INIT))
    (folder / "structures").mkdir()
    write_atom_config(folder / "structures/0.config", bulk("Si", cubic=True))
    bulk("Si", a=5.5, cubic=True).write(folder / "structures/1.poscar", format="vasp", direct=True)
    (folder / "INCAR").write_text("ENCUT = 500\n")
    (folder / "Si_POTCAR").write_text("  PAW_PBE Si 05Jan2001\n")
    write_pwdata(
        folder / "init/PWdata", frames(3, 11, carbide=False), frames(1, 12, carbide=False), merge=True
    )
    stages = ("00.train", "01.explore", "02.label") if newer else ("train", "explore", "label")
    first, second = folder / "iter.0000", folder / "iter.0001"
    select = first / stages[1] / "select"
    select.mkdir(parents=True)
    (select / "select_summary.txt").write_text(
        "Total structures 30    accurate 20 rate 66.67%    selected 8 rate 26.67%    error 2 rate 6.67%\n\n"
        "Select by model deviation force:\nAccurate configurations: 20, details in file accurate.csv\n"
    )
    result = first / stages[2] / "result"
    if newer:
        write_extxyz(_parent(result / "train.xyz"), frames(5, 13, carbide=False))
    else:
        for name, seed in (("md.000.sys.000.t.001", 13), ("md.001.sys.001.t.000.p.000", 14)):
            train, valid = frames(2, seed, carbide=False), frames(1, seed + 10, carbide=False)
            write_pwdata(result / name, train, valid, merge=True)
    (second / stages[0] / "train.000").mkdir(parents=True)
    record = folder / ("al.record" if newer else "si.al")
    record.write_text("0 0\n0 1\n0 2\n1 0\n")
    return folder


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    return path
