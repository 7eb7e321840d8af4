"""Failures of CP2K, provoked in real processes with a stand-in that reads the real input."""

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.calculators.lj import LennardJones

from alpw.codes.cp2k.outputs import read_output
from alpw.codes.cp2k.sections import read
from alpw.codes.registry import code_of
from alpw.codes.run import run_label
from alpw.errors import CalculationError, FailureKind

CP2K = code_of("cp2k")

CONTROL = """\
&FORCE_EVAL
  &DFT
    &MGRID
      CUTOFF 150
    &END MGRID
    &SCF
      EPS_SCF 1.0E-6
      &MIXING
        NBUFFER 8
        ALPHA 0.4
      &END MIXING
      &SMEAR ON
        ELECTRONIC_TEMPERATURE [K] 500
      &END SMEAR
    &END SCF
    &QS
      METHOD xTB
    &END QS
  &END DFT
&END FORCE_EVAL
"""


@pytest.fixture
def dft(tmp_path, make_dft):
    """Needs no data files, so that these tests run where CP2K is not installed."""
    control = tmp_path / "user.inp"
    control.write_text(CONTROL)
    return make_dft(dft_style="cp2k", input=control)


@pytest.fixture
def label(silicon, tmp_path, dft, fake_cp2k):
    def run(*arguments, **options):
        return run_label(CP2K, silicon, tmp_path / "run", dft, fake_cp2k(*arguments), **options)

    return run


@pytest.fixture
def failure(label):
    def run(*arguments, **options):
        with pytest.raises(CalculationError) as caught:
            label(*arguments, **options)
        return caught.value

    return run


def attempts(tmp_path):
    return int((tmp_path / "run" / "attempts").read_text())


@pytest.mark.parametrize("form", [(), ("--newer",)])
def test_label_has_the_numbers_units_and_signs_of_the_potential_behind_the_output(label, silicon, form):
    found = label(*form).label
    silicon.calc = LennardJones(epsilon=0.5, sigma=2.1, rc=5.0, smooth=True)
    assert found.energy == pytest.approx(silicon.get_potential_energy(), abs=1e-8)
    # Eight decimals of hartree/bohr are 5e-7 eV/Å; newer versions print nine digits.
    np.testing.assert_allclose(found.forces, silicon.get_forces(), atol=1e-6)
    virial = -silicon.get_stress(voigt=False) * silicon.get_volume()
    np.testing.assert_allclose(found.virial, virial, atol=1e-6 * np.abs(virial).max())


@pytest.mark.parametrize("form", [(), ("--newer",)])
def test_unconverged_scf_climbs_the_numerical_ladder_and_keeps_the_level_of_theory(label, tmp_path, form):
    clean = label(*form)
    (tmp_path / "run" / "attempts").unlink()
    repaired = label("--fault", "unconverged", "--until", "ALPHA=0.1", *form)
    assert [c["handler"] for c in repaired.corrections] == ["Cp2kScfHandler"] * 2
    assert all(c["kind"] == "scf" and "refused" not in c for c in repaired.corrections)
    assert "cp2k.inp/FORCE_EVAL/DFT/SCF/MIXING/ALPHA" in repaired.corrections[1]["changed"]
    scf = read(tmp_path / "run" / "cp2k.inp").need("FORCE_EVAL/DFT/SCF")
    assert scf.get("MAX_SCF") == "150" and scf.need("SMEAR").get("ELECTRONIC_TEMPERATURE") == "[K] 500"
    assert scf.need("MIXING").get("NBROYDEN") == "16" and not scf.need("MIXING").values("NBUFFER")
    assert repaired.settings_hash == clean.settings_hash
    assert repaired.label.energy == clean.label.energy


def test_scf_that_never_converges_is_given_up_although_cp2k_exits_with_zero(failure, tmp_path):
    error = failure("--fault", "unconverged")
    assert error.kind is FailureKind.SCF
    assert "SCF run NOT converged" in str(error) and attempts(tmp_path) == 4
    assert str(tmp_path / "run") in str(error)


def test_orbital_transformation_gets_its_own_ladder(failure, dft, tmp_path):
    dft.input.write_text(
        CONTROL.replace(
            "      &MIXING\n        NBUFFER 8\n        ALPHA 0.4\n      &END MIXING\n",
            "      &OT\n      &END\n",
        )
    )
    assert failure("--fault", "unconverged").kind is FailureKind.SCF
    scf = read(tmp_path / "run" / "cp2k.inp").need("FORCE_EVAL/DFT/SCF")
    assert scf.need("OT").get("MINIMIZER") == "CG" and scf.find("MIXING") is None


@pytest.mark.parametrize("fault", ["sigkill", "truncate"])
def test_crash_is_cured_by_a_rerun(label, fault):
    result = label("--fault", fault, "--times", "2")
    assert [(c["handler"], c["kind"]) for c in result.corrections] == [("Cp2kCrashHandler", "node")] * 2


def test_third_crash_is_final_and_names_the_signal(failure, tmp_path):
    error = failure("--fault", "sigkill")
    assert error.kind is FailureKind.NODE and "signal 9" in str(error) and attempts(tmp_path) == 3


def test_abort_is_told_in_the_words_of_cp2k_and_not_retried(failure, tmp_path):
    error = failure("--fault", "abort")
    assert error.kind is FailureKind.INPUT and attempts(tmp_path) == 1
    assert "found an unknown keyword EPS_SKF in section SCF" in str(error)


