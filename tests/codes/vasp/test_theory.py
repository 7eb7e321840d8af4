"""Equal levels of theory give equal settings, whatever the structure, task and spelling; others do not."""

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from alpw.codes.corrections import Effect
from alpw.codes.protocol import Task, settings_hash
from alpw.codes.run import run_label, run_steps
from alpw.codes.vasp import inputs
from alpw.codes.vasp.code import Vasp
from alpw.codes.vasp.corrections import MOTION, NO_GROUND_STATE, RULES
from alpw.codes.vasp.incar import Incar
from alpw.codes.vasp.theory import DEFAULTS, settings
from alpw.errors import CalculationError

VASP_STD = shlex.join([sys.executable, str(Path(__file__).parents[2] / "standins" / "vasp_std")])

OUTCAR = """\
 vasp.{version} 20Jul23 (build Aug 01 2023 10:00:00) complex

 POTCAR:    PAW_PBE Si 05Jan2001
   VRHFIN =Si: none
   TITEL  = PAW_PBE Si 05Jan2001
   number of dos      NEDOS =    301   number of ions     NIONS =      1
   ions per type =               1
--------------------------------------- Iteration      1(   1)  ---------------------------------------
"""

BASE = "ENCUT = 300\nISMEAR = 0\nSIGMA = 0.05\nEDIFF = 1E-6\nKSPACING = 0.5\nGGA = PE"

TAGS = sorted(key.removeprefix("INCAR/") for key in RULES if key.startswith("INCAR/"))
TAGS = [tag for tag in TAGS if not tag.endswith(NO_GROUND_STATE)]


@pytest.fixture
def level(tmp_path, user):
    """Settings of a run whose inputs are written as always and whose OUTCAR begins as VASP's."""

    def make(
        incar=BASE, atoms=None, task=Task.LABEL, *, edit=None, version="6.4.2", elements=("Si",), **given
    ):
        folder = tmp_path / "level"
        folder.mkdir(exist_ok=True)
        structure = bulk("Si", cubic=True) if atoms is None else atoms
        inputs.write_inputs(structure, folder, user.dft(incar, elements, **given), task)
        if edit is not None:
            run = Incar.read(folder / "INCAR")
            run.values.update(edit)
            (folder / "INCAR").write_text(str(run))
        (folder / "OUTCAR").write_text(OUTCAR.format(version=version))
        return settings(folder)

    return make


def has(tag):
    """A value for a tag that it has neither by default nor in `BASE`."""
    return {"LREAL": "Auto", "PREC": "Accurate", "GGA": "PS", "METAGGA": "SCAN", "KGAMMA": "F"}.get(
        tag, "F" if DEFAULTS.get(tag) == "T" else "T" if DEFAULTS.get(tag) == "F" else "7"
    )


@pytest.mark.parametrize("tag", [tag for tag in TAGS if RULES[f"INCAR/{tag}"].effect is Effect.NUMERICAL])
def test_what_is_numerical_is_no_part_of_the_level(level, tag):
    assert settings_hash(level(edit={tag: has(tag)})) == settings_hash(level())


@pytest.mark.parametrize("tag", sorted(MOTION))
def test_neither_is_how_the_atoms_move(level, tag):
    assert settings_hash(level(edit={tag: "3"})) == settings_hash(level())


def test_symmetry_is_the_users_choice_by_task_but_no_repair(level):
    assert settings_hash(level(BASE + "\nISYM = 0")) == settings_hash(level())
    assert settings_hash(level(edit={"ISYM": "0"})) != settings_hash(level())
    assert settings_hash(level(BASE + "\nISYM = 0", edit={"ISYM": "2"})) != settings_hash(level())
    assert settings_hash(level(edit={"SYMPREC": "1E-4"})) != settings_hash(level())


@pytest.mark.parametrize(
    "tag",
    [t for t in TAGS if RULES[f"INCAR/{t}"].effect is Effect.PHYSICS and t not in MOTION],
)
def test_everything_else_is(level, tag):
    assert settings_hash(level(edit={tag: has(tag)})) != settings_hash(level())


def test_a_tag_that_nobody_has_judged_is_part_of_the_level(level):
    assert settings_hash(level(edit={"XQZW": "1"})) != settings_hash(level())


