"""Model files as force models for molecular dynamics, and as a measure of their own uncertainty."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from alpw.codes.lammps.checks import TrajectoryEnded
from alpw.codes.lammps.forces import ClosePairs, ForceModel, search_close_pairs
from alpw.codes.lammps.inputs import ExplorationTask
from alpw.codes.lammps.measure import BothMeasures, CommitteeMeasure, KPUMeasure, Measure
from alpw.codes.lammps.outputs import EndReason
from alpw.errors import AlpwError, InputError
from alpw.potential.environment import Environment
from alpw.potential.model import DeepPotential, Prediction
from alpw.potential.neighbors import Graph, NeighborList
from alpw.uncertainty.committee import check_committee
from alpw.uncertainty.kpu import SampledKPU, Samples

Array = NDArray[np.float64]

SKIN = 1.0
"""Å that the neighbour list reaches beyond the cutoff; rebuilt when it no longer covers the motion."""


class VerletModel:
    """A Deep Potential that keeps its neighbour list from step to step.

    Graph and environment of the structure asked about last are kept too: the check for close pairs, the
    forces and every measure of uncertainty of one step read the same.

    Args:
        model: the potential, on its device.

    Attributes:
        followers: models that forget when this one does.
    """

    def __init__(self, model: DeepPotential) -> None:
        self.model = model
        self.followers: list[VerletModel] = []
        self._neighbors: NeighborList | None = None
        self._positions = np.empty((0, 3))
        self._cell = np.empty((3, 3))
        self._graph: Graph | None = None
        self._environment: Environment | None = None

    def graph(self, atoms: Atoms) -> Graph:
        """Pairs of a structure within the model's cutoff.

        Raises:
            InputError: an unknown element.
        """
        positions, cell = atoms.positions, atoms.cell.array
        same = np.array_equal(positions, self._positions) and np.array_equal(cell, self._cell)
        if self._graph is None or not same:
            if self._neighbors is None or not self._neighbors.covers(positions, cell):
                self._neighbors = self.model.neighbors(atoms, SKIN)
            self._graph, self._environment = self._neighbors.graph(positions, cell), None
            self._positions, self._cell = positions.copy(), cell.copy()
        return self._graph

    def environment(self, atoms: Atoms) -> Environment:
        """What the networks read of a structure; raises what `graph` raises."""
        graph = self.graph(atoms)
        if self._environment is None:
            self._environment = self.model.environment(graph)
        return self._environment

    def forget(self) -> None:
        """Begin anew with the next structure, as a process that goes on from a restart file must."""
        self._neighbors = self._graph = self._environment = None
        for follower in self.followers:
            follower.forget()

    def close_pairs(self, atoms: Atoms, within: float) -> ClosePairs:
        """Every pair closer than ``within`` Å, in both directions."""
        if within > self.model.config.rcut:
            return search_close_pairs(atoms, within)
        graph = self.graph(atoms)
        if graph.closest >= within:
            return ClosePairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        distances = torch.linalg.vector_norm(graph.vectors, dim=1)
        close = torch.nonzero(distances < within).squeeze(1)
        return ClosePairs(*(tensor[close].cpu().numpy() for tensor in (graph.i, graph.j, distances)))

    def predict(self, atoms: Atoms) -> Prediction:
        """Energy, forces and virial.

        Raises:
            TrajectoryEnded: the model gives no finite number.
            InputError: an unknown element.
        """
        return _predict(self.model, self.environment(atoms))


class Member:
    """A committee member that reads the environment which the driving model has made.

    Args:
        model: the member.
        driver: the driving model, with the same cutoff and the same elements.
    """

    def __init__(self, model: DeepPotential, driver: VerletModel) -> None:
        self._model, self._driver = model, driver

    def predict(self, atoms: Atoms) -> Prediction:
        """Energy, forces and virial; raises what `VerletModel.predict` raises."""
        return _predict(self._model, self._driver.environment(atoms))


def _predict(model: DeepPotential, environment: Environment) -> Prediction:
    try:
        return model.predict_graph(environment)
    except InputError:
        raise
    except AlpwError as error:
        raise TrajectoryEnded(EndReason.NAN, str(error)) from error


def member_of(driver: VerletModel, model: DeepPotential) -> ForceModel:
    """``model`` beside ``driver``: on its environment if that means the same to both, else on its own."""
    if model.reads_like(driver.model):
        return Member(model, driver)
    driver.followers.append(VerletModel(model))
    return driver.followers[-1]


def load(task: ExplorationTask) -> tuple[VerletModel, Measure | None]:
    """The driving model of a task and the measure of its uncertainty, on the GPU if there is one.

    Raises:
        InputError: no model, a file that does not hold one, draws of other weights than the model's, or
            models that cannot form a committee.
        AlpwError: members of a committee that are the same model, named by their files.
    """
    if not task.models:
        raise InputError("no model file; the first one drives the dynamics", key="models")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    models = [DeepPotential.load(path, device) for path in task.models]
    driver = VerletModel(models[0])
    committee, kpu = _committee(task, models, driver), _kpu(task, driver, device)
    if committee and kpu:
        return driver, BothMeasures(committee, kpu)
    return driver, committee or kpu


def _committee(
    task: ExplorationTask, models: list[DeepPotential], driver: VerletModel
) -> CommitteeMeasure | None:
    if len(models) == 1:
        return None
    check_committee(models, [str(path) for path in task.models])
    return CommitteeMeasure([member_of(driver, model) for model in models[1:]], task.deviation)


def _kpu(task: ExplorationTask, driver: VerletModel, device: torch.device) -> KPUMeasure | None:
    if task.samples is None:
        return None
    try:
        kpu = SampledKPU(driver.model, Samples.load(task.samples, device))
    except InputError as error:
        raise InputError(error.message, error.file or task.samples, error.key) from error
    return KPUMeasure(kpu, driver.environment)
