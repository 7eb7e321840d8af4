"""CP2K itself: derivatives of its own energy, silicon's known response, and a real unconverged SCF."""

import numpy as np
import pytest
from ase.build import bulk

from alpw.codes.cp2k.data import executable
from alpw.codes.registry import code_of
from alpw.codes.run import run_label
from alpw.config import Dft
from alpw.errors import CalculationError, FailureKind

CP2K = code_of("cp2k")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(executable() is None, reason="CP2K is not installed (Debian: apt-get install cp2k)"),
]

CONTROL = """\
&FORCE_EVAL
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF 120
      REL_CUTOFF 30
    &END MGRID
    &QS
      EPS_DEFAULT 1.0E-8
    &END QS
    &XC
      &XC_FUNCTIONAL PBE
      &END XC_FUNCTIONAL
    &END XC
    &SCF
      EPS_SCF 1.0E-6
      ADDED_MOS 10
      MAX_SCF 50
      &MIXING
        METHOD BROYDEN_MIXING
        ALPHA 0.4
      &END MIXING
      &SMEAR ON
        METHOD FERMI_DIRAC
        ELECTRONIC_TEMPERATURE [K] 500
      &END SMEAR
    &END SCF
  &END DFT
  &SUBSYS
    &KIND Si
      BASIS_SET SZV-MOLOPT-SR-GTH
      POTENTIAL GTH-PBE
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""


@pytest.fixture
def dft(tmp_path, make_dft):
    control = tmp_path / "si.inp"
    control.write_text(CONTROL)
    return make_dft(dft_style="cp2k", input=control)


@pytest.fixture
def run(tmp_path, dft):
    counter = iter(range(100))

    def label(atoms):
        return run_label(CP2K, atoms, tmp_path / str(next(counter)), dft, timeout=500)

    return label


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The label of the structure of fixture ``silicon8``, computed once."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "si.inp").write_text(CONTROL)
    dft = Dft.model_validate({"dft_style": "cp2k", "input": folder / "si.inp"})
    return run_label(CP2K, rattled_silicon(), folder / "run", dft, timeout=500)


def rattled_silicon():
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=7)
    return atoms


def test_force_is_the_derivative_of_the_energy(run, reference):
    atom, axis, step = 2, 1, 0.01
    force = reference.label.forces[atom, axis]
    energies = []
    for sign in (1, -1):
        moved = rattled_silicon()
        moved.positions[atom, axis] += sign * step
        energies.append(run(moved).label.energy)
    # Measured 8e-4: the grid of 120 Ry makes the energy ripple as an atom moves, and the third derivative
    # adds a term in step^2. A sign, a unit or another atom would miss by 0.1 and more.
    assert abs(force) > 0.1
    assert force == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=2e-3)


def test_virial_is_minus_the_derivative_of_the_energy_by_strain(run):
    atoms = bulk("Si", cubic=True)
    atoms.set_cell(atoms.cell * 0.97, scale_atoms=True)
    virial = run(atoms).label.virial
    step, energies = 0.005, []
    for sign in (1, -1):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell * (1 + sign * step), scale_atoms=True)
        energies.append(run(scaled).label.energy)
    derivative = -(energies[0] - energies[1]) / (2 * step)
    assert np.trace(virial) > 0
    # Measured 1e-3: grid points and basis pairs come and go as the volume changes.
    assert np.trace(virial) == pytest.approx(derivative, rel=5e-3)


def test_unconverged_scf_of_real_cp2k_is_repaired_at_the_same_level_of_theory(run, dft, reference):
    dft.input.write_text(CONTROL.replace("MAX_SCF 50", "MAX_SCF 4"))
    repaired = run(rattled_silicon())
    assert [c["handler"] for c in repaired.corrections] == ["Cp2kScfHandler"]
    assert repaired.settings_hash == reference.settings_hash
    # Both stop at EPS_SCF 1e-6.
    assert repaired.label.energy == pytest.approx(reference.label.energy, abs=1e-4)


def test_default_input_labels_silicon_without_any_control_file(tmp_path, make_dft):
    atoms = bulk("Si")
    atoms.positions[0] += [0.05, 0.02, 0.0]
    result = run_label(CP2K, atoms, tmp_path, make_dft(dft_style="cp2k", kspacing=1.0), timeout=500)
    assert result.corrections == [] and result.settings["version"]
    # The displaced atom is pulled back.
    assert result.label.forces[0, 0] < -0.1 and np.abs(result.label.forces.sum(axis=0)).max() < 0.01


def test_two_ranks_under_mpirun_give_the_same_label(tmp_path, dft, reference):
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = f"mpirun -np 2 {executable()}"
    parallel = run_label(
        CP2K, rattled_silicon(), tmp_path / "mpi", dft, command, environment=root, timeout=500
    )
    # Sums over the grid in another order.
    assert parallel.label.energy == pytest.approx(reference.label.energy, abs=1e-5)
    np.testing.assert_allclose(parallel.label.forces, reference.label.forces, atol=1e-4)
    assert parallel.settings_hash == reference.settings_hash


def test_misspelt_keyword_is_an_input_failure_in_the_words_of_cp2k(run, dft):
    dft.input.write_text(CONTROL.replace("EPS_SCF", "EPS_SKF"))
    with pytest.raises(CalculationError, match="unknown keyword EPS_SKF") as caught:
        run(rattled_silicon())
    assert caught.value.kind is FailureKind.INPUT
