"""The control file stays the authority; what is changed in it is told."""

import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alpw.codes.corrections import refused
from alpw.codes.cp2k.data import executable, find_data_file
from alpw.codes.cp2k.sections import read
from alpw.codes.geometry import check_same_structure
from alpw.codes.kpoints import mesh
from alpw.codes.protocol import Task
from alpw.codes.registry import code_of
from alpw.config import Dft
from alpw.errors import InputError

from .conftest import CONTROL, MOTION

CP2K = code_of("cp2k")


def written(atoms, folder, dft):
    folder.mkdir(exist_ok=True)
    changes = CP2K.write_inputs(atoms, folder, dft)
    return read(folder / "cp2k.inp"), changes


def test_physics_of_the_control_file_is_kept_and_every_change_is_told(control, silicon, make_dft, tmp_path):
    root, changes = written(silicon, tmp_path / "run", make_dft(dft_style="cp2k", input=control))
    assert root.need("FORCE_EVAL/DFT/MGRID").get("CUTOFF") == "150"
    assert root.need("FORCE_EVAL/SUBSYS/KIND").get("MAGNETIZATION") == "1.0"
    assert root.need("GLOBAL").get("RUN_TYPE") == "ENERGY_FORCE"
    assert root.find("FORCE_EVAL/SUBSYS/TOPOLOGY") is None
    assert root.need("FORCE_EVAL").get("STRESS_TENSOR") == "ANALYTICAL"
    told = "\n".join(changes)
    for word in (
        "MD -> ENERGY_FORCE",
        "TOPOLOGY removed",
        "STRESS_TENSOR: none -> ANALYTICAL",
        "COORD replaced",
    ):
        assert word in told
    assert "CUTOFF" not in told and "KIND" not in told


def test_numerical_stress_of_the_control_file_is_respected(control, silicon, make_dft, tmp_path):
    control.write_text(CONTROL.replace("&FORCE_EVAL\n", "&FORCE_EVAL\n  STRESS_TENSOR NUMERICAL\n", 1))
    root, _ = written(silicon, tmp_path / "run", make_dft(dft_style="cp2k", input=control))
    assert root.need("FORCE_EVAL").get("STRESS_TENSOR") == "NUMERICAL"


def test_users_data_files_lie_beside_the_input(control, silicon, make_dft, tmp_path):
    root, _ = written(silicon, tmp_path / "run", make_dft(dft_style="cp2k", input=control))
    name = root.need("FORCE_EVAL/DFT").get("BASIS_SET_FILE_NAME")
    assert (tmp_path / "run" / name).resolve() == (tmp_path / "my_basis").resolve()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_structure_survives_the_input_file_in_its_own_order_and_orientation(data, tmp_path):
    numbers = data.draw(st.lists(st.sampled_from([1, 8, 14, 29, 79]), min_size=1, max_size=8))
    number = st.floats(-8, 8, allow_nan=False)
    cell = np.array(data.draw(st.lists(number, min_size=9, max_size=9))).reshape(3, 3)
    if abs(np.linalg.det(cell)) < 1:
        cell += 20 * np.eye(3)
    positions = np.array(data.draw(st.lists(number, min_size=3 * len(numbers), max_size=3 * len(numbers))))
    atoms = Atoms(numbers, positions.reshape(-1, 3), cell=cell, pbc=True)
    CP2K.write_inputs(atoms, tmp_path, Dft.model_validate({"dft_style": "cp2k"}))
    text = (tmp_path / "cp2k.inp").read_text()
    rows = re.search(r"&COORD\n(.*?)&END COORD", text, re.DOTALL)[1].split("\n")[:-1]
    vectors = re.findall(r"^\s+[ABC] (\S+) (\S+) (\S+)$", text, re.MULTILINE)
    assert [row.split()[0] for row in rows] == atoms.get_chemical_symbols()
    # Twelve decimals are written.
    np.testing.assert_allclose(
        [list(map(float, row.split()[1:])) for row in rows], atoms.positions, atol=1e-11
    )
    np.testing.assert_allclose(np.array(vectors, dtype=float), atoms.cell, atol=1e-11)


