"""What the stand-in for VASP makes of its settings: level of theory, electronic loop, STOPCAR, POTCAR."""

import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp.inputs import Potcar
from pymatgen.io.vasp.outputs import Outcar
from pymatgen.io.vasp.sets import MPRelaxSet, MPStaticSet
from vasp.potcar import write_psp_dir
from vasp_folder import MD, PROGRAM, SCF, VaspFolder, distorted_silicon

KBAR = 1602.1766208  # kbar in one eV/Å³


@pytest.fixture
def run(tmp_path):
    return VaspFolder(tmp_path)


@pytest.fixture
def silicon():
    return distorted_silicon()


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("ENCUT", 320),
        ("KSPACING", 0.3),
        ("SIGMA", 0.1),
        ("PREC", "Accurate"),
        ("ISMEAR", 1),
        ("GGA", "PS"),
        ("METAGGA", "R2SCAN"),
        ("IVDW", 12),
        ("LREAL", "Auto"),
        ("ISPIN", 2),
        ("NELECT", 31),
        ("LDAU", ".TRUE.\nLDAUU = 4\nLDAUL = 2\nLDAUJ = 0"),
    ],
)
def test_what_changes_the_physics_changes_the_numbers(tmp_path, silicon, tag, value):
    assert abs(_level(tmp_path, silicon, {tag: value}) - _level(tmp_path, silicon, {})) > 1e-5


@pytest.mark.parametrize(
    "tags",
    [
        {"ALGO": "All"},
        {"AMIX": 0.1, "BMIX": 0.01},
        {"NELM": 200},
        {"EDIFF": 1e-8},
        {"KPAR": 4, "NCORE": 2},
        {"LREAL": ".FALSE.", "GGA": "PE", "ISPIN": 1, "LDAU": "F", "LDAUU": "4.0", "LWAVE": "F"},
        {"ENCUT": "300.0", "SYMPREC": 1e-8, "ISYM": 0},
    ],
)
def test_numerical_settings_change_nothing(tmp_path, silicon, tags):
    assert _level(tmp_path, silicon, tags) == _level(tmp_path, silicon, {})


def _level(folder, atoms, tags):
    from vasp.setup import read_setup

    VaspFolder(folder).write(atoms, {**SCF, **tags})
    return read_setup(folder).level


def test_another_pseudopotential_is_another_level_of_theory(run):
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    energies = []
    for labels in (["Na", "Cl"], ["Na_pv", "Cl"]):
        run.write(atoms, SCF, labels=labels)()
        energies.append(run.energy())
    assert abs(energies[0] - energies[1]) > 1e-4


def electronic_steps(run):
    return len(run.vasprun().ionic_steps[0]["electronic_steps"])


def test_the_electronic_loop_depends_on_algorithm_and_mixing_but_its_end_does_not(run, silicon):
    counts, energies = [], []
    for tags in ({}, {"ALGO": "Damped"}, {"AMIX": 0.05, "BMIX": 0.001}, {"EDIFF": 1e-3}):
        run.write(silicon, {**SCF, "LWAVE": "F", **tags})()
        counts.append(electronic_steps(run))
        energies.append(run.energy())
    assert counts[3] < counts[0] < counts[2]
    assert counts[0] < counts[1]
    assert energies == pytest.approx([energies[0]] * 4, abs=1e-8)


def test_too_few_electronic_steps_leave_unconverged_and_wrong_numbers(run, silicon):
    run.write(silicon, SCF)()
    good = run.vasprun().ionic_steps[0]
    (run.folder / "WAVECAR").unlink()
    run.incar({**SCF, "NELM": 5})
    assert run() == 0  # VASP goes on, too
    result = run.vasprun()
    assert not result.converged_electronic
    assert "aborting loop EDIFF was not reached (unconverged)" in run.text("OUTCAR")
    assert abs(result.ionic_steps[0]["e_fr_energy"] - good["e_fr_energy"]) > 1e-4
    assert np.abs(np.array(result.ionic_steps[0]["forces"]) - good["forces"]).max() > 1e-3


def test_wavefunctions_of_the_same_settings_shorten_the_electronic_loop(run, silicon):
    run.write(silicon, SCF)()
    cold = electronic_steps(run)
    run()
    assert electronic_steps(run) < cold
    run.incar({**SCF, "ISTART": 0})
    run()
    assert electronic_steps(run) == cold
    run.incar({**SCF, "ENCUT": 350})
    run()
    assert electronic_steps(run) == cold
    (run.folder / "WAVECAR").write_text("")
    run()
    assert electronic_steps(run) == cold
    run.incar({**SCF, "LWAVE": ".FALSE."})
    run()
    assert run.text("WAVECAR") == ""
    (run.folder / "WAVECAR").write_bytes(b"\x00\x01 half a file")
    assert run() == 1
    assert "while reading WAVECAR" in run.text("vasp.out")


def test_lstop_ends_after_the_ionic_step_and_stopcar_goes(run, silicon):
    run.write(silicon, {**MD, "NSW": 50, "SMASS": -3, "TEBEG": 300})
    (run.folder / "STOPCAR").write_text("LSTOP = .TRUE.\n")
    assert run() == 0
    result = run.vasprun()
    assert len(result.ionic_steps) == 1
    assert result.converged_electronic
    assert "soft stop encountered!" in run.text("OUTCAR")
    assert not (run.folder / "STOPCAR").exists()


