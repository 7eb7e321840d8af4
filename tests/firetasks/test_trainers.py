"""A campaign by PWMLFF and its LAMMPS: trained, explored, judged; copper by EMT, with stand-ins."""

import json
import sys
from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from fireworks import FWorker
from fireworks.core.rocket_launcher import rapidfire

from alpw.config import load_inputs
from alpw.database import campaigns, iterations, models, trajectories
from alpw.errors import InputError
from alpw.formats.extxyz import write_extxyz
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.frames import LabelledFrames
from alpw.workflows.check import check_inputs
from alpw.workflows.launch import start_campaign, start_final

STANDINS = Path(__file__).parents[1] / "standins"


@pytest.fixture
def asked(inputs, monkeypatch):
    """param.json and resource.json as blocks."""
    monkeypatch.chdir(inputs.folder)
    frames = []
    for seed in range(7):
        atoms = bulk("Cu").repeat(2)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        frames.append(LabelledFrame(atoms.copy(), Label(atoms.get_potential_energy(), atoms.get_forces())))
    write_extxyz("init.xyz", LabelledFrames.of(frames[:5]))
    write_extxyz("valid.xyz", LabelledFrames.of(frames[5:]))
    bulk("Cu").repeat(2).write("POSCAR", format="vasp", direct=True)
    param = {
        "campaign": "copper",
        "init_data": ["init.xyz"],
        "valid_data": ["valid.xyz"],
        "train": {
            "trainer": "matpl",
            "atom_type": ["Cu"],
            "descriptor": {"rcut": 4.0, "rcut_smth": 1.0, "axis_neuron": 4, "neuron": [4, 8]},
            "optimizer": {"optimizer": "LKF", "epochs": 3},
        },
        "strategy": {"model_num": 3, "lower_model_devi_f": 0.1, "upper_model_devi_f": 5.0},
        "explore": {
            "sys_configs": [{"config": "POSCAR", "format": "vasp/poscar"}],
            "md_jobs": [{"sys_idx": [0], "temps": [300], "nsteps": 8, "trj_freq": 4}],
        },
        "dft": {"dft_style": "ase", "calculator": "ase.calculators.emt.EMT"},
    }
    commands = {"train": "PWMLFF", "explore": "lmp_mpi"}
    resource = {key: {"command": f"{sys.executable} {STANDINS / name}"} for key, name in commands.items()}
    return param, {**resource, "dft": {}}


def load(param, resource):
    Path("param.json").write_text(json.dumps(param))
    Path("resource.json").write_text(json.dumps(resource))
    return load_inputs("param.json", "resource.json")


def test_an_external_trainer_runs_in_the_loop(asked, launchpad, monkeypatch):
    monkeypatch.setenv("LMP_STYLES", "pwmlff")
    given = load(*asked)
    assert given[1].notes == []
    check_inputs(*given)
    start_campaign(launchpad, *given)

    def launch(*tasks):
        worker = FWorker(query={"spec.task": {"$in": list(tasks)}})
        rapidfire(launchpad, worker, m_dir=str(Path.cwd()), strm_lvl="CRITICAL")
        assert not launchpad.get_fw_ids({"state": "FIZZLED"})

    launch("TrainModels", "ExploreTrajectories")
    trained = models.committee(launchpad.db, "copper", 0)
    assert [model["trainer"] for model in trained] == ["matpl"] * 3
    assert [len(model["learning_curve"]) for model in trained] == [3, 3, 3]
    (run,) = trajectories.of_iteration(launchpad.db, "copper", 0)
    assert (run["end"], run["deviation"], run["n_frames"]) == ("completed", "legacy", 3)
    assert (trajectories.series(run, "max_force_deviation")[1:] > 0).all()

    start_final(launchpad, "copper", 1, campaigns.CampaignState.CONVERGED.value, "good enough")
    launch("TrainModels", "FinishCampaign")
    final = models.committee(launchpad.db, "copper", 1)
    assert [model["warm_start"] for model in final] == [model["_id"] for model in trained]
    assert 0 < iterations.get(launchpad.db, "copper", 1)["heldout"]["force_rmse"] < 1
    assert sorted(path.name for path in Path("models").iterdir()) == [f"model.00{k}.pt" for k in range(3)]


def test_what_an_external_trainer_needs_is_asked_for_at_once(asked):
    param, resource = asked
    with pytest.raises(InputError, match=r"explore\.command.*'matpl' is called by it"):
        check_inputs(*load(param, {**resource, "explore": {}}))
    param["train"]["fitting_net"] = {"resnet_dt": False}
    with pytest.raises(InputError, match=r"train\.fitting_net\.resnet_dt"):
        check_inputs(*load(param, resource))