def test_mesh_rounds_as_the_predecessor_does():
    # 5.43 x 5.43 x 10.86 Å at 0.3/Å gave 4 4 2.
    assert mesh(np.diag([5.43, 5.43, 10.86]), 0.3) == (4, 4, 2)
    assert mesh(np.diag([100.0, 100.0, 100.0]), 0.5) == (1, 1, 1)
    # A primitive cell by hand: |b| = sqrt(3) / a for fcc vectors (0, a/2, a/2), ...
    assert mesh(np.asarray(bulk("Si", a=5.43).cell), 0.5) == (round(2 * np.pi * 3**0.5 / 5.43 / 0.5),) * 3


def test_kspacing_sets_the_mesh_and_one_point_means_no_section(control, silicon, make_dft, tmp_path):
    dft = make_dft(dft_style="cp2k", input=control, kspacing=0.5)
    root, changes = written(silicon, tmp_path / "run", dft)
    assert root.need("FORCE_EVAL/DFT/KPOINTS").get("SCHEME") == "MONKHORST-PACK 1 2 2"
    assert any("kspacing 0.5" in change for change in changes)
    root, _ = written(silicon * 3, tmp_path / "big", dft)
    assert root.find("FORCE_EVAL/DFT/KPOINTS") is None


def test_two_sources_of_k_points_are_an_input_error(control, make_dft):
    control.write_text(CONTROL.replace("    &SCF\n", "    &KPOINTS\n SCHEME GAMMA\n &END\n    &SCF\n"))
    with pytest.raises(InputError, match="kspacing"):
        CP2K.check(make_dft(dft_style="cp2k", input=control, kspacing=0.5), ["Si"])
    with pytest.raises(InputError, match="two values"):
        param = {"kspacing": 0.3}
        CP2K.check(make_dft(dft_style="cp2k", kspacing=0.5, gaussian_param=param), ["Si"])


def test_control_file_without_k_points_is_left_at_gamma(control, silicon, make_dft, tmp_path):
    root, _ = written(silicon, tmp_path / "run", make_dft(dft_style="cp2k", input=control))
    assert root.find("FORCE_EVAL/DFT/KPOINTS") is None


def test_gaussian_param_gives_kinds_and_the_default_mesh(control, silicon, make_dft, tmp_path):
    param = {
        "atom_list": ["Si", 8],
        "basis_set_list": ["DZ-q4", "TZ"],
        "potential_list": ["GTH-PBE", "GTH-PBE-q6"],
    }
    dft = make_dft(dft_style="cp2k", input=control, gaussian_param=param)
    CP2K.check(dft, ["Si", "O"])
    root, changes = written(silicon, tmp_path / "run", dft)
    kinds = {kind.argument: kind for kind in root.need("FORCE_EVAL/SUBSYS").all("KIND")}
    assert kinds["Si"].get("BASIS_SET") == "DZ-q4" and kinds["Si"].get("MAGNETIZATION") == "1.0"
    assert kinds["O"].get("POTENTIAL") == "GTH-PBE-q6"
    assert "KIND Si: DZ / GTH-PBE-q4 -> DZ-q4 / GTH-PBE" in changes
    assert root.find("FORCE_EVAL/DFT/KPOINTS") is not None


def test_gaussian_param_of_unequal_lengths_is_refused(control, make_dft):
    param = {"atom_list": ["Si", "O"], "basis_set_list": ["DZ"], "potential_list": ["GTH-PBE"]}
    with pytest.raises(InputError, match="atom_list 2, basis_set_list 1"):
        CP2K.check(make_dft(dft_style="cp2k", input=control, gaussian_param=param), ["Si"])