def test_a_stopped_dynamics_continues_without_a_gap_or_a_repeated_step(run, silicon):
    tags = {**MD, "SMASS": -3, "TEBEG": 300}
    run.write(silicon, {**tags, "NSW": 3})()
    whole = [step["e_fr_energy"] for step in run.vasprun().ionic_steps]
    (run.folder / "STOPCAR").write_text("LSTOP = .TRUE.\n")
    run()
    (run.folder / "POSCAR").write_text(run.text("CONTCAR"))
    run.incar({**tags, "NSW": 2})
    run()
    assert [step["e_fr_energy"] for step in run.vasprun().ionic_steps] == pytest.approx(whole[1:], abs=1e-6)


def test_a_stopcar_without_write_permission_stays(run, silicon):
    run.write(silicon, {**MD, "NSW": 50, "SMASS": -3, "TEBEG": 300})
    (run.folder / "STOPCAR").write_text("LSTOP = .TRUE.\n")
    (run.folder / "STOPCAR").chmod(0o444)
    run()
    assert (run.folder / "STOPCAR").exists()


@pytest.mark.parametrize("tags", [{"IBRION": 2, "NSW": 20}, {**MD, "NSW": 20, "TEBEG": 300}, {}])
def test_labort_ends_within_the_electronic_loop_with_numbers_that_only_look_converged(run, silicon, tags):
    run.write(silicon, {**SCF, **tags})
    (run.folder / "STOPCAR").write_text("LABORT = .TRUE.\n")
    assert run() == 0
    assert "hard stop encountered!" in run.text("OUTCAR")
    assert "because EDIFF is reached" not in run.text("OUTCAR")
    assert electronic_steps(run) == 1
    assert len(run.vasprun().ionic_steps) == 1
    assert not (run.folder / "STOPCAR").exists()


def test_steps_take_the_time_asked_for(run, silicon):
    run.write(silicon, {**MD, "NSW": 3, "SMASS": -3, "TEBEG": 300})
    run(VASP_STEP_DELAY="0.1")
    timings = Outcar(run.folder / "OUTCAR")
    timings.read_pattern({"loop": r"LOOP\+.+real time(.+)"}, postprocess=float)
    assert [row[0] >= 0.1 for row in timings.data["loop"]] == [True] * 3


def test_a_single_point_starts_quickly(run, silicon):
    run.write(silicon, SCF)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run.process()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_the_program_runs_by_its_name_on_the_path(run, silicon):
    run.write(silicon, SCF)
    path = os.pathsep.join([str(PROGRAM.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    finished = subprocess.run(["vasp_std"], cwd=run.folder, env={**os.environ, "PATH": path}, check=False)
    assert finished.returncode == 0
    assert run.vasprun().converged


def test_only_the_first_of_several_ranks_works(run, silicon):
    run.write(silicon, SCF)
    assert run(OMPI_COMM_WORLD_RANK="1") == 0
    assert not (run.folder / "OUTCAR").exists()


@pytest.mark.parametrize("input_set", [MPStaticSet, MPRelaxSet])
def test_input_sets_of_pymatgen_run(run, tmp_path_factory, monkeypatch, input_set):
    folder = write_psp_dir(tmp_path_factory.mktemp("psp"), ["Na_pv", "Cl"])
    monkeypatch.setitem(sys.modules["pymatgen.io.vasp.inputs"].SETTINGS, "PMG_VASP_PSP_DIR", str(folder))
    atoms = bulk("NaCl", "rocksalt", a=5.7, cubic=True)
    atoms.rattle(0.02, seed=1)
    structure: Structure = AseAtomsAdaptor.get_structure(atoms)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        input_set(structure).write_input(run.folder)
    assert run() == 0
    result = run.vasprun()
    assert result.converged
    assert (len(result.ionic_steps) > 1) == (input_set is MPRelaxSet)
    assert result.potcar_symbols == ["PAW_PBE Na_pv 01Jan2000", "PAW_PBE Cl 01Jan2000"]


def test_potcars_of_the_command_line_are_read_by_others(tmp_path):
    text = subprocess.run(
        [sys.executable, str(PROGRAM), "--potcar", "Si", "Na_pv"], capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "POTCAR").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Potcar.from_file(tmp_path / "POTCAR")
    assert [(single.symbol, single.element, single.ZVAL) for single in found] == [
        ("Si", "Si", 4.0),
        ("Na_pv", "Na", 1.0),
    ]
    assert all(single.potential_type == "PAW" and single.functional == "PBE" for single in found)
    assert len(text) < 3000  # headers only


def test_two_species_out_of_order_with_potcar_give_another_material_and_a_warning(run):
    """As in VASP: POTCAR wins."""
    atoms = Atoms("NaCl", cell=[3.2, 3.2, 3.2], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], pbc=True)
    assert run.write(atoms, SCF, labels=["Cl", "Na"])() == 0
    assert "type information on POSCAR and POTCAR are incompatible" in run.text("vasp.out")
    assert run.vasprun().atomic_symbols == ["Cl", "Na"]
