"""Labels through the engine: right numbers, and every failure ends in the same label or in the right kind."""

import numpy as np
import pytest
from pymatgen.io.pwmat.outputs import Movement

from alpw.codes.attempt import read_corrections
from alpw.codes.pwmat.code import Pwmat
from alpw.codes.pwmat.etot import read_etot
from alpw.errors import FailureKind

LINES = """\
ECUT = 50
E_ERROR = 0
RHO_ERROR = 1E-5
SCF_ITER0_1 = 6 4 3 0.0 0.05 2
SCF_ITER0_2 = 94 4 3 1.0 0.05 2"""
DFTB = "USE_DFTB = T\nDFTB_DETAIL = 1, 1, 0, 500, 1e-5, 1, 1"
ALIKE = {"rtol": 0, "atol": 1e-12}


@pytest.fixture
def dft(user):
    return user.dft(LINES)


def same(found, expected):
    assert found.label.energy == expected.label.energy
    np.testing.assert_allclose(found.label.forces, expected.label.forces, **ALIKE)
    np.testing.assert_allclose(found.label.virial, expected.label.virial, **ALIKE)
    assert found.settings_hash == expected.settings_hash


def handlers_of(result):
    return [(entry["handler"], entry["kind"]) for entry in result.corrections]


def test_forces_and_virial_are_derivatives_of_the_energy(label, carbide, user):
    """Signs, units and atom order at once; the mesh is fixed, so that strain changes nothing else."""
    dft = user.dft(LINES + "\nMP_N123 = 2 2 2 0 0 0 3")
    found = label(carbide, dft).label
    step = 1e-3

    def energy(atoms, name):
        return label(atoms, dft, folder=name).label.energy

    for atom, axis in [(1, 0), (6, 2)]:
        ends = []
        for sign in (1, -1):
            moved = carbide.copy()
            moved.positions[atom, axis] += sign * step
            ends.append(energy(moved, f"moved{atom}{sign}"))
        assert found.forces[atom, axis] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=2e-4)
    for i, j in [(0, 0), (0, 1)]:
        ends = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            strained = carbide.copy()
            strained.set_cell(carbide.cell @ strain, scale_atoms=True)
            ends.append(energy(strained, f"strained{i}{j}{sign}"))
        assert found.virial[i, j] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), abs=1e-3)


def test_label_agrees_with_pymatgen_in_the_order_that_was_asked_for(label, carbide, dft, tmp_path):
    """PWmat has put the elements together; pymatgen has its order, and stresses in place of virials."""
    found = label(carbide, dft)
    other = Movement(tmp_path / "run" / "OUT.MLMD")
    order = np.argsort(carbide.numbers != 14, kind="stable")
    assert not np.array_equal(order, np.arange(8)), "the test needs elements that take turns"
    assert [s.Z for s in other.atom_configs[0].structure.species] == carbide.numbers[order].tolist()
    assert found.label.energy == pytest.approx(float(other.e_tots[0]), abs=1e-6)
    np.testing.assert_allclose(found.label.forces[order].ravel(), np.ravel(other.atom_forces), atol=1e-12)
    np.testing.assert_allclose(found.label.virial, -np.reshape(other.virials[0], (3, 3)), atol=1e-5)


def test_what_was_changed_in_the_control_file_is_told(label, carbide, dft):
    assert "JOB: none -> SCF" in label(carbide, dft).changes


def test_an_scf_that_runs_out_of_steps_climbs_the_ladder_and_keeps_the_physics(label, carbide, dft, tmp_path):
    clean = label(carbide, dft, folder="clean")
    until = {"KERK_AMIX": 0.2}
    repaired = label(carbide, dft, {"fault": "scf_unconverged", "until": until})
    same(repaired, clean)
    assert handlers_of(repaired) == [("PwmatScfHandler", "scf")] * 2
    etot = read_etot(tmp_path / "run" / "etot.input")
    assert etot.words("SCF_ITER0_1") == ["6", "4", "3", "0.0", "0.05", "2"], "steps with fixed density stay"
    assert etot.words("SCF_ITER0_2") == ["300", "4", "3", "1.0", "0.05", "2"], "smearing stays"
    assert "PRECISION" not in etot and "CONVERGENCE" not in etot
    changed = {key for entry in repaired.corrections for key in entry["changed"]}
    assert all(Pwmat().rules[key].effect.value == "numerical" for key in changed)


@pytest.mark.parametrize("lines", ["ECUT = 50\nFERMIDE = 0.1", "ECUT = 50\nMAX_SCF_ITER = 60", "ECUT = 50"])
def test_scf_lines_that_the_user_left_out_keep_their_smearing(label, carbide, user, lines):
    dft = user.dft(lines)
    clean = label(carbide, dft, folder="clean")
    repaired = label(carbide, dft, {"fault": "scf_unconverged", "needs": 150})
    same(repaired, clean)
    assert len(repaired.corrections) == 1


