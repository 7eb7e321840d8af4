"""A small training set of silicon with energies and forces of Stillinger and Weber's potential."""

from __future__ import annotations

import pytest
from ase import Atoms
from ase.build import bulk

from alpw.config.train import Train
from alpw.structures.frame import Label, LabelledFrame
from tests.standins.potentials import StillingerWeber


def silicon(n: int, seed: int) -> list[LabelledFrame]:
    frames = []
    for k in range(n):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.12, seed=seed + k)
        atoms.calc = StillingerWeber()
        label = Label(atoms.get_potential_energy(), atoms.get_forces())
        frames.append(LabelledFrame(Atoms("Si8", atoms.positions, cell=atoms.cell, pbc=True), label))
    return frames


@pytest.fixture(scope="session")
def frames() -> list[LabelledFrame]:
    return silicon(8, 0)


@pytest.fixture(scope="session")
def held_out() -> list[LabelledFrame]:
    return silicon(3, 100)


@pytest.fixture
def section():
    """A function that makes the block ``train``, with changes."""

    def make(**changes) -> Train:
        content = {
            "atom_type": ["Si"],
            "seed": 1,
            "descriptor": {"rcut": 4.0, "rcut_smth": 1.0, "axis_neuron": 4, "neuron": [4, 8]},
            "fitting_net": {"neuron": [8, 8]},
            "optimizer": {"epochs": 8, "learning_rate": 0.005},
        }
        return Train.model_validate({**content, **changes})

    return make
