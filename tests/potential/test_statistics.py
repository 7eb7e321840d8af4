"""Scale and energy of the atoms come from the training set, and are known by hand where it is simple."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from alpw.potential import DeepPotential, DeepPotentialConfig
from alpw.potential.dataset import prepare
from alpw.potential.statistics import fit_normalisation, shift_energy_bias
from alpw.structures.frame import Label, LabelledFrame


def copper_model(elements: tuple[str, ...]) -> DeepPotential:
    return DeepPotential(
        DeepPotentialConfig(
            elements=elements, rcut=4.5, rcut_smth=2.0, neuron=(8, 16), axis_neuron=4, fitting_neuron=(16, 16)
        )
    )


def test_normalisation_is_the_root_mean_square_over_real_neighbours() -> None:
    # A Cu-Au dimer and a lone Au atom: s and the direction are known by hand.
    frames = [
        LabelledFrame(Atoms("CuAu", positions=[[0, 0, 0], [0, 0, 2.0]]), Label(0.0, np.zeros((2, 3)))),
        LabelledFrame(Atoms("Au"), Label(0.0, np.zeros((1, 3)))),
    ]
    model = copper_model(elements=("Cu", "Au", "Ag"))
    fit_normalisation(model, prepare(model, frames))
    expected = [0.5, *[0.5 / np.sqrt(3)] * 3]
    assert np.allclose(model.descriptor.dstd, [expected] * 3, rtol=0, atol=1e-12)
    # Room for four neighbours of each element is the least.
    assert model.descriptor.sel.tolist() == [4, 4, 4]
    assert model.descriptor.normaliser == 12


def test_energy_bias_recovers_the_energies_of_free_atoms() -> None:
    model = copper_model(elements=("Cu", "Au"))
    atoms = [Atoms("Cu3Au"), Atoms("CuAu2"), Atoms("Au2")]
    for structure in atoms:
        structure.positions[:, 0] = 10.0 * np.arange(len(structure))
    free = [model.predict(Atoms(symbol)).energy for symbol in ("Cu", "Au")]
    energies = [-50.0 * s.symbols.count("Cu") - 900.0 * s.symbols.count("Au") for s in atoms]
    frames = [LabelledFrame(s, Label(e, np.zeros((len(s), 3)))) for s, e in zip(atoms, energies, strict=True)]
    shift_energy_bias(model, prepare(model, frames))
    assert np.allclose(model.energy_bias, [-50.0 - free[0], -900.0 - free[1]], rtol=0, atol=1e-9)


def test_energy_bias_of_a_single_composition_has_minimum_norm() -> None:
    model = copper_model(elements=("Cu", "Au"))
    atoms = Atoms("CuAu", positions=[[0, 0, 0], [10, 0, 0]])
    before = model.predict(atoms).energy
    shift_energy_bias(model, prepare(model, [LabelledFrame(atoms, Label(-80.0, np.zeros((2, 3))))]))
    assert model.predict(atoms).energy == pytest.approx(-80.0, abs=1e-9)
    assert np.allclose(model.energy_bias, [(-80.0 - before) / 2] * 2, rtol=0, atol=1e-9)