@pytest.mark.parametrize(
    ("edit", "elements", "message"),
    [
        (("", ""), ["Si", "O"], "no &KIND O"),
        (("BASIS_SET DZ", "BASIS_SET QZ"), ["Si"], "my_basis has no QZ for Si; it offers DZ, DZ-Q4"),
        (("GTH-PBE-q4", "GTH-LDA"), ["Si"], "my_potential has no GTH-LDA for Si"),
        (("      POTENTIAL GTH-PBE-q4\n", ""), ["Si"], "&KIND Si has no POTENTIAL"),
        (("&DFT", "&TFD"), ["Si"], "closes"),
        (("&FORCE_EVAL\n  &DFT", "&FORCE_EVAL\n  METHOD FIST\n  &DFT"), ["Si"], "METHOD FIST"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(control, make_dft, edit, elements, message):
    control.write_text(CONTROL.replace(*edit))
    with pytest.raises(InputError, match=message):
        CP2K.check(make_dft(dft_style="cp2k", input=control), elements)


def test_complete_control_file_passes(control, make_dft):
    CP2K.check(make_dft(dft_style="cp2k", input=control), ["Si"])


def test_missing_files_are_named(control, make_dft, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        CP2K.check(make_dft(dft_style="cp2k", input=tmp_path / "nowhere.inp"), ["Si"])
    with pytest.raises(InputError, match=r"nobasis.*dft.basis_set_file"):
        dft = make_dft(dft_style="cp2k", input=control, gaussian_param={"basis_set_file": "nobasis"})
        CP2K.check(dft, ["Si"])


def test_files_of_dft_replace_those_of_the_control_file(control, make_dft, tmp_path, silicon):
    other = tmp_path / "elsewhere" / "other_basis"
    other.parent.mkdir()
    other.write_text("Si DZ\n 1\n")
    dft = make_dft(dft_style="cp2k", input=control, basis_set_file=str(other))
    root, changes = written(silicon, tmp_path / "run", dft)
    assert root.need("FORCE_EVAL/DFT").values("BASIS_SET_FILE_NAME") == ["other_basis"]
    assert (tmp_path / "run" / "other_basis").resolve() == other.resolve()
    assert any("my_basis -> " in change for change in changes)


def test_surface_without_periodicity_is_refused(silicon, make_dft):
    silicon.pbc = [True, True, False]
    with pytest.raises(InputError, match="vacuum"):
        CP2K.check_structure(silicon, make_dft(dft_style="cp2k"))


@pytest.mark.skipif(executable() is None, reason="CP2K is not installed, nor are its data files")
def test_default_input_covers_the_common_elements_and_names_those_it_does_not(make_dft):
    dft = make_dft(dft_style="cp2k")
    CP2K.check(dft, ["H", "Li", "C", "O", "Si", "Fe", "Cu", "Ag", "Au", "Pb"])
    assert find_data_file("GTH_POTENTIALS")
    with pytest.raises(InputError, match="DZVP-MOLOPT-SR-GTH for Gd"):
        CP2K.check(dft, ["Gd"])


@pytest.mark.skipif(executable() is None, reason="CP2K is not installed")
def test_available_tells_version_and_place():
    found, text = CP2K.available()
    assert found and re.match(r"CP2K \d{4}\.\d \(/", text)


def test_available_tells_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    found, text = CP2K.available()
    assert not found and "apt-get install cp2k" in text


def read_back(path):
    """The structure in a CP2K input, read with other means than it was written with."""
    subsys = path.read_text().split("&SUBSYS")[1]
    rows = [line.split() for line in re.search(r"&COORD\n(.*?)&END", subsys, re.DOTALL)[1].splitlines()[:-1]]
    vectors = re.findall(r"^\s+[ABC] (\S+) (\S+) (\S+)$", subsys, re.MULTILINE)[:3]
    positions = [list(map(float, row[1:])) for row in rows]
    return Atoms([row[0] for row in rows], positions, cell=np.array(vectors, dtype=float), pbc=True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), task=st.sampled_from(list(Task)))
def test_structure_computed_is_the_structure_selected_in_every_task(seed, task, tmp_path, control):
    """Random cells of either hand and any orientation, elements in any order, atoms outside of the cell."""
    rng = np.random.default_rng(seed)
    cell = rng.normal(scale=2, size=(3, 3)) + 6 * np.linalg.qr(rng.normal(size=(3, 3)))[0]
    symbols = rng.choice(["H", "O", "Si", "Cu"], size=rng.integers(1, 9))
    atoms = Atoms(symbols, rng.normal(scale=8, size=(len(symbols), 3)), cell=cell, pbc=True)
    control.write_text(CONTROL.replace("&FORCE_EVAL\n", MOTION + "&FORCE_EVAL\n", 1))
    dft = Dft.model_validate({"dft_style": "cp2k", "input": control})
    CP2K.write_inputs(atoms, tmp_path, dft, task)
    check_same_structure(atoms, read_back(tmp_path / "cp2k.inp"), tmp_path)


def test_settings_of_inputs_name_every_keyword_by_its_path(control, silicon, make_dft, tmp_path):
    CP2K.write_inputs(silicon, tmp_path, make_dft(dft_style="cp2k", input=control))
    found = CP2K.settings_of_inputs(tmp_path)
    assert found["cp2k.inp/FORCE_EVAL/DFT/SCF/MAX_SCF"] == "20"
    assert found["cp2k.inp/FORCE_EVAL/SUBSYS/KIND Si/BASIS_SET"] == "DZ"
    assert "Si " in found["cp2k.inp/FORCE_EVAL/SUBSYS/COORD"]
    silicon.positions[0, 0] += 1e-6
    CP2K.write_inputs(silicon, tmp_path, make_dft(dft_style="cp2k", input=control))
    changed = CP2K.settings_of_inputs(tmp_path)
    assert {key for key in found if found[key] != changed[key]} == {"cp2k.inp/FORCE_EVAL/SUBSYS/COORD"}


@pytest.mark.parametrize(
    ("key", "task", "allowed"),
    [
        ("FORCE_EVAL/DFT/SCF/MAX_SCF", Task.LABEL, True),
        ("FORCE_EVAL/DFT/SCF/MIXING/ALPHA", Task.AIMD, True),
        ("FORCE_EVAL/DFT/SCF/EPS_SCF", Task.LABEL, False),
        ("FORCE_EVAL/DFT/SCF/SMEAR/ELECTRONIC_TEMPERATURE", Task.LABEL, False),
        ("FORCE_EVAL/DFT/MGRID/CUTOFF", Task.RELAX, False),
        ("FORCE_EVAL/SUBSYS/COORD", Task.LABEL, False),
        ("FORCE_EVAL/SUBSYS/COORD", Task.RELAX, True),
        ("FORCE_EVAL/SUBSYS/COORD", Task.AIMD, False),
        ("MOTION/GEO_OPT/BFGS/TRUST_RADIUS", Task.RELAX, True),
        ("MOTION/GEO_OPT/MAX_FORCE", Task.RELAX, False),
        ("MOTION/MD/TIMESTEP", Task.AIMD, False),
        ("GLOBAL/RUN_TYPE", Task.AIMD, False),
    ],
)
def test_corrections_may_touch_what_is_numerical_and_nothing_else(key, task, allowed):
    assert (refused(CP2K.rules, [f"cp2k.inp/{key}"], task, allow_physics=False) == []) is allowed


@pytest.mark.parametrize("key", ["GLOBAL/RUN_TYPE", "MOTION/MD/ENSEMBLE", "FORCE_EVAL/SUBSYS/VELOCITY"])
def test_md_is_never_turned_into_something_else_even_if_physics_may_change(key):
    assert refused(CP2K.rules, [f"cp2k.inp/{key}"], Task.AIMD, allow_physics=True)
