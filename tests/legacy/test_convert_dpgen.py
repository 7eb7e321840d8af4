"""Input files of DP-GEN become ours: every key told, units and meaning kept, read without an error."""

import copy
import json

import pytest
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.config import load_inputs
from alpw.config.flags import take_flags
from alpw.legacy.convert import convert, write
from alpw.legacy.notes import Fate, source_keys
from alpw.trainers.deepmd_input import read_users_input
from tests.legacy.samples import DPGEN, MACHINE, TRAINING, dpgen


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return dpgen(tmp_path_factory.mktemp("dpgen") / "run")


@pytest.fixture(scope="module")
def made(source):
    made = convert([source / "param.json", source / "machine.json"], source / "alpw")
    assert made.errors == []
    write(made, source / "alpw")
    return made


@pytest.fixture(scope="module")
def loaded(source, made):
    return load_inputs(source / "alpw/param.json", source / "alpw/resource.json")


def test_every_key_of_the_source_is_noted_and_no_other(made):
    for name, raw in (("param.json", DPGEN), ("machine.json", MACHINE)):
        noted = {note.key for note in made.notes if note.file == name}
        assert noted == set(source_keys(raw))
    assert {"model_devi_jobs.temps", "default_training_param.model.descriptor.sel"} <= {
        note.key for note in made.notes
    }
    # Notes show no values.
    assert "hunter2" not in repr(made.notes) + json.dumps(made.files)


def test_jobs_keep_their_units_and_meaning(loaded):
    param, _ = loaded
    (first,), (of_sic, of_si) = param.explore.md_jobs
    assert (first.ensemble, first.temps, first.press) == ("npt-iso", [300, 600], [1.0, 10000.0])
    # Picoseconds on both sides, and so many steps.
    assert (first.md_dt, first.nsteps, first.trj_freq, first.taut) == (0.002, 1000, 10, 0.1)
    assert (of_si.taut, of_si.mass) == (0.2, {"C": 12.011, "Si": 28.085})
    # System 1 has two patterns, and with it two entries; its upper threshold is another one.
    assert (first.sys_idx, of_sic.sys_idx, of_si.sys_idx) == ([0], [0], [1, 2])
    wanted = {entry: param.thresholds(entry, of_si) for entry in of_si.sys_idx}
    assert {(t["lower_model_devi_f"], t["upper_model_devi_f"]) for t in wanted.values()} == {(0.08, 0.4)}
    assert param.thresholds(0, of_sic)["upper_model_devi_f"] == 0.25
    assert [len(entry.files) for entry in param.explore.sys_configs] == [2, 1, 1]


def test_labels_committee_and_training_are_what_they_were(source, loaded):
    param, resource = loaded
    strategy = param.strategy
    assert (strategy.model_num, strategy.max_select, strategy.max_select_total) == (4, 20, 40)
    assert (strategy.max_failed_ratio, param.reserve_md_traj, param.train.use_pre_model) == (
        0.2,
        False,
        False,
    )
    assert strategy.lower_model_devi_v is None
    assert [path.name for path in param.dft.pseudo] == ["POTCAR_C", "POTCAR_Si"]
    assert param.dft.input == source / "vasp/INCAR" and param.init_data == [source / "data/init"]
    kept = read_users_input(param.train.deepmd_input, ["C", "Si"])
    # deepmd-kit 1 called the number of steps stop_batch.
    assert kept["training"] == {"numb_steps": 20000, "save_freq": 1000, "training_data": {"batch_size": 8}}
    assert kept["learning_rate"] == TRAINING["learning_rate"] and kept["loss"] == TRAINING["loss"]
    assert resource.train.command == "dp" and resource.train.env_list == ["export OMP_NUM_THREADS=4"]
    assert resource.train.module_list == ["module purge", "cuda/12"]
    # 0 is dpdispatcher's word for all tasks in one job, and Shell has no partition.
    assert (resource.explore.group_size, resource.explore.queue_name) == (-1, None)
    assert (resource.dft.command, resource.dft.queue_name) == ("srun -n 16 vasp_std", "cpu")
    assert resource.dft.exclude_nodes == "n1,n7"


def test_its_training_can_be_translated_for_our_own(source):
    made = convert([source / "param.json"], source / "alpw", trainer="alpw")
    assert made.errors == [] and {note.key for note in made.notes} == set(source_keys(DPGEN))
    train = made.files["param.json"]["train"]
    assert train["descriptor"] == {
        "sel": [20, 40],
        "rcut_smth": 0.5,
        "rcut": 5.0,
        "neuron": [10, 20, 40],
        "axis_neuron": 4,
        "resnet_dt": False,
    }
    optimizer = train["optimizer"]
    assert (optimizer["steps"], optimizer["batch_size"], optimizer["train_virial"]) == (20000, 8, False)
    assert (optimizer["start_pre_fac_etot"], optimizer["end_pre_fac_etot"]) == (0.02, 2)
    # deepmd-kit 1: the rate falls by 0.95 every 1000 of 20000 steps.
    assert optimizer["stop_lr"] == pytest.approx(1e-3 * 0.95**20)


def test_a_code_that_labels_nothing_here_is_told_and_nothing_is_written(source, tmp_path):
    param = copy.deepcopy(DPGEN) | {"fp_style": "abacus", "fp_orb_files": ["Si.orb"]}
    file = source / "abacus.json"
    file.write_text(json.dumps(param))
    made = convert([file], tmp_path)
    assert any(error.key == "dft.dft_style" for error in made.errors)
    (note,) = [note for note in made.notes if note.key == "fp_style"]
    assert note.fate is Fate.ABSENT and "vasp" in note.todo
    done = CliRunner().invoke(app, ["convert-input", str(file), "-o", str(tmp_path / "new")])
    assert done.exit_code == 2 and "dft.dft_style: required key is missing" in done.stderr
    assert "fp_orb_files" in done.stdout and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("lines", "block"),
    [
        # What `man sbatch` says of times.
        (["#SBATCH --time=23:0:0"], {"walltime": "23:00:00"}),
        (["-t 90"], {"walltime": "01:30:00"}),
        (["-t90:30"], {"walltime": "01:30:30"}),
        (["--time 2-12"], {"walltime": "2-12:00:00"}),
        (["--time=1-0:30"], {"walltime": "1-00:30:00"}),
        (["--mem=4gb --exclusive", "-J x"], {"memory": "4G", "custom_flags": ["--exclusive"]}),
        (["--gres=gpu:a100:2", "-x n1"], {"gpu_per_node": 2, "gpu_type": "a100", "exclude_nodes": "n1"}),
        (["--time=UNLIMITED"], {"custom_flags": ["--time=UNLIMITED"]}),
    ],
)
def test_flags_become_the_keys_that_say_the_same(lines, block):
    taken = {"custom_flags": lines}
    take_flags(taken)
    assert taken == {"custom_flags": []} | block