def test_an_scf_that_never_converges_is_no_label(label, carbide, dft, failure, runs):
    error = failure(label, carbide, dft, {"fault": "scf_unconverged"})
    assert error.kind is FailureKind.SCF and "niter reached" in str(error) and runs() == 4


def test_the_last_iteration_within_the_tolerance_counts_as_converged(label, carbide, dft, tmp_path):
    """PWmat says "niter reached" although the change of the last iteration is below RHO_ERROR."""
    clean = label(carbide, dft)
    report = tmp_path / "run" / "REPORT"
    reason = "tol Rho_err"
    text = report.read_text()
    assert reason in text
    head, _, tail = text.partition(" ending_scf_reason = ")
    report.write_text(head + " ending_scf_reason = niter reached\n" + tail.partition("\n")[2])
    assert Pwmat().read_label(tmp_path / "run", carbide, dft).energy == clean.label.energy


@pytest.mark.parametrize(
    "fault", ["sigkill", "crash", "truncate_report", "truncate_mlmd", "no_mlmd", "no_force"]
)
def test_what_the_machine_spoils_is_cured_by_a_rerun(label, carbide, dft, fault, runs):
    clean = label(carbide, dft, folder="clean")
    result = label(carbide, dft, {"fault": fault, "times": 2})
    same(result, clean)
    assert [kind for _, kind in handlers_of(result)] == ["node"] * 2 and runs() == 3


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("sigkill", FailureKind.NODE, "signal 9"),
        ("crash", FailureKind.UNKNOWN, "error in gpu fft"),
        ("truncate_mlmd", FailureKind.NODE, "OUT.MLMD holds no complete frame"),
        ("no_mlmd", FailureKind.NODE, "OUT.MLMD is missing"),
        ("no_force", FailureKind.NODE, "OUT.FORCE is missing"),
        ("nan", FailureKind.UNKNOWN, "no finite numbers"),
        ("stars", FailureKind.UNKNOWN, "no finite numbers"),
        ("huge_forces", FailureKind.UNKNOWN, "above dft.max_force"),
        ("net_force", FailureKind.UNKNOWN, "mean force"),
        ("no_stress", FailureKind.UNKNOWN, "stress is missing"),
    ],
)
def test_what_no_rerun_cures_is_told_by_its_kind(label, carbide, dft, failure, fault, kind, words):
    error = failure(label, carbide, dft, {"fault": fault})
    assert error.kind is kind and words in str(error)


def test_a_full_accelerator_keeps_fewer_wavefunctions_on_it(label, carbide, dft, runs):
    clean = label(carbide, dft, folder="clean")
    cured = label(carbide, dft, {"fault": "oom", "until": {"NUM_BLOCKED_PSI": "T"}})
    same(cured, clean)
    assert handlers_of(cured) == [("PwmatCrashHandler", "memory")] and runs() == 2


def test_an_accelerator_that_stays_full_is_a_lack_of_memory(label, carbide, dft, failure, runs):
    error = failure(label, carbide, dft, {"fault": "oom"})
    assert error.kind is FailureKind.MEMORY and "MEMORY" in str(error) and runs() == 2


def test_decomposed_energies_forbid_the_blocks(label, carbide, user, failure, runs):
    dft = user.dft(f"{LINES}\nENERGY_DECOMP = T, 1")
    assert failure(label, carbide, dft, {"fault": "oom"}).kind is FailureKind.MEMORY and runs() == 1


def test_a_hung_run_is_stopped_and_run_again(label, carbide, dft, runs):
    clean = label(carbide, dft, folder="clean")
    impatient = dft.model_copy(update={"max_silence": 2.0})
    result = label(
        carbide, impatient, {"fault": "hang_hard", "times": 1}, environment={"OMP_NUM_THREADS": "1"}
    )
    same(result, clean)
    assert [kind for _, kind in handlers_of(result)] == ["node"] and runs() == 2


def test_a_missing_licence_is_waited_for(label, carbide, dft, monkeypatch, runs):
    monkeypatch.setenv("ALPW_RETRY_SECONDS", "0.1")
    result = label(carbide, dft, {"fault": "licence", "times": 2})
    assert [kind for _, kind in handlers_of(result)] == ["licence"] * 2 and runs() == 3


def test_a_licence_that_never_comes_is_told_as_such(label, carbide, dft, monkeypatch, failure):
    monkeypatch.setenv("ALPW_RETRY_SECONDS", "0.01")
    assert failure(label, carbide, dft, {"fault": "licence"}).kind is FailureKind.LICENCE


