"""GFN1-xTB labels against ASE's own tblite calculator, finite differences, and what must be refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tblite.ase import TBLite

from alpw.codes.ase.documents import structure_document
from alpw.codes.geometry import check_same_structure
from alpw.codes.protocol import Task, settings_hash
from alpw.codes.registry import code_of
from alpw.codes.run import run_label
from alpw.codes.xtb.run import single_point
from alpw.config import Dft
from alpw.errors import CalculationError, FailureKind, InputError

XTB = code_of("xtb")
THEORY = {"method": "GFN1-xTB", "electronic_temperature": 300.0, "accuracy": 1.0}
TIGHT = {**THEORY, "accuracy": 0.01}
SCF = {"max_iterations": 250, "mixer_damping": 0.4}


@pytest.fixture
def dft(make_dft):
    return make_dft(dft_style="xtb")


def energy(atoms, theory=TIGHT):
    return single_point(structure_document(atoms), theory, SCF)["energy"]


@pytest.fixture
def mixed():
    """Si-Ge with interleaved elements, so that any reordering would show; no metal, whose SCF is touchy."""
    atoms = bulk("Si", cubic=True) * (2, 1, 1)
    atoms.symbols[[1, 6, 11]] = "Ge"
    atoms.rattle(0.1, seed=3)
    return atoms


@pytest.mark.parametrize("structure", ["silicon", "mixed"])
def test_label_is_that_of_the_ase_calculator(structure, request, tmp_path, dft):
    atoms = request.getfixturevalue(structure)
    result = run_label(XTB, atoms, tmp_path, dft)
    atoms.calc = TBLite(method="GFN1-xTB", verbosity=0)
    # Same library, but maybe another number of threads and so another order of summation: 1e-12 of a total
    # energy of up to 1e5 eV, and what that leaves in the forces.
    assert result.label.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8, rel=1e-12)
    np.testing.assert_allclose(result.label.forces, atoms.get_forces(), atol=1e-7)
    virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
    np.testing.assert_allclose(result.label.virial, virial, atol=1e-7)
    assert result.corrections == [] and result.wall_time > 0 and result.directory == tmp_path


def test_molecule_has_a_label_without_virial(tmp_path, dft):
    water = molecule("H2O")
    label = run_label(XTB, water, tmp_path, dft).label
    water.calc = TBLite(method="GFN1-xTB", verbosity=0)
    assert label.energy == pytest.approx(water.get_potential_energy(), abs=1e-8)
    assert label.virial is None


def test_forces_are_the_derivative_of_the_energy(silicon, tmp_path, dft):
    forces = single_point(structure_document(silicon), TIGHT, SCF)["forces"]
    step = 1e-3
    for atom, axis in ((0, 0), (5, 1), (11, 2)):
        energies = []
        for sign in (1, -1):
            moved = silicon.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(energy(moved))
        # Central difference: error of order step^2 times the third derivative, 1e-5 eV/Å here.
        assert forces[atom][axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-4)


def test_virial_is_minus_the_derivative_of_the_energy_by_strain(silicon):
    virial = np.array(single_point(structure_document(silicon), TIGHT, SCF)["virial"])
    step = 1e-4
    for i, j in ((0, 0), (1, 2)):
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = step if i == j else step / 2
        energies = []
        for sign in (1, -1):
            strained = silicon.copy()
            strained.set_cell(silicon.cell @ (np.eye(3) + sign * strain), scale_atoms=True)
            energies.append(energy(strained))
        # Virial components are of order 10 eV; the strain step leaves 1e-3 of that.
        assert virial[i, j] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=2e-2)


def test_compressed_crystal_has_a_positive_virial(tmp_path, dft):
    atoms = bulk("Si", cubic=True) * (2, 1, 1)
    atoms.set_cell(atoms.cell * 0.9, scale_atoms=True)
    assert np.trace(run_label(XTB, atoms, tmp_path, dft).label.virial) > 0


def test_settings_tell_the_method_and_not_the_numerical_path(silicon, tmp_path, dft, make_dft):
    first = run_label(XTB, silicon, tmp_path / "a", dft)
    assert first.settings["method"] == "GFN1-xTB" and first.settings["electronic_temperature"] == 300.0
    assert not {"mixer_damping", "max_iterations"} & set(first.settings)
    assert first.settings_hash == settings_hash(first.settings)
    other_structure = run_label(XTB, molecule("CH4"), tmp_path / "b", dft)
    assert other_structure.settings_hash == first.settings_hash
    other_method = make_dft(dft_style="xtb", method="GFN2-xTB")
    assert run_label(XTB, molecule("CH4"), tmp_path / "c", other_method).settings_hash != first.settings_hash


def test_element_beyond_radon_is_refused_by_name(dft):
    XTB.check(dft, ["Si", "Rn"])
    with pytest.raises(InputError, match="U"):
        XTB.check(dft, ["Si", "U"])


def test_small_periodic_cell_is_refused_and_told_why(silicon8, dft, tmp_path):
    with pytest.raises(InputError, match="Γ point only"):
        XTB.check_structure(silicon8, dft)
    with pytest.raises(CalculationError, match="16 atoms") as caught:
        run_label(XTB, silicon8, tmp_path, dft)
    assert caught.value.kind is FailureKind.GEOMETRY
    assert list(tmp_path.iterdir()) == []


def test_cell_of_sixteen_atoms_is_accepted(silicon, dft):
    XTB.check_structure(silicon, dft)


def test_partly_periodic_structure_is_refused(silicon, dft):
    silicon.pbc = [True, True, False]
    with pytest.raises(InputError, match="all directions"):
        XTB.check_structure(silicon, dft)


def test_overlapping_atoms_are_a_geometry_failure(silicon, tmp_path, dft):
    silicon.positions[1] = silicon.positions[0] + 0.01
    with pytest.raises(CalculationError) as caught:
        run_label(XTB, silicon, tmp_path, dft)
    assert caught.value.kind is FailureKind.GEOMETRY


def test_refusal_of_the_library_is_reported_in_its_words_and_not_retried(silicon, tmp_path, dft, monkeypatch):
    monkeypatch.setattr("alpw.codes.attempt.defect", lambda atoms: None)
    silicon.positions[1] = silicon.positions[0]
    with pytest.raises(CalculationError, match="interatomic distances") as caught:
        run_label(XTB, silicon, tmp_path, dft)
    assert caught.value.kind is FailureKind.GEOMETRY
    assert len(json.loads((tmp_path / "custodian.json").read_text())[0]["corrections"]) == 1


def test_unconverged_scf_is_repaired_numerically_and_gives_the_same_label(
    silicon, tmp_path, dft, monkeypatch
):
    reference = run_label(XTB, silicon, tmp_path / "a", dft)
    monkeypatch.setattr("alpw.codes.xtb.inputs.SCF", {"max_iterations": 3, "mixer_damping": 0.4})
    result = run_label(XTB, silicon, tmp_path / "b", dft)
    assert [(c["handler"], c["kind"], c["changed"]) for c in result.corrections] == [
        ("XtbScfHandler", "scf", ["xtb.json/scf/max_iterations", "xtb.json/scf/mixer_damping"])
    ]
    assert result.label.energy == pytest.approx(reference.label.energy, abs=1e-6)
    assert result.settings_hash == reference.settings_hash


def test_scf_that_never_converges_is_given_up_and_the_temperature_left_alone(
    silicon, tmp_path, dft, monkeypatch
):
    monkeypatch.setattr("alpw.codes.xtb.inputs.SCF", {"max_iterations": 3, "mixer_damping": 0.4})
    ladder = ({"max_iterations": 4}, {"mixer_damping": 0.1})
    monkeypatch.setattr("alpw.codes.xtb.handlers.XtbScfHandler.ladder", ladder)
    with pytest.raises(
        CalculationError, match=r"SCF not converged in 4 cycles.*after 2 corrections"
    ) as caught:
        run_label(XTB, silicon, tmp_path, dft)
    assert caught.value.kind is FailureKind.SCF
    document = json.loads((tmp_path / "xtb.json").read_text())
    assert document["theory"] == THEORY and document["scf"] == {"max_iterations": 4, "mixer_damping": 0.1}


def test_killed_process_is_run_again_and_the_label_is_right(silicon, tmp_path, dft):
    run = f"{sys.executable} -m alpw.codes.xtb.run"
    script = tmp_path / "dies_once.sh"
    script.write_text(f"[ -e died ] || {{ touch died; kill -9 $$; }}\nexec {run}\n")
    result = run_label(XTB, silicon, tmp_path / "run", dft, f"sh {script}")
    assert [(c["handler"], c["kind"]) for c in result.corrections] == [("DriverCrashHandler", "node")]
    assert result.label.energy == pytest.approx(
        run_label(XTB, silicon, tmp_path / "b", dft).label.energy, abs=1e-8
    )


def test_process_killed_every_time_is_a_crash_after_two_reruns(silicon, tmp_path, dft):
    with pytest.raises(CalculationError, match=r"killed by signal 9; after 2 corrections") as caught:
        run_label(XTB, silicon, tmp_path, dft, "sh -c 'echo x >> attempts; kill -9 $$'")
    assert caught.value.kind is FailureKind.NODE
    assert (tmp_path / "attempts").read_text().split() == ["x"] * 3


def test_missing_library_is_an_input_failure_and_not_retried(silicon, tmp_path, dft):
    script = "import sys; sys.modules['tblite'] = None; import alpw.codes.xtb.run"
    with pytest.raises(CalculationError, match="tblite") as caught:
        run_label(XTB, silicon, tmp_path, dft, f'{sys.executable} -c "{script}"')
    assert caught.value.kind is FailureKind.INPUT
    assert len(json.loads((tmp_path / "custodian.json").read_text())[0]["corrections"]) == 1


def test_result_of_another_structure_is_never_taken_for_this_one(silicon, tmp_path, dft):
    run_label(XTB, silicon, tmp_path, dft)
    moved = silicon.copy()
    moved.positions[3, 2] += 2e-4
    swapped = silicon[[1, 0, *range(2, len(silicon))]]
    sheared = Atoms(silicon, cell=silicon.cell @ [[1, 1e-4, 0], [0, 1, 0], [0, 0, 1]])
    for other in (moved, swapped, sheared):
        with pytest.raises(CalculationError) as caught:
            XTB.read_label(tmp_path, other, dft)
        assert caught.value.kind is FailureKind.UNKNOWN


def test_driver_imports_neither_torch_nor_pymatgen_nor_custodian():
    script = "import sys, alpw.codes.xtb.run; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "pymatgen", "custodian", "scipy", "pydantic"} & set(answer.stdout.split())


def test_available_tells_the_version():
    found, text = XTB.available()
    assert found and text.startswith("tblite ")


def test_a_finished_calculation_is_read_and_not_paid_for_twice(silicon, tmp_path, make_dft):
    dft = make_dft(dft_style="xtb")
    first = run_label(XTB, silicon, tmp_path, dft)
    written = (tmp_path / "result.json").stat().st_mtime_ns
    again = run_label(XTB, silicon, tmp_path, dft)
    assert (tmp_path / "result.json").stat().st_mtime_ns == written
    assert again.label.energy == first.label.energy
    assert np.array_equal(again.label.forces, first.label.forces)
    assert again.settings_hash == first.settings_hash


@pytest.mark.parametrize("change", ["structure", "settings", "truncated"])
def test_an_earlier_run_of_something_else_or_incomplete_is_not_taken(silicon, tmp_path, make_dft, change):
    run_label(XTB, silicon, tmp_path, make_dft(dft_style="xtb"))
    result = tmp_path / "result.json"
    dft = make_dft(dft_style="xtb", method="GFN2-xTB" if change == "settings" else "GFN1-xTB")
    if change == "structure":
        silicon.positions[0, 0] += 1e-3
    if change == "truncated":
        result.write_bytes(result.read_bytes()[:-40])
    written = result.stat().st_mtime_ns
    run_label(XTB, silicon, tmp_path, dft)
    assert result.stat().st_mtime_ns > written


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), task=st.sampled_from(list(Task)))
def test_structure_computed_is_the_structure_selected_in_every_task(seed, task, tmp_path):
    """Random cells of either hand and any orientation, elements in any order, atoms outside of the cell."""
    rng = np.random.default_rng(seed)
    cell = rng.normal(scale=2, size=(3, 3)) + 8 * np.linalg.qr(rng.normal(size=(3, 3)))[0]
    symbols = rng.choice(["H", "O", "Si", "Cu"], size=rng.integers(16, 20))
    atoms = Atoms(symbols, rng.normal(scale=8, size=(len(symbols), 3)), cell=cell, pbc=True)
    XTB.write_inputs(atoms, tmp_path, Dft.model_validate({"dft_style": "xtb"}), task)
    found = json.loads((tmp_path / "xtb.json").read_text())["structure"]
    computed = Atoms(found["numbers"], found["positions"], cell=found["cell"], pbc=found["pbc"])
    check_same_structure(atoms, computed, tmp_path)
    assert computed.symbols.get_chemical_formula("reduce") == atoms.symbols.get_chemical_formula("reduce")
