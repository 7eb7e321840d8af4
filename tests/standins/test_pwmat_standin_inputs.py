"""What the stand-in for PWmat reads, and what it refuses as PWmat does."""

import subprocess
import sys

import pytest
from pwmat.inputs import Refused, read_settings
from pwmat.species import read_upf, write_skf, write_upf
from pwmat_folders import PROGRAM, SCF, calculate, frames, prepare, run, salt, silicon, total_energy


def test_pseudopotential_headers_name_their_element(tmp_path):
    files = write_upf(tmp_path, ["Si", "C", "Si"], ecut=40)
    assert [path.name for path in files.values()] == ["Si.SG15.PBE.UPF", "C.SG15.PBE.UPF"]
    assert read_upf(files["C"]) == ("C", 40.0)
    command = subprocess.run([sys.executable, PROGRAM, "--skf", "Si", "C"], cwd=tmp_path, capture_output=True)
    assert command.returncode == 0
    assert {path.name for path in tmp_path.glob("*.skf")} == {"Si-Si.skf", "Si-C.skf", "C-Si.skf", "C-C.skf"}


def test_without_ecut_the_cutoff_comes_from_the_pseudopotential(tmp_path):
    prepare(tmp_path, silicon(), {**SCF, "ECUT": None})
    assert run(tmp_path).returncode == 1
    write_upf(tmp_path, ["Si"], ecut=50)
    assert run(tmp_path).returncode == 0
    recommended = total_energy(tmp_path)
    assert total_energy(calculate(tmp_path / "given", silicon(), SCF)) == recommended


BAD = {
    "no job": ({"JOB": None}, "JOB must be specified"),
    "unknown job": ({"JOB": "SFC"}, "JOB = SFC is not recognized"),
    "no structure": ({"IN.ATOM": "missing.config"}, "missing.config of IN.ATOM does not exist"),
    "unknown key": ({"ECUTT": "50"}, "unknown key in etot.input: ECUTT"),
    "no cutoff": ({"ECUT": None}, "ECUT is neither"),
    "no pseudopotential": ({"IN.PSP1": None}, "no pseudopotential IN.PSP for atom type Si"),
    "missing pseudopotential": ({"IN.PSP1": "Ge.UPF"}, "Ge.UPF does not exist"),
    "no steps of MD": ({"JOB": "MD"}, "MD_DETAIL"),
    "bad precision": ({"PRECISION": "QUAD"}, "PRECISION = QUAD is not recognized"),
    "bad k-points": ({"MP_N123": "0 1 1 0 0 0"}, "MP_N123"),
    "no wave functions": ({"IN.WG": "T"}, "IN.WG does not exist"),
    "bad SCF line": ({"SCF_ITER0_1": "6 4"}, "SCF_ITER0_1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_calculated(case, tmp_path):
    changes, message = BAD[case]
    prepare(tmp_path, silicon(), {**SCF, **changes})
    result = run(tmp_path)
    assert result.returncode == 1
    assert message in result.stdout
    assert not (tmp_path / "OUT.MLMD").exists()


def test_a_pseudopotential_of_another_element_is_refused(tmp_path):
    prepare(tmp_path, silicon(), SCF)
    (tmp_path / "Si.SG15.PBE.UPF").write_text(write_upf(tmp_path, ["Ge"])["Ge"].read_text())
    assert "is not in the structure: Ge" in run(tmp_path).stdout


@pytest.mark.parametrize("first", ["JOB = SCF", "4", "2 x", "0 1", "1 1 1"])
def test_the_first_line_must_be_two_positive_integers(first, tmp_path):
    prepare(tmp_path, silicon(), SCF, nodes=first)
    with pytest.raises(Refused, match="two positive integers"):
        read_settings(tmp_path / "etot.input")


def test_the_node_grid_must_fit_the_ranks_and_only_the_first_rank_works(tmp_path):
    prepare(tmp_path, silicon(), SCF, nodes="4 1")
    wrong = run(tmp_path, OMPI_COMM_WORLD_SIZE="2", OMPI_COMM_WORLD_RANK="0")
    assert wrong.returncode == 1 and "node1*node2 = 4" in wrong.stdout
    idle = run(tmp_path, OMPI_COMM_WORLD_SIZE="4", OMPI_COMM_WORLD_RANK="3")
    assert idle.returncode == 0 and not (tmp_path / "REPORT").exists()
    assert run(tmp_path, SLURM_NTASKS="4", SLURM_PROCID="0").returncode == 0


def test_keys_are_read_in_any_case_and_comments_left_out(tmp_path):
    prepare(tmp_path, silicon(), {})
    (tmp_path / "etot.input").write_text(
        "2, 1   ! nodes\n  job = scf # comment\n\n# IN.ATOM = other\nin.atom=atom.config\nEcut = 5.d1\n"
        "In.Psp1 = Si.SG15.PBE.UPF\nmp_n123 = 1,1,1,0,0,0,2\nout.mlmd = .true.\n"
    )
    assert run(tmp_path).returncode == 0
    assert (tmp_path / "OUT.MLMD").exists()


def test_dftb_needs_slater_koster_files_and_is_a_cheaper_different_surface(tmp_path):
    atoms = salt()
    dft = frames(calculate(tmp_path / "dft", atoms, SCF) / "OUT.MLMD")[0]
    no_psp = {"IN.PSP1": None, "IN.PSP2": None, "ECUT": None}
    settings = {
        **SCF,
        **no_psp,
        "USE_DFTB": "T",
        "DFTB_DETAIL": "1, 1, 0, 500, 1e-5, 1, 1",
        "IN.SKF": "./in_skf/",
    }
    prepare(tmp_path / "dftb", atoms, settings)
    refused = run(tmp_path / "dftb")
    assert refused.returncode == 1 and "Na-Na.skf does not exist" in refused.stdout
    write_skf(tmp_path / "dftb" / "in_skf", atoms.get_chemical_symbols())
    assert run(tmp_path / "dftb").returncode == 0
    dftb = frames(tmp_path / "dftb" / "OUT.MLMD")[0]
    ratio = (dft["gradient"] * dftb["gradient"]).sum() / (dft["gradient"] ** 2).sum()
    assert 0.90 < ratio < 0.96
    chardb = {**settings, "DFTB_DETAIL": "3, 1, 0, 500, 1e-5, 1, 1", "IN.SKF": None}
    assert (calculate(tmp_path / "chardb", atoms, chardb) / "OUT.MLMD").is_file()


def test_gaussian_basis_sets_are_named_with_element_name_and_file(tmp_path):
    settings = {
        **SCF,
        "USE_GAUSSIAN": "T",
        "ECUT": None,
        "IN.PSP1": "Si GTH-PBE-q4 GTH_POTENTIALS",
        "IN.BASIS1": "Si SZV-MOLOPT-SR-GTH BASIS_MOLOPT",
    }
    prepare(tmp_path, silicon(), settings)
    assert "GTH_POTENTIALS does not exist" in run(tmp_path).stdout
    (tmp_path / "GTH_POTENTIALS").write_text("#\nSi GTH-PBE-q4 GTH-PBE\n 2 2\n")
    (tmp_path / "BASIS_MOLOPT").write_text("Si DZVP-MOLOPT-SR-GTH\n 1\n")
    assert "SZV-MOLOPT-SR-GTH of Si is not in the file" in run(tmp_path).stdout
    (tmp_path / "BASIS_MOLOPT").write_text("Si SZV-MOLOPT-SR-GTH SZV-MOLOPT-SR-GTH-q4\n 1\n")
    assert run(tmp_path).returncode == 0
