"""Labels with a program that writes VASP's files and fails on request: repaired, or given up for a reason."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from alpw.codes.run import run_label
from alpw.codes.vasp.code import Vasp
from alpw.errors import CalculationError, FailureKind

VASP_STD = shlex.join([sys.executable, str(Path(__file__).parents[2] / "standins" / "vasp_std")])

INCAR = """\
ENCUT = 300
KSPACING = 0.5
EDIFF = 1E-6
ALGO = Fast
ISMEAR = 0
SIGMA = 0.1
LREAL = Auto
KPAR = 2
NCORE = 2
"""

PHYSICS_ONLY = {
    "bravais": FailureKind.GEOMETRY,
    "dentet": FailureKind.INPUT,
    "ibzkpt": FailureKind.GEOMETRY,
    "inv_rot_mat": FailureKind.GEOMETRY,
    "nicht_konv": FailureKind.GEOMETRY,
    "point_group": FailureKind.GEOMETRY,
    "posmap": FailureKind.GEOMETRY,
    "real_optlay": FailureKind.INPUT,
    "rhosyg": FailureKind.GEOMETRY,
    "spin_polarized_harris": FailureKind.INPUT,
    "tet": FailureKind.INPUT,
    "triple_product": FailureKind.GEOMETRY,
}
"""Some errors that only a change of physics would mend."""

NUMERICAL = {
    "algo_tet": ("ALGO", FailureKind.SCF),
    "amin": ("AMIN", FailureKind.SCF),
    "brmix": ("", FailureKind.SCF),
    "coef": ("", FailureKind.NODE),
    "dfpt_ncore": ("NCORE", FailureKind.INPUT),
    "edddav": ("ALGO", FailureKind.SCF),
    "eddrmm": ("ALGO", FailureKind.SCF),
    "elf_kpar": ("KPAR", FailureKind.INPUT),
    "nbands_not_sufficient": ("NBANDS", FailureKind.SCF),
    "zpotrf": ("NCORE", FailureKind.GEOMETRY),
}
"""Some errors that have a numerical remedy, one for each remedy and class: what it changes first, and what
the label fails of when none helps."""

SYSTEM = {
    "exit": ("", FailureKind.UNKNOWN),
    "full_disk": ("", FailureKind.NODE),
    "licence": ("", FailureKind.LICENCE),
    "nelm": ("NELM", FailureKind.SCF),
    "no_vasprun": ("", FailureKind.NODE),
    "oom": ("KPAR", FailureKind.MEMORY),
    "positive_energy": ("ALGO", FailureKind.SCF),
    "segv": ("", FailureKind.NODE),
    "sigkill": ("", FailureKind.NODE),
    "truncate": ("", FailureKind.NODE),
}

WRONG_NUMBERS = ("nan_forces", "huge_forces", "net_force", "no_stress")


@pytest.fixture
def atoms():
    structure = bulk("Si", cubic=True)
    structure.rattle(0.05, seed=7)
    return structure


@pytest.fixture
def label(tmp_path, user, atoms, monkeypatch):
    """Runs a label with a fault that strikes a number of times."""
    monkeypatch.setenv("ALPW_RETRY_SECONDS", "0.05")

    def run(fault=None, times=1, structure=None, incar=INCAR, elements=("Si",), command=VASP_STD, **settings):
        given = {key: settings.pop(key) for key in ("until", "files", "go_on", "keep") if key in settings}
        folder = tmp_path / (fault or "undisturbed")
        folder.mkdir(exist_ok=True)
        if fault:
            entry = {"fault": fault, "times": times, **given}
            (folder / "vasp_faults.json").write_text(json.dumps([entry]))
        dft = user.dft(incar, elements, **settings)
        return run_label(Vasp(), atoms if structure is None else structure, folder, dft, command)

    return run


def assert_same(result, reference):
    assert result.label.energy == pytest.approx(reference.label.energy, abs=1e-5)
    assert result.label.forces == pytest.approx(reference.label.forces, abs=1e-5)
    assert result.label.virial == pytest.approx(reference.label.virial, abs=1e-4)
    assert result.settings_hash == reference.settings_hash


def check_mended_or_given_up(label, name, tag, kind):
    result = label(name)
    assert_same(result, label())
    assert [entry for entry in result.corrections if entry.get("refused")] == []
    assert f"INCAR/{tag}" in result.corrections[0]["changed"] if tag else result.corrections[0]["actions"]
    (Path(result.directory) / "request.sha256").unlink()
    with pytest.raises(CalculationError) as caught:
        label(name, times=99)
    assert caught.value.kind is kind


@pytest.mark.parametrize("name", ["eddrmm", "edddav", "zpotrf"])
def test_an_error_with_a_numerical_remedy_is_mended_and_then_given_up(label, name):
    check_mended_or_given_up(label, name, *NUMERICAL[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NUMERICAL.keys() - {"eddrmm", "edddav", "zpotrf"}))
def test_every_error_with_a_numerical_remedy_is_mended_and_then_given_up(label, name):
    check_mended_or_given_up(label, name, *NUMERICAL[name])


@pytest.mark.parametrize("name", SYSTEM)
def test_what_is_not_vasps_fault_is_mended_and_then_given_up(label, name):
    check_mended_or_given_up(label, name, *SYSTEM[name])


def check_needs_physics(label, name):
    with pytest.raises(CalculationError) as caught:
        label(name, allow_physics=True)
    assert caught.value.kind is PHYSICS_ONLY[name]
    inputs = (Path(caught.value.directory) / "INCAR").read_text()
    assert "LREAL = Auto" in inputs and "SIGMA = 0.1" in inputs and "ISYM" not in inputs


@pytest.mark.parametrize("name", ["tet", "rhosyg", "triple_product"])
def test_what_only_another_physics_would_mend_is_given_up_at_once(label, name):
    check_needs_physics(label, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PHYSICS_ONLY.keys() - {"tet", "rhosyg", "triple_product"}))
def test_whatever_only_another_physics_would_mend_is_given_up_at_once(label, name):
    check_needs_physics(label, name)


def test_the_reason_names_the_setting_that_would_have_to_change(label):
    with pytest.raises(CalculationError, match=r"REAL_OPTLAY.*change the physics: INCAR/LREAL"):
        label("real_optlay")


@pytest.mark.parametrize("name", WRONG_NUMBERS)
def test_wrong_numbers_are_no_label(label, name):
    with pytest.raises(CalculationError) as caught:
        label(name)
    assert caught.value.kind is FailureKind.UNKNOWN


def test_a_missing_stress_is_no_fault_where_none_is_wanted(label):
    assert label("no_stress", stress=False).label.virial is None


def test_a_run_that_hangs_is_killed_and_run_again(label):
    result = label("hang", max_silence=2.0)
    assert_same(result, label(max_silence=2.0))
    assert result.corrections[0]["handler"] == "SilenceHandler"


def test_the_ladder_for_an_unconverged_scf_is_climbed_to_the_rung_that_helps(label):
    result = label("nelm", times=99, until={"BMIX": 0.0001})
    assert_same(result, label())
    changed = [entry["changed"] for entry in result.corrections]
    assert changed[0] == ["INCAR/ALGO", "INCAR/NELM"] and changed[1] == ["INCAR/ALGO"]
    assert "INCAR/BMIX" in changed[2] and len(changed) == 3


def test_brmix_is_mended_by_kerker_mixing_after_a_fresh_start(label):
    result = label("brmix", times=99, until={"IMIX": 1})
    assert [entry["changed"] for entry in result.corrections] == [[], ["INCAR/IMIX"]]
    assert_same(result, label())


@pytest.mark.parametrize("name", ["eddrmm", "subspacematrix", "amin", "symprec_noise"])
def test_a_warning_in_a_run_that_converged_means_nothing(label, name):
    result = label(name, times=99, go_on=True)
    assert result.corrections == []
    assert_same(result, label())


def test_an_error_in_a_run_that_converged_counts(label):
    with pytest.raises(CalculationError, match="DENTET"):
        label("dentet", times=99, go_on=True)


def test_brmix_of_a_charged_cell_is_no_error(label):
    result = label("brmix", times=99, go_on=True, incar=INCAR + "NELECT = 31\n")
    assert result.corrections == []


def test_a_missing_pseudopotential_is_not_tried_twice(label):
    command = shlex.join(["/bin/sh", "-c", "rm -f POTCAR; exec " + VASP_STD])
    with pytest.raises(CalculationError) as caught:
        label(command=command)
    assert caught.value.kind is FailureKind.INPUT and "correction" not in caught.value.message


def test_a_program_that_cannot_be_started_is_an_error_of_the_input(label):
    with pytest.raises(CalculationError) as caught:
        label(command="/nowhere/vasp_std")
    assert caught.value.kind is FailureKind.INPUT


def test_a_label_is_in_the_order_of_the_atoms_it_was_asked_for(label):
    """Elements mixed, one atom outside the cell: VASP gets them sorted and gives them back wrapped."""
    alloy = Atoms("CuAuCuAu", cell=[3.8, 3.9, 4.1], pbc=True)
    alloy.set_scaled_positions([[0, 0, 0], [0.52, 0.5, 0.01], [0.5, 0.02, 0.5], [0.03, 0.5, 0.49]])
    alloy.positions[1] += alloy.cell[0]
    mixed = label(structure=alloy, elements=("Au", "Cu"))
    (Path(mixed.directory) / "request.sha256").unlink()
    order = [2, 0, 3, 1]
    other = label(structure=alloy[order], elements=("Au", "Cu"))
    assert mixed.label.forces[order] == pytest.approx(other.label.forces, abs=1e-5)
    assert np.abs(mixed.label.forces).max() > 0.1
    assert mixed.label.energy == pytest.approx(other.label.energy, abs=1e-6)
    assert mixed.settings_hash == other.settings_hash


def test_energies_without_smearing_on_request(label, tmp_path):
    from ase.io import read

    for energy, method in (("free", {"force_consistent": True}), ("sigma0", {})):
        result = label(energy=energy)
        expected = read(tmp_path / "undisturbed" / "vasprun.xml").get_potential_energy(**method)
        assert result.label.energy == pytest.approx(expected, abs=1e-6)
        (tmp_path / "undisturbed" / "request.sha256").unlink()


def test_nothing_is_left_running(label, tmp_path, processes_in):
    label("hang_hard", max_silence=2.0)
    assert processes_in(tmp_path / "hang_hard") == []


def test_a_label_that_was_given_up_is_not_believed_when_it_is_asked_for_again(label):
    """VASP reported an error and wrote complete outputs all the same."""
    for _ in range(2):
        with pytest.raises(CalculationError, match="RHOSYG"):
            label("rhosyg", times=99, go_on=True)


def test_outputs_that_no_handler_has_judged_are_judged_when_they_are_read(label, tmp_path):
    first = label()
    (tmp_path / "undisturbed" / "vasp.out").write_text(" RHOSYG internal error: stars are not distinct\n")
    again = label()
    assert_same(again, first)
    assert "RHOSYG" not in (tmp_path / "undisturbed" / "vasp.out").read_text()
