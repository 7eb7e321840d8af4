"""The INCAR stays the authority; what is changed in it is told, and every list follows the structure."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pymatgen.io.vasp import Incar as PymatgenIncar
from pymatgen.io.vasp import Kpoints, Poscar, Potcar

from alpw.codes.kpoints import mesh
from alpw.codes.protocol import Task
from alpw.codes.vasp import inputs
from alpw.codes.vasp.incar import Incar
from alpw.errors import InputError
from tests.codes.vasp.written import quietly, run


@pytest.fixture
def oxide():
    """Two iron and three oxygen atoms, interleaved."""
    atoms = Atoms("OFeOFeO", cell=[[5, 0, 0], [0.3, 5.2, 0], [0.1, -0.4, 5.4]], pbc=True)
    atoms.set_scaled_positions(np.random.default_rng(3).random((5, 3)))
    return atoms


def test_physics_of_the_incar_is_kept_and_every_change_is_told(tmp_path, user, silicon8):
    text = (
        "SYSTEM = my cell # mine\nENCUT = 520 eV\nISMEAR = 0; SIGMA = 0.05\nPREC = Accurate\nLREAL = Auto\n"
        "EDIFF = 1D-06\nGGA = PE\nNSW = 5\nIBRION = 2\nKSPACING = 0.25\nLWAVE = .TRUE.\n"
    )
    _, incar, changes = run(tmp_path, silicon8, user.dft(text))
    kept = {
        tag: incar.get(tag)
        for tag in ("ENCUT", "ISMEAR", "SIGMA", "PREC", "LREAL", "GGA", "KSPACING", "LWAVE")
    }
    assert kept == {
        "ENCUT": "520 eV",
        "ISMEAR": "0",
        "SIGMA": "0.05",
        "PREC": "Accurate",
        "LREAL": "Auto",
        "GGA": "PE",
        "KSPACING": "0.25",
        "LWAVE": ".TRUE.",
    }
    assert changes == [
        "INCAR/NSW: 5 -> 0",
        "INCAR/IBRION: 2 -> -1",
        "INCAR/LCHARG: none -> .FALSE.",
    ]


def test_an_incar_that_is_a_label_already_is_not_changed(tmp_path, user, silicon8):
    text = "ENCUT = 300\nNSW = 0\nIBRION = -1\nKSPACING = 0.5\nLCHARG = F\n"
    _, incar, changes = run(tmp_path, silicon8, user.dft(text))
    assert changes == []
    assert str(incar) == text


@pytest.mark.parametrize(
    ("task", "text", "wanted"),
    [
        (Task.LABEL, "", {"NSW": "0", "IBRION": "-1", "LCHARG": ".FALSE."}),
        (Task.LABEL, "ISIF = 0\nNWRITE = 0\nLCHARG = T", {"ISIF": "2", "NWRITE": "2", "LCHARG": "T"}),
        (Task.LABEL, "ISIF = 1", {"ISIF": "2"}),
        (Task.LABEL, "ISIF = 3\nNWRITE = 3", {"ISIF": "3", "NWRITE": "3"}),
        (Task.LABEL, "LHFCALC = T", {"ISIF": "2"}),
        (Task.LABEL, "ISYM = 0\nLWAVE = F", {"ISYM": "0", "LWAVE": "F"}),
        (Task.RELAX, "", {"NSW": "100", "IBRION": "2"}),
        (Task.RELAX, "NSW = 7\nIBRION = 1\nISIF = 3", {"NSW": "7", "IBRION": "1", "ISIF": "3"}),
        (Task.AIMD, "NSW = 9", {"NSW": "9", "IBRION": "0", "ISYM": "0", "POTIM": "1", "ISIF": "2"}),
        (Task.AIMD, "NSW = 9\nPOTIM = 2.5\nISYM = -1\nISIF = 3", {"POTIM": "2.5", "ISYM": "-1", "ISIF": "3"}),
    ],
)
def test_each_task_sets_what_it_needs_and_no_more(tmp_path, user, silicon8, task, text, wanted):
    _, incar, changes = run(tmp_path, silicon8, user.dft(f"KSPACING = 1\n{text}"), task)
    assert {tag: incar.get(tag) for tag in wanted} == wanted
    before = Incar.parse(f"KSPACING = 1\n{text}")
    changed = {tag for tag in incar.values if incar.get(tag) != before.get(tag)}
    assert {change.split(":")[0].removeprefix("INCAR/") for change in changes} == changed


def test_a_label_without_stress_leaves_isif_alone(tmp_path, user, silicon8):
    _, incar, _ = run(tmp_path, silicon8, user.dft("ISIF = 0", stress=False))
    assert incar.get("ISIF") == "0"


@pytest.mark.parametrize(
    ("task", "text", "key"),
    [
        (Task.RELAX, "IBRION = 0\nNSW = 10", "IBRION"),
        (Task.RELAX, "IBRION = -1", "IBRION"),
        (Task.RELAX, "IBRION = 6", "IBRION"),
        (Task.RELAX, "NSW = 0", "NSW"),
        (Task.AIMD, "IBRION = 0", "NSW"),
        (Task.AIMD, "NSW = 10\nIBRION = 2", "IBRION"),
        (Task.LABEL, "ICHARG = 11", "ICHARG"),
        (Task.LABEL, "ALGO = None", "ALGO"),
        (Task.LABEL, "ALGO = scGW0", "ALGO"),
        (Task.LABEL, "ML_LMLFF = T", "ML_LMLFF"),
        (Task.LABEL, "IMAGES = 4", "IMAGES"),
        (Task.LABEL, "ENCTU = 520", "ENCTU"),
        (Task.LABEL, "LWAVE = maybe", "LWAVE"),
        (Task.LABEL, "KSPACING = 0", "KSPACING"),
    ],
)
def test_an_incar_that_asks_for_something_else_is_refused_before_submission(user, task, text, key):
    dft = user.dft(text)
    with pytest.raises(InputError) as caught:
        inputs.check(dft, ["Si"], task)
    assert (caught.value.key, caught.value.file) == (key, user.folder / "INCAR")


@pytest.mark.parametrize("task", list(Task))
def test_a_sound_incar_passes(user, task):
    inputs.check(user.dft("ENCUT = 300\nKSPACING = 0.4\nNSW = 3"), ["Si"], task)


def test_without_an_incar_there_is_no_label(make_dft):
    with pytest.raises(InputError, match="INCAR"):
        inputs.check(make_dft(dft_style="vasp"), ["Si"], Task.LABEL)


def test_dynamics_with_symmetry_is_told_and_left_to_the_user(tmp_path, user, silicon8):
    _, incar, changes = run(tmp_path, silicon8, user.dft("KSPACING = 1\nNSW = 2\nISYM = 2"), Task.AIMD)
    assert incar.get("ISYM") == "2"
    assert any("ISYM" in change for change in changes)


# k-points


def test_mesh_rounds_as_the_predecessor_documents():
    assert mesh(np.diag([5.43, 5.43, 10.86]), 0.3) == (4, 4, 2)
    assert mesh(np.diag([5.43, 5.43, 40.0]), 0.5) == (2, 2, 1)


def test_kspacing_of_json_becomes_a_mesh_around_gamma(tmp_path, user):
    atoms = bulk("Si", cubic=True)
    folder, incar, changes = run(tmp_path, atoms, user.dft(kspacing=0.3))
    seen = Kpoints.from_file(str(folder / "KPOINTS"))
    assert (seen.style, seen.kpts, seen.kpts_shift) == (Kpoints.supported_modes.Gamma, [(4, 4, 4)], (0, 0, 0))
    assert "KSPACING" not in incar
    assert any("4 4 4" in change for change in changes)


def test_a_kpoints_file_beside_the_incar_is_copied(tmp_path, user, silicon8):
    text = "mine\n0\nMonkhorst\n3 3 2\n0 0 0.5\n"
    (user.folder / "KPOINTS").write_text(text)
    folder, incar, _ = run(tmp_path, silicon8, user.dft())
    assert (folder / "KPOINTS").read_text() == text
    assert "KSPACING" not in incar


def test_without_any_source_vasps_default_is_written_out_and_told(tmp_path, user, silicon8):
    folder, incar, changes = run(tmp_path, silicon8, user.dft())
    assert incar.get("KSPACING") == "0.5"
    assert not (folder / "KPOINTS").exists()
    assert any("default" in change for change in changes)


@pytest.mark.parametrize(
    ("text", "file", "spacing", "words"),
    [
        ("KSPACING = 0.3", True, None, ["KSPACING in INCAR", "KPOINTS"]),
        ("KSPACING = 0.3", False, 0.3, ["KSPACING in INCAR", "dft.kspacing"]),
        ("", True, 0.3, ["KPOINTS", "dft.kspacing"]),
    ],
)
def test_two_sources_of_kpoints_are_an_error_that_names_both(user, text, file, spacing, words):
    if file:
        (user.folder / "KPOINTS").write_text("mine\n0\nGamma\n3 3 3\n")
    with pytest.raises(InputError) as caught:
        inputs.check(user.dft(text, kspacing=spacing), ["Si"], Task.LABEL)
    assert all(word in str(caught.value) for word in words)


def test_the_kpoints_of_an_earlier_run_do_not_override_kspacing(tmp_path, user, silicon8):
    folder, *_ = run(tmp_path, silicon8, user.dft(kspacing=0.3))
    assert (folder / "KPOINTS").is_file()
    run(tmp_path, silicon8, user.dft("KSPACING = 0.5"))
    assert not (folder / "KPOINTS").exists()


@pytest.mark.parametrize(
    "text", ["path\n10\nLine-mode\nReciprocal\n0 0 0\n0.5 0 0\n", "mesh\n0\nGamma\nthree\n"]
)
def test_a_kpoints_file_that_is_no_mesh_is_refused(user, text):
    (user.folder / "KPOINTS").write_text(text)
    with pytest.raises(InputError, match="KPOINTS"):
        inputs.check(user.dft(), ["Si"], Task.LABEL)


# pseudopotentials


def test_datasets_come_in_the_order_of_the_species_in_poscar(tmp_path, user, oxide):
    folder, *_ = run(tmp_path, oxide, user.dft(elements=("Fe", "O")))
    species = quietly(Poscar.from_file, folder / "POSCAR").site_symbols
    assert species == quietly(Potcar.from_file, folder / "POTCAR").symbols == ["O", "Fe"]


def test_only_the_species_of_the_structure_are_in_potcar_but_all_are_recorded(tmp_path, user, silicon8):
    folder, *_ = run(tmp_path, silicon8, user.dft(elements=("O", "Si")))
    assert quietly(Potcar.from_file, folder / "POTCAR").symbols == ["Si"]
    assert set(json.loads((folder / "inputs.json").read_text())["rules"]["potcar"]) == {"O", "Si"}


def test_the_record_never_holds_the_content_of_a_dataset(tmp_path, user, silicon8):
    folder, *_ = run(tmp_path, silicon8, user.dft())
    text = (folder / "inputs.json").read_text()
    assert "PAW_PBE Si" in text and "PSCTR" not in text and "ENMAX" not in text


def test_a_missing_dataset_is_found_before_submission(user):
    dft = user.dft(elements=("Si",))
    with pytest.raises(InputError, match="no dataset for O"):
        inputs.check(dft, ["Si", "O"], Task.LABEL)


def test_all_compositions_get_one_cutoff_where_the_incar_gives_none(tmp_path, user):
    iron = bulk("Fe", cubic=True)
    _, incar, changes = run(tmp_path, iron, user.dft("PREC = Normal", elements=("Fe", "O")))
    assert incar.get("ENCUT") == "400"
    assert any("ENCUT" in change for change in changes)
    _, incar, _ = run(tmp_path, iron, user.dft("ENCUT = 450", elements=("Fe", "O")))
    assert incar.get("ENCUT") == "450"
    _, incar, _ = run(tmp_path, iron, user.dft("PREC = Normal", elements=("Fe",)))
    assert "ENCUT" not in incar


# lists by element and by atom


def moments(incar):
    return incar.numbers("MAGMOM")


@pytest.mark.parametrize("given", ["json", "incar"])
def test_moments_by_element_follow_the_structure(tmp_path, user, oxide, given):
    by_element = {"by_element": {"MAGMOM": {"Fe": 5, "O": 0.6}}} if given == "json" else {}
    text = "ISPIN = 2" + ("\nMAGMOM = 5 0.6" if given == "incar" else "")
    dft = user.dft(text, elements=("Fe", "O"), **by_element)
    folder, incar, changes = run(tmp_path, oxide, dft)
    assert moments(incar) == [0.6, 0.6, 0.6, 5, 5]
    assert any(change.startswith("INCAR/MAGMOM") for change in changes)
    assert quietly(PymatgenIncar.from_file, folder / "INCAR")["MAGMOM"] == [0.6, 0.6, 0.6, 5, 5]
    _, incar, _ = run(tmp_path, bulk("Fe", cubic=True) * (2, 1, 1), dft)
    assert moments(incar) == [5, 5, 5, 5]


def test_moments_by_atom_are_permuted_with_the_structure(tmp_path, user, oxide):
    dft = user.dft("ISPIN = 2\nMAGMOM = 0.1 5 0.3 -5 1*0.5", elements=("Fe", "O"))
    _, incar, _ = run(tmp_path, oxide, dft)
    assert moments(incar) == [0.1, 0.3, 0.5, 5, -5]


def test_moments_with_three_components_are_permuted_as_vectors(tmp_path, user, oxide):
    vectors = np.arange(15.0)
    text = "LSORBIT = T\nMAGMOM = " + " ".join(f"{x:g}" for x in vectors)
    folder, incar, _ = run(tmp_path, oxide, user.dft(text, elements=("Fe", "O")))
    wanted = vectors.reshape(5, 3)[[0, 2, 4, 1, 3]]
    assert np.array_equal(np.reshape(moments(incar), (5, 3)), wanted)
    seen = quietly(PymatgenIncar.from_file, folder / "INCAR")["MAGMOM"]
    assert np.array_equal(np.array(seen, dtype=float), wanted)


def test_a_moment_by_element_points_along_the_spin_axis_when_not_collinear(tmp_path, user, oxide):
    dft = user.dft("LNONCOLLINEAR = T", elements=("Fe", "O"), by_element={"MAGMOM": {"Fe": 5, "O": 0}})
    _, incar, _ = run(tmp_path, oxide, dft)
    assert np.array_equal(np.reshape(moments(incar), (5, 3))[:, 2], [0, 0, 0, 5, 5])
    assert not np.reshape(moments(incar), (5, 3))[:, :2].any()


@pytest.mark.parametrize("given", ["json", "incar"])
def test_hubbard_lists_hold_the_species_of_the_structure_in_their_order(tmp_path, user, oxide, given):
    if given == "json":
        u = {"LDAUL": {"Fe": 2}, "LDAUU": {"Fe": 5.3}, "LDAUJ": {}}
        dft = user.dft("LDAU = T", elements=("Si", "Fe", "O"), by_element=u)
    else:
        text = "LDAU = T\nLDAUL = -1 2 -1\nLDAUU = 0 5.3 0\nLDAUJ = 3*0"
        dft = user.dft(text, elements=("Si", "Fe", "O"))
    _, incar, _ = run(tmp_path, oxide, dft)
    assert (incar.get("LDAUL"), incar.get("LDAUU"), incar.get("LDAUJ")) == ("-1 2", "0 5.3", "0 0")
    _, incar, _ = run(tmp_path, bulk("Fe", cubic=True), dft)
    assert (incar.get("LDAUL"), incar.get("LDAUU"), incar.get("LDAUJ")) == ("2", "5.3", "0")


def test_without_elements_of_the_campaign_a_list_counts_in_the_order_of_the_structure(tmp_path, user, oxide):
    dft = user.dft("LDAU = T\nLDAUU = 0 5", elements=("Fe", "O")).model_copy(update={"elements": []})
    _, incar, _ = run(tmp_path, oxide, dft)
    assert incar.get("LDAUU") == "0 5"
    _, incar, _ = run(tmp_path, oxide[[1, 0, 2, 3, 4]], dft)
    assert incar.get("LDAUU") == "0 5"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("MAGMOM = 1 2 3", "3 values; 2 are needed for Fe, O or 5 for its atoms"),
        ("MAGMOM = 5*1.0 1.0", "6 values"),
        ("LDAUU = 4", "1 values; 2 are needed for Fe, O"),
        ("LANGEVIN_GAMMA = 10 10 10", "3 values"),
        ("LSORBIT = T\nMAGMOM = 5*1", "5 values"),
        ("MAGMOM = 5*up", "no list of numbers"),
    ],
)
def test_a_list_of_another_length_is_refused_and_explained(user, oxide, text, word):
    dft = user.dft(text, elements=("Fe", "O"))
    with pytest.raises(InputError, match=word) as caught:
        inputs.check_structure(oxide, dft)
    assert caught.value.key == text.split("\n")[-1].split(" =")[0]


def test_a_list_that_could_mean_two_things_is_refused(tmp_path, user):
    pair = Atoms("Fe2", positions=[[0, 0, 0], [1.4, 1.4, 1.4]], cell=[2.8] * 3, pbc=True)
    with pytest.raises(InputError, match="could be for the elements"):
        inputs.check_structure(pair, user.dft("MAGMOM = 5 -5", elements=("Fe", "O")))
    same = Atoms("FeO", positions=[[0, 0, 0], [2, 2, 2]], cell=[4.2] * 3, pbc=True)
    _, incar, _ = run(tmp_path, same, user.dft("MAGMOM = 5 -5", elements=("Fe", "O")))
    assert moments(incar) == [5, -5]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"incar": "MAGMOM = 5 0", "by_element": {"MAGMOM": {"Fe": 5}}}, "keep one"),
        ({"by_element": {"ENCUT": {"Fe": 5}}}, "no values by element"),
        ({"by_element": {"LANGEVIN_GAMMA": {"Fe": 5}}}, "no value for O"),
    ],
)
def test_values_by_element_of_json_are_checked(user, settings, word):
    with pytest.raises(InputError, match=word):
        inputs.check(user.dft(elements=("Fe", "O"), **settings), ["Fe", "O"], Task.LABEL)


def test_an_element_without_a_moment_starts_as_in_vasp(tmp_path, user, oxide):
    dft = user.dft("ISPIN = 2", elements=("Fe", "O"), by_element={"MAGMOM": {"Fe": 5}})
    _, incar, _ = run(tmp_path, oxide, dft)
    assert moments(incar) == [1, 1, 1, 5, 5]


def test_tags_that_count_atoms_need_a_structure_that_is_not_reordered(user, oxide):
    dft = user.dft("NSUBSYS = 2 5", elements=("Fe", "O"))
    with pytest.raises(InputError, match="group the atoms"):
        inputs.check_structure(oxide, dft)
    inputs.check_structure(oxide[[0, 2, 4, 1, 3]], dft)


# structures