def test_the_time_limit_ends_a_label(label, carbide, dft, failure):
    error = failure(label, carbide, dft, {"fault": "slow", "seconds": 60}, timeout=3)
    assert error.kind is FailureKind.WALLTIME


def test_a_bad_value_is_not_tried_again(label, carbide, user, failure, tmp_path):
    dft = user.dft(f"{LINES}\nPRECISION = TRIPLE")
    error = failure(label, carbide, dft)
    assert error.kind is FailureKind.INPUT and "PRECISION = TRIPLE is not recognized" in str(error)
    assert [entry["actions"] for entry in read_corrections(tmp_path / "run")] == [None]


def test_a_pseudopotential_that_vanishes_is_not_waited_for(label, carbide, user, failure, tmp_path):
    class Vanishing(Pwmat):
        def job(self, command, environment=None):
            (tmp_path / "run" / "Si.SG15.PBE.UPF").unlink()
            return super().job(command, environment)

    error = failure(label, carbide, user.dft(LINES), code=Vanishing())
    assert error.kind is FailureKind.INPUT and "does not exist" in str(error)


def test_ranks_that_do_not_fit_the_node_grid_are_bad_input(label, carbide, user, failure):
    error = failure(label, carbide, user.dft(LINES, nodes="4 1"), environment={"SLURM_NTASKS": "2"})
    assert error.kind is FailureKind.INPUT and "number of processors" in str(error)
    error = failure(label, carbide, user.dft(LINES, nodes="4 1"), command="mpirun -np 2 PWmat")
    assert error.kind is FailureKind.INPUT and "needs 4 MPI ranks" in str(error)


def test_forces_of_two_files_that_disagree_are_no_label(label, carbide, dft, tmp_path, failure):
    label(carbide, dft)
    path = tmp_path / "run" / "OUT.FORCE"
    lines = path.read_text().splitlines()
    number, x, *rest = lines[3].split()
    lines[3] = " ".join([number, f"{float(x) + 0.01:.12f}", *rest])
    path.write_text("\n".join(lines) + "\n")
    error = failure(Pwmat().read_label, tmp_path / "run", carbide, dft)
    assert error.kind is FailureKind.UNKNOWN and "OUT.FORCE and OUT.MLMD differ by 0.01" in str(error)


def test_an_output_of_another_structure_is_no_label(label, carbide, dft, tmp_path, failure):
    label(carbide, dft)
    carbide.positions[5] += [0.0, 0.02, 0.0]
    error = failure(Pwmat().read_label, tmp_path / "run", carbide, dft)
    assert "atom 5 was labelled 0.02 Å away" in str(error)


def test_atoms_outside_the_cell_are_the_same_structure(label, carbide, dft):
    inside = label(carbide, dft, folder="inside")
    carbide.positions[2] += carbide.cell[0] - 2 * carbide.cell[1]
    outside = label(carbide, dft, folder="outside")
    np.testing.assert_allclose(outside.label.forces, inside.label.forces, atol=1e-9)


def test_dftb_gives_labels_of_its_own_level(label, carbide, user, dft):
    tight = user.dft(DFTB, name="dftb.input", in_skf=str(user.slater_koster("Si", "C")), pseudo=[])
    cheap, dear = label(carbide, tight, folder="dftb"), label(carbide, dft)
    assert cheap.settings["mode"] == "DFTB" and set(cheap.settings["potentials"]) == {
        "Si-Si",
        "Si-C",
        "C-Si",
        "C-C",
    }
    assert cheap.label.energy != dear.label.energy and cheap.settings_hash != dear.settings_hash


def test_dftb_has_no_ladder(label, carbide, user, failure, runs):
    tight = user.dft(DFTB, in_skf=str(user.slater_koster("Si", "C")), pseudo=[])
    assert (
        failure(label, carbide, tight, {"fault": "scf_unconverged"}).kind is FailureKind.SCF and runs() == 1
    )


def test_a_gaussian_basis_gives_labels(label, carbide, user):
    dft = user.dft(f"USE_GAUSSIAN = T\n{LINES}", gaussian_param=user.gaussian(), pseudo=[])
    found = label(carbide, dft)
    assert found.settings["mode"] == "Gaussian basis"
    assert found.settings["potentials"]["C"]["basis"] == "C SZV-GTH BASIS_GTH"
    assert np.abs(found.label.forces).max() > 0.1


def test_a_finished_label_is_read_and_not_run_again(label, carbide, dft, runs):
    first = label(carbide, dft, {"fault": "sigkill", "step": 99})
    again = label(carbide, dft, {"fault": "sigkill", "step": 99})
    same(again, first)
    assert runs() == 1
