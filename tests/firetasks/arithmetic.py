"""Campaigns through real Fireworks in which training, exploration and labels are arithmetic."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from fireworks import FWAction, FWorker
from fireworks.core.rocket_launcher import rapidfire

from alpw.codes.protocol import LabelResult
from alpw.config import load_inputs
from alpw.database import configurations, models, trajectories
from alpw.errors import CalculationError, FailureKind
from alpw.firetasks import explore, label, train
from alpw.potential import DeepPotential
from alpw.structures.frame import Label
from alpw.trainers.section import model_config
from alpw.workflows.launch import start_campaign, start_structures

FRAMES = 10


def arithmetic_label(atoms: Atoms) -> Label:
    """Springs to a fixed centre: whatever the order of the atoms, each has its own force."""
    forces = -(atoms.positions - atoms.positions.mean(axis=0)) * 0.1
    return Label(float((forces**2).sum() * 5), forces, np.eye(3))


class Arithmetic:
    """A worker that does all of a campaign's Fireworks here.

    Attributes:
        labelled: structures that were really labelled, in that order.
        fails: whether a label fails; a structure in, a message out.
        deviations: iteration -> deviation of each of `FRAMES` explored frames, eV/Å.
        training_sets: iteration -> number of labels that it was trained on.
        level: the level of theory that a run has.
        end: how trajectories end.
    """

    def __init__(self, launchpad, inputs, monkeypatch) -> None:
        self.launchpad, self.inputs = launchpad, inputs
        self.labelled: list[Atoms] = []
        self.fails: Callable[[Atoms], str | None] = lambda atoms: None
        self.deviations: dict[int, list[float]] = {}
        self.training_sets: dict[int, int] = {}
        self.level = "level"
        self.end = "completed"
        self.together = threading.Barrier(1)
        monkeypatch.setattr(label, "run_label", self._label)
        monkeypatch.setattr(train.TrainModels, "work", lambda *given: self._train(*given))
        monkeypatch.setattr(explore.ExploreTrajectories, "work", lambda *given: self._explore(*given))
        inputs.param["initial"] = {"perturb": 4, "cell_pert_fraction": 0.0, "atom_pert_distance": 0.1}
        inputs.param["strategy"] |= {"lower_model_devi_f": 0.1, "upper_model_devi_f": 1.0, "max_select": 10}
        inputs.param["strategy"] |= {"validation_frames": 0}
        inputs.param["explore"]["md_jobs"] = [{"sys_idx": [0], "temps": [300], "nsteps": 30}] * 2

    def start(self, **changes) -> None:
        self.inputs.param |= changes
        self.inputs.write()
        folder = self.inputs.folder
        start_campaign(self.launchpad, *load_inputs(folder / "param.json", folder / "resource.json"))

    def run(self, nlaunches: int = 0, **query) -> None:
        """Run what is ready, or so many Fireworks of those that are asked for."""
        here = Path.cwd()
        worker = FWorker(query={f"spec.{key}": value for key, value in query.items()})
        while self.launchpad.run_exists(worker):
            rapidfire(self.launchpad, worker, nlaunches=1, m_dir=str(self.inputs.folder), strm_lvl="CRITICAL")
            nlaunches -= 1
            if nlaunches == 0:
                break
        os.chdir(here)
        for launch in self.launchpad.launches.find({"state": "FIZZLED"}):
            raise AssertionError(launch["action"]["stored_data"]["_exception"]["_stacktrace"])

    def configurations(self, **query) -> list[dict]:
        return list(self.launchpad.db[configurations.COLLECTION].find(query).sort("_id", 1))

    def _label(self, code, atoms, directory, dft, command, **options) -> LabelResult:
        self.together.wait(10)
        self.labelled.append(atoms)
        if message := self.fails(atoms):
            raise CalculationError(message, FailureKind.SCF, directory, code.name)
        return LabelResult(
            {"level": self.level}, self.level, [], 3.0, directory, label=arithmetic_label(atoms)
        )

    def _train(self, task, context) -> FWAction:
        training_set = context.iteration["training_set"]
        self.training_sets[context.index] = training_set["n"]
        potential = DeepPotential(model_config(context.param.train, 1)).to_bytes()
        for member in task["members"]:
            record = {"training_set": training_set}
            models.store(context.db, context.campaign, context.index, member, potential, record)
        return FWAction()

    def _explore(self, task, context) -> FWAction:
        (start,) = start_structures(context.db, context.iteration["inputs"])
        for plan in context.iteration["plan"]:
            rng = np.random.default_rng(plan["seed"])
            frames = [start.copy() for _ in range(FRAMES)]
            for frame in frames:
                frame.positions += 0.05 * rng.standard_normal(frame.positions.shape)
            series = {
                "step": np.arange(FRAMES),
                "max_force_deviation": np.array(self.deviations.get(context.index, [0.0] * FRAMES)),
            }
            record = {**plan, "end": self.end, "deviation": "dpgen"}
            key = record.pop("key")
            trajectories.store(context.db, context.campaign, context.index, key, frames, series, record)
        return FWAction()