@pytest.mark.parametrize(
    "change",
    [
        {"ENCUT": "301"},
        {"ISMEAR": "1"},
        {"SIGMA": "0.1"},
        {"PREC": "Accurate"},
        {"EDIFF": "1E-5"},
        {"LREAL": "Auto"},
        {"KSPACING": "0.4"},
        {"ISPIN": "2"},
        {"GGA": "PS"},
    ],
)
def test_the_choices_that_matter_most_change_the_hash(level, change):
    assert settings_hash(level(edit=change)) != settings_hash(level())


@pytest.mark.parametrize(
    "incar",
    [
        "ALGO = All\nNELM = 200\nAMIX = 0.1\nKPAR = 2\nNCORE = 4\n" + BASE,
        "\n".join(reversed(BASE.split("\n"))),
        "encut = 3.0d2 eV ! cutoff\nismear=0; sigma = 5e-2\nediff=0.000001\nkspacing = .5\ngga = pe",
        BASE + "\nISPIN = 1\nLREAL = .FALSE.\nPREC = normal\nSYSTEM = another",
        BASE + "\nLWAVE = F\nLCHARG = T\nLORBIT = 11\nNWRITE = 3",
    ],
)
def test_other_ways_to_write_the_same_level_are_the_same(level, incar):
    assert level(incar) == level()


def test_label_relaxation_and_dynamics_at_one_level_have_equal_settings(level):
    label = level()
    assert level(BASE + "\nIBRION = 2\nNSW = 50\nISIF = 3\nEDIFFG = -0.01", task=Task.RELAX) == label
    dynamics = "\nNSW = 50\nPOTIM = 2\nTEBEG = 300\nTEEND = 900\nSMASS = 0\nMDALGO = 2\nISYM = 0"
    assert level(BASE + dynamics, task=Task.AIMD) == label
    assert level(BASE + "\nNSW = 50\nPOTIM = 1", task=Task.AIMD) == label


def test_structures_of_other_size_shape_and_order_have_equal_settings(level):
    large = bulk("Si", cubic=True) * (3, 1, 2)
    sheared = bulk("Si")
    for given in ({}, {"kspacing": 0.4}):
        incar = BASE.replace("KSPACING = 0.5\n", "") if given else BASE
        assert level(incar, **given) == level(incar, large, **given) == level(incar, sheared, **given)


def test_compositions_of_one_campaign_have_equal_settings(level):
    iron = bulk("Fe", cubic=True)
    oxide = Atoms("OFeOFeO", positions=np.diag(range(1, 6)) @ np.ones((5, 3)), cell=[9] * 3, pbc=True)
    incar = "ISPIN = 2\nKSPACING = 0.5\nLDAU = T"
    given = {
        "elements": ("Fe", "O"),
        "by_element": {"MAGMOM": {"Fe": 5, "O": 0.6}, "LDAUL": {"Fe": 2}, "LDAUU": {"Fe": 4}, "LDAUJ": {}},
    }
    one, other = level(incar, iron, **given), level(incar, oxide, **given)
    assert one == other
    assert one["incar"]["MAGMOM"] == {"Fe": 5, "O": 0.6}
    assert one["incar"]["LDAUU"] == {"Fe": 4, "O": 0}
    assert sorted(one["potcar"]) == ["Fe", "O"]
    listed = "ISPIN = 2\nKSPACING = 0.5\nLDAU = T\nMAGMOM = 5 0.6\nLDAUL = 2 -1\nLDAUU = 4 0\nLDAUJ = 0 0"
    assert level(listed, iron * (2, 1, 1), elements=("Fe", "O")) == one
    given["by_element"]["LDAUU"] = {"Fe": 4.5}
    assert level(incar, iron, **given) != one


def test_a_list_that_was_changed_after_it_was_written_shows(level):
    given = {"elements": ("Fe",), "atoms": bulk("Fe", cubic=True), "by_element": {"MAGMOM": {"Fe": 5}}}
    assert level("KSPACING = 1", **given) != level("KSPACING = 1", edit={"MAGMOM": "0 0"}, **given)


