"""What a campaign knows of its uncertainty, and how its trainings differ; copper by EMT."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from fireworks import FWorker
from fireworks.core.rocket_launcher import rapidfire

from alpw.codes import lammps
from alpw.codes.lammps import read_result, run
from alpw.codes.lammps.outputs import TASK_FILE
from alpw.config import load_inputs
from alpw.database import campaigns, configurations, iterations, models, snapshots, trajectories
from alpw.database.configurations import Role
from alpw.database.summary import summarise
from alpw.errors import AlpwError
from alpw.firetasks import explore as exploring
from alpw.firetasks.base import Context
from alpw.formats.extxyz import write_extxyz
from alpw.potential import DeepPotential
from alpw.potential.covariance import Covariance
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.frames import LabelledFrames
from alpw.uncertainty.committee import COLLAPSED, predict_committee
from alpw.uncertainty.kpu import Samples, sampled_kpu
from alpw.workflows.launch import start_campaign, start_final, start_iteration
from alpw.workflows.update import update_inputs

NAME = "copper"


def copper(count, seed):
    """Rattled cells of eight atoms with energies and forces."""
    frames = []
    for number in range(count):
        atoms = bulk("Cu").repeat(2)
        atoms.rattle(0.1, seed=100 * seed + number)
        atoms.calc = EMT()
        frames.append(LabelledFrame(atoms.copy(), Label(atoms.get_potential_energy(), atoms.get_forces())))
    return frames


def training_set(db, iteration):
    return snapshots.ids(db, iteration["training_set"]["hash"])


class Bench:
    """A campaign whose Fireworks run in this process, LAMMPS included."""

    def __init__(self, folder, launchpad):
        self.folder, self.launchpad, self.db = folder, launchpad, launchpad.db
        for name, count in (("init", 4), ("valid", 2)):
            write_extxyz(folder / f"{name}.xyz", LabelledFrames.of(copper(count, len(name))))
        bulk("Cu").repeat(2).write(folder / "POSCAR", format="vasp", direct=True)
        self.param = {
            "campaign": NAME,
            "init_data": ["init.xyz"],
            "valid_data": ["valid.xyz"],
            "train": {
                "atom_type": ["Cu"],
                "together": True,
                "descriptor": {"rcut": 4.0, "rcut_smth": 1.0, "axis_neuron": 4, "neuron": [4, 8]},
                "fitting_net": {"neuron": [8, 8]},
                "optimizer": {"optimizer": "LKF", "epochs": 2, "block_size": 300},
            },
            "strategy": {"lower_model_devi_f": 0.1, "upper_model_devi_f": 5.0, "kpu_draws": 8},
            "explore": {
                "sys_configs": [{"config": "POSCAR", "format": "vasp/poscar"}],
                "md_jobs": [{"sys_idx": [0], "temps": [300], "nsteps": 8, "trj_freq": 4}],
            },
            "dft": {"dft_style": "ase", "calculator": "emt"},
        }

    def inputs(self):
        (self.folder / "param.json").write_text(json.dumps(self.param))
        (self.folder / "resource.json").write_text(json.dumps({"train": {}, "explore": {}, "dft": {}}))
        return load_inputs(self.folder / "param.json", self.folder / "resource.json")

    def start(self, **strategy):
        self.param["strategy"] |= strategy
        start_campaign(self.launchpad, *self.inputs())

    def launch(self, *tasks):
        worker = FWorker(query={"spec.task": {"$in": list(tasks)}})
        rapidfire(self.launchpad, worker, m_dir=str(self.folder), strm_lvl="CRITICAL")
        fizzled = self.launchpad.get_fw_ids({"state": "FIZZLED"})
        assert not fizzled, [self.launchpad.get_launch_by_id(n).action for n in fizzled]

    def add_labels(self, iteration, role, count=2):
        """Labels that an iteration has made."""
        return [
            configurations.add_frame(
                self.db, NAME, iteration, f"{iteration}/{role.value}/{number}", frame, role, {}, {}
            )
            for number, frame in enumerate(copper(count, 7 + len(role.value)))
        ]

    def models(self, iteration):
        found = models.committee(self.db, NAME, iteration)
        return found, [DeepPotential.from_bytes(models.weights(self.db, model)) for model in found]


@pytest.fixture
def bench(inputs, launchpad, monkeypatch):
    def explore_here(task, directory, **_):
        task.write(directory / TASK_FILE)
        assert run.main([str(directory / TASK_FILE)]) == 0
        return read_result(directory)

    monkeypatch.setattr(lammps, "explore", explore_here)
    monkeypatch.chdir(inputs.folder)
    threads = torch.get_num_threads()
    yield Bench(inputs.folder, launchpad)
    torch.set_num_threads(threads)


def test_one_model_with_draws_explores_and_is_trained_on_new_labels_only(bench):
    bench.param["init_data_only_pretrain"] = True
    bench.start(uncertainty="kpu")
    bench.launch("TrainModels", "ExploreTrajectories")
    (document,), (model,) = bench.models(0)
    draws = document["draws"]
    assert (draws["number"], draws["covariance"]) == (8, "gauss-newton")
    samples = Samples.load(draws["file"])
    (trajectory,) = trajectories.of_iteration(bench.db, NAME, 0)
    assert trajectories.measures(trajectory) == ["kpu"] and trajectories.deviation(trajectory) is None
    found = trajectories.series(trajectory, "max_kpu")
    expected = [sampled_kpu(model, samples, atoms).max for atoms in trajectories.frames(bench.db, trajectory)]
    assert len(found) == 3 and found.min() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert "health" not in iterations.get(bench.db, NAME, 0)

    # Draws that are lost, or were not asked for when the model was trained, are made again, the same.
    context = Context(launchpad=bench.launchpad, fw_id=1, campaign=NAME, index=0, environment={})
    for lost in (document, {**document, "draws": None}):
        Path(draws["file"]).unlink()
        assert torch.equal(Samples.load(exploring.draws_file(context, lost)).draws, samples.draws)
    assert bench.models(0)[0] == [document]
    Path(draws["file"]).unlink()
    with pytest.raises(AlpwError, match=r"no covariance to make them from \(nowhere\)"):
        exploring.draws_file(context, {**document, "covariance": "nowhere"})

    # As long as there are no new labels, the first data are trained on.
    start_iteration(bench.launchpad, NAME, 1)
    bench.launch("TrainModels")
    new = bench.add_labels(1, Role.TRAIN)
    start_iteration(bench.launchpad, NAME, 2)
    bench.launch("TrainModels")
    sets = [training_set(bench.db, iterations.get(bench.db, NAME, index)) for index in range(3)]
    assert sets == [sets[0], sets[0], new] and len(sets[0]) == 4
    (last,), (model,) = bench.models(2)
    assert last["warm_start"] == bench.models(1)[0][0]["_id"]
    covariance = Covariance.load(last["covariance"])
    covariance.check(model)
    # What determines the weights is everything that they were ever trained on.
    assert covariance.settings["n_frames"] == 4 + len(new)
    Samples.load(last["draws"]["file"]).check(model)


def test_committee_and_kpu_judge_the_same_frames_and_a_last_training_on_everything_claims_no_error(bench):
    bench.start(uncertainty="both", model_num=3, final_factor=2.5, final_everything=True)
    bench.launch("TrainModels", "ExploreTrajectories")
    documents, members = bench.models(0)
    assert [document.get("draws", {}).get("covariance") for document in documents] == ["lkf", None, None]
    health = iterations.get(bench.db, NAME, 0)["health"]
    assert health["limit"] == COLLAPSED < health["min_distance"] and health["collapsed"] is False
    assert health["stragglers"] == []
    (trajectory,) = trajectories.of_iteration(bench.db, NAME, 0)
    assert trajectories.measures(trajectory) == ["committee", "kpu"]
    assert (trajectory["deviation"], trajectory["draws"]) == ("dpgen", 8)
    samples = Samples.load(documents[0]["draws"]["file"])
    for frame, atoms in enumerate(trajectories.frames(bench.db, trajectory)):
        kpu = sampled_kpu(members[0], samples, atoms)
        committee = predict_committee(members, atoms).deviation()
        for name, value in {"max_kpu": kpu.max, "energy_kpu": kpu.u_energy}.items():
            assert trajectories.series(trajectory, name)[frame] == pytest.approx(value, rel=1e-6)
        found = trajectories.series(trajectory, "max_force_deviation")[frame]
        assert found == pytest.approx(committee.max_f, abs=1e-9)

    held_out = {*configurations.ids(bench.db, NAME, Role.VALIDATION)}
    start_final(bench.launchpad, NAME, 1, campaigns.CampaignState.CONVERGED.value, "good enough")
    bench.launch("TrainModels", "FinishCampaign")
    final, _ = bench.models(1)
    assert held_out and held_out < {*training_set(bench.db, final[0])}
    assert [len(model["learning_curve"]) for model in final] == [5, 5, 5]
    assert iterations.get(bench.db, NAME, 0)["heldout"]["n_frames"] == len(held_out)
    assert "heldout" not in iterations.get(bench.db, NAME, 1)
    assert summarise(bench.db, NAME).final["force_rmse_heldout"] is None

    # A campaign that goes on goes on from models that have not seen the held-out frames.
    bench.param["strategy"]["max_iterations"] = 2
    update_inputs(bench.launchpad, *bench.inputs())
    extended = iterations.get(bench.db, NAME, 1)
    assert extended["kind"] == "explore" and not held_out & {*training_set(bench.db, extended)}
    assert models.committee(bench.db, NAME, 1) == []
    aside = list(bench.db[models.COLLECTION].find({"put_aside.iteration": 1}))
    assert [model["_id"] for model in aside] == [model["_id"] for model in final]