def test_lack_of_memory_is_told_apart_from_a_crash_and_not_retried(failure, tmp_path):
    error = failure("--fault", "memory")
    assert error.kind is FailureKind.MEMORY and attempts(tmp_path) == 1


def test_hang_ends_at_the_time_limit_with_no_process_left(failure, tmp_path, processes_in):
    error = failure("--fault", "hang", timeout=3.0)
    assert error.kind is FailureKind.WALLTIME
    assert attempts(tmp_path) == 1
    deadline = time.monotonic() + 20
    while processes_in(tmp_path / "run"):
        assert time.monotonic() < deadline, processes_in(tmp_path / "run")
        time.sleep(0.1)


def test_silent_program_is_stopped_and_run_again(silicon, dft, make_dft, tmp_path, fake_cp2k):
    dft = make_dft(dft_style="cp2k", input=dft.input, max_silence=2.0)
    result = run_label(CP2K, silicon, tmp_path / "run", dft, fake_cp2k("--fault", "hang", "--times", "1"))
    assert [c["handler"] for c in result.corrections] == ["SilenceHandler"]


@pytest.mark.parametrize(
    ("fault", "word"), [("nan", "finite"), ("no_stress", "stress"), ("moved", "atom 0"), ("strained", "cell")]
)
def test_output_that_cannot_be_trusted_gives_no_label(failure, fault, word):
    error = failure("--fault", fault)
    assert error.kind is FailureKind.UNKNOWN and word in str(error)


def test_missing_program_is_an_input_failure(silicon, tmp_path, dft):
    with pytest.raises(CalculationError, match="no-such-cp2k") as caught:
        run_label(CP2K, silicon, tmp_path / "run", dft, "no-such-cp2k")
    assert caught.value.kind is FailureKind.INPUT


def test_atoms_too_close_never_reach_the_code(silicon, tmp_path, dft):
    silicon.positions[1] = silicon.positions[0] + 0.3
    with pytest.raises(CalculationError, match="apart") as caught:
        run_label(CP2K, silicon, tmp_path / "run", dft, "no-such-cp2k")
    assert caught.value.kind is FailureKind.GEOMETRY and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        (("ALPHA 0.4", "ALPHA 0.2"), True),
        (("EPS_SCF 1.0E-6", "eps_scf 0.000001 ! same"), True),
        (("EPS_SCF 1.0E-6", "EPS_SCF 1.0E-5"), False),
        (("CUTOFF 150", "CUTOFF 200"), False),
        (("[K] 500", "[K] 1000"), False),
    ],
)
def test_settings_hash_follows_the_physics_and_nothing_else(label, dft, edit, same):
    before = label().settings_hash
    assert edit[0] in CONTROL
    dft.input.write_text(CONTROL.replace(*edit))
    assert (label().settings_hash == before) is same


def test_settings_hash_is_one_for_cells_of_different_meshes_and_elements(
    silicon, silicon8, tmp_path, make_dft, fake_cp2k
):
    """Data of one campaign share a hash: it is the rule that counts, not what the rule gives for a cell."""
    dft = make_dft(dft_style="cp2k", kspacing=0.4)
    oxide = silicon8.copy()
    oxide.symbols[3] = "O"
    labels = [
        run_label(CP2K, atoms, tmp_path / name, dft, fake_cp2k())
        for name, atoms in (("a", silicon), ("b", silicon8), ("c", oxide))
    ]
    assert len({label.settings_hash for label in labels}) == 1
    meshes = {re.search(r"SCHEME (.*)", (tmp_path / name / "cp2k.inp").read_text())[1] for name in "ab"}
    assert len(meshes) == 2
    finer = run_label(CP2K, silicon8, tmp_path / "d", make_dft(dft_style="cp2k", kspacing=0.3), fake_cp2k())
    assert finer.settings_hash != labels[0].settings_hash


def test_settings_hash_sees_the_content_of_a_basis_set_file(label, dft, tmp_path):
    hashes = []
    for content in ("Si DZ\n 1\n", "Si DZ\n 2\n"):
        folder = tmp_path / f"data{len(hashes)}"
        folder.mkdir()
        (folder / "BASIS").write_text(content)
        dft.input.write_text(CONTROL.replace("  &DFT\n", f"  &DFT\n    BASIS_SET_FILE_NAME {folder}/BASIS\n"))
        hashes.append(label().settings_hash)
    assert hashes[0] != hashes[1]


def test_version_of_the_code_is_part_of_the_settings(label):
    old, new = label(), label("--newer")
    assert (old.settings["version"], new.settings["version"]) == ("2023.1", "2024.3")
    assert old.settings_hash != new.settings_hash
    json.dumps(old.settings)


def test_changes_to_the_control_file_come_with_the_label_and_stay_on_disk(label):
    result = label()
    assert any("STRESS_TENSOR: none -> ANALYTICAL" in change for change in result.changes)
    assert json.loads((result.directory / "inputs.json").read_text())["changes"] == result.changes


def test_stick_figure_is_no_part_of_the_message(failure, tmp_path):
    failure("--fault", "abort")
    assert read_output(tmp_path / "run").abort == "found an unknown keyword EPS_SKF in section SCF"


def test_stress_is_converted_with_the_volume_of_the_output(label, silicon):
    text = Path(label().directory / "cp2k.out").read_text()
    first_row = re.search(r"STRESS\|      x(.*)", text)[1]
    assert label().label.virial[0, 0] == pytest.approx(
        float(first_row.split()[0]) * units.GPa * silicon.get_volume(), rel=1e-6
    )