def test_moments_by_atom_are_part_of_the_level_in_the_users_order(level):
    atoms = Atoms("FeOFeO", positions=np.diag(range(1, 5)) @ np.ones((4, 3)), cell=[8] * 3, pbc=True)
    one = level("KSPACING = 1\nMAGMOM = 5 0 -5 0", atoms, elements=("Fe", "O"))
    assert one["incar"]["MAGMOM"] == [5, 0, -5, 0]
    assert level("KSPACING = 1\nMAGMOM = 5 0 5 0", atoms, elements=("Fe", "O")) != one


def test_sources_of_kpoints_are_levels_of_their_own(level, user):
    without = BASE.replace("KSPACING = 0.5\n", "")
    in_incar, by_default, in_json = level(), level(without), level(without, kspacing=0.5)
    (user.folder / "KPOINTS").write_text("mine\n0\nGamma\n3 3 3\n")
    in_file = level(without)
    (user.folder / "KPOINTS").write_text("other words\n0\ngamma\n 3 3  3\n0 0 0\n")
    assert level(without) == in_file
    (user.folder / "KPOINTS").write_text("mine\n0\nGamma\n3 3 2\n")
    other_file = level(without)
    assert in_incar == by_default
    assert len({settings_hash(found) for found in (in_incar, in_json, in_file, other_file)}) == 4


def test_a_mesh_that_was_changed_after_it_was_written_shows(level, tmp_path):
    without = BASE.replace("KSPACING = 0.5\n", "")
    before = level(without, kspacing=0.5)
    (tmp_path / "level" / "KPOINTS").write_text("handler\n0\nGamma\n1 1 1\n")
    assert settings(tmp_path / "level") != before


def test_potentials_version_and_kind_of_energy_are_part_of_the_level(level, user, dataset, tmp_path):
    found = [level(), level(version="5.4.4.18Apr17-6-g9f103f2a35"), level(energy="sigma0")]
    other = tmp_path / "POTCAR_pv"
    other.write_text(dataset("Si_pv"))
    found.append(level(pseudo=[other]))
    other.write_text(dataset("Si").replace("   0.0\n", "   0.1\n"))
    found.append(level(pseudo=[other]))
    assert found[0]["version"] == "6.4.2"
    assert len({settings_hash(each) for each in found}) == len(found)


def test_without_an_outcar_nobody_knows_which_vasp_ran(level, tmp_path):
    level()
    (tmp_path / "level" / "OUTCAR").unlink()
    with pytest.raises(CalculationError, match="which VASP ran"):
        settings(tmp_path / "level")


def test_runs_of_all_tasks_end_at_one_level_in_the_order_of_the_user(tmp_path, user):
    """Through the whole chain: inputs, program, custodian, parser."""
    atoms = Atoms("OSiOSiO", cell=[[6.0, 0, 0], [0.4, 6.2, 0], [0.2, -0.3, 6.4]], pbc=True)
    atoms.set_scaled_positions(
        [[0.1, 0, 0], [0.4, 0.1, 0.2], [0.6, 0.5, 0.3], [0.8, 0.8, 0.8], [0.2, 0.5, 0.6]]
    )
    code, elements = Vasp(), ("Si", "O")
    label = run_label(code, atoms, tmp_path / "label", user.dft(BASE, elements), VASP_STD)
    dynamics = run_steps(
        code,
        Task.AIMD,
        atoms,
        tmp_path / "aimd",
        user.dft(BASE + "\nNSW = 3\nTEBEG = 300", elements),
        VASP_STD,
    )
    grouped = atoms[[1, 3, 0, 2, 4]]
    other = run_label(code, grouped, tmp_path / "grouped", user.dft(BASE, elements), VASP_STD)
    assert label.settings == dynamics.settings == other.settings
    assert dynamics.frames[0].atoms.get_chemical_symbols() == atoms.get_chemical_symbols()
    assert np.abs(dynamics.frames[0].label.forces - label.label.forces).max() < 1e-4
    assert np.abs(other.label.forces - label.label.forces[[1, 3, 0, 2, 4]]).max() < 1e-4
    assert np.ptp(label.label.forces, axis=0).max() > 0.01
