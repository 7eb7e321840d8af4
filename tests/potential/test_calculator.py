"""The calculator gives ASE the model's numbers, also while it reuses its pair list."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md.verlet import VelocityVerlet
from ase.stress import full_3x3_to_voigt_6_stress

from alpw.potential import DeepPotential, DeepPotentialCalculator

MakeModel = Callable[..., DeepPotential]


def test_forces_and_stress_pass_ases_own_check(make_model: MakeModel, triclinic: Atoms) -> None:
    triclinic.calc = DeepPotentialCalculator(make_model())
    # Central differences with this step are good to about 1e-9.
    forces, stress = calculate_numerical_forces(triclinic, 1e-4), calculate_numerical_stress(triclinic, 1e-4)
    assert np.allclose(triclinic.get_forces(), forces, rtol=0, atol=1e-7)
    assert np.allclose(triclinic.get_stress(), stress, rtol=0, atol=1e-7)


def test_stress_is_minus_the_virial_over_the_volume(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model()
    triclinic.calc = DeepPotentialCalculator(model)
    virial = model.predict(triclinic).virial
    expected = full_3x3_to_voigt_6_stress(-virial / triclinic.get_volume())
    assert np.allclose(triclinic.get_stress(), expected, rtol=0, atol=1e-12)
    assert triclinic.get_potential_energies().sum() == pytest.approx(triclinic.get_potential_energy())


def test_a_molecule_has_no_stress(make_model: MakeModel) -> None:
    atoms = Atoms(
        "SiGe", positions=[[0, 0, 0], [0, 0, 2.3]], calculator=DeepPotentialCalculator(make_model())
    )
    assert np.isfinite(atoms.get_potential_energy())
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_dynamics_on_a_reused_list_conserves_energy(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model()
    atoms = triclinic.repeat((2, 1, 1))
    atoms.calc = DeepPotentialCalculator(model, skin=0.2)
    rng = np.random.default_rng(0)
    atoms.set_velocities(rng.normal(0, 0.05, (len(atoms), 3)))
    dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
    totals, lists = [], set()
    for _ in range(20):
        dynamics.run(5)
        atoms.wrap()
        totals.append(atoms.get_total_energy())
        lists.add(id(atoms.calc.neighbors))
        assert np.allclose(atoms.get_forces(), model.predict(atoms).forces, rtol=0, atol=1e-10)
    assert 1 < len(lists) < 20
    # Verlet's error for this step is about 1e-5 eV. The run is short because nothing in random weights keeps
    # atoms from falling into each other.
    assert np.ptp(totals) < 1e-4


def test_other_atoms_get_another_list(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model()
    calculator = DeepPotentialCalculator(model)
    swapped = triclinic.copy()
    swapped.symbols[0] = "Ge"
    for atoms in (triclinic, swapped, triclinic[[0, 1]]):
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(model.predict(atoms).energy, abs=1e-10)
