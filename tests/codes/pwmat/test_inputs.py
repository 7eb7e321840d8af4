"""What is set in the user's etot.input for each task, and what is refused before anything is submitted."""

import json
import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import kpts2sizeandoffsets
from ase.data import atomic_numbers
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.io.pwmat.inputs import AtomConfig

from alpw.codes.kpoints import mesh
from alpw.codes.protocol import INPUTS_FILE, Task
from alpw.codes.pwmat.code import Pwmat
from alpw.codes.pwmat.etot import read_etot
from alpw.codes.pwmat.jobs import PwmatJob, check_ranks, command_words, ranks
from alpw.errors import InputError
from alpw.structures.atom_config import read_atom_config, write_atom_config

PWMAT = Pwmat()
DFTB = "USE_DFTB = T\nDFTB_DETAIL = 1, 1, 0, 500, 1e-5, 1, 1"


@pytest.fixture
def written(tmp_path):
    """etot.input as written for a structure, and the changes that were reported."""

    def write(atoms, dft, task="label"):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        changes = PWMAT.write_inputs(atoms, folder, dft, Task(task))
        return read_etot(folder / "etot.input"), changes

    return write


def refused(dft, elements=("Si", "C"), task="label"):
    with pytest.raises(InputError) as caught:
        PWMAT.check(dft, elements, Task(task))
    return str(caught.value)


@pytest.mark.parametrize(("task", "job"), [("label", "SCF"), ("relax", "RELAX"), ("aimd", "MD")])
@pytest.mark.parametrize("given", ["", "JOB = nonscf"])
def test_job_follows_the_task_and_a_change_is_reported(written, user, carbide, task, job, given):
    dft = user.dft(f"{given}\nMD_DETAIL = 1 10 1.0 300 300\nRELAX_DETAIL = 1 20 0.05")
    etot, changes = written(carbide, dft, task)
    assert etot.get("JOB") == job
    assert f"JOB: {'nonscf' if given else 'none'} -> {job}" in changes


def test_a_job_that_fits_is_left_as_it_is_written(written, user, carbide):
    etot, changes = written(carbide, user.dft("job = scf"))
    assert etot.get("JOB") == "scf" and not [change for change in changes if change.startswith("JOB")]


def test_a_label_gets_the_outputs_that_are_read_and_no_large_ones(written, user, carbide):
    etot, changes = written(carbide, user.dft("OUT.FORCE = F\nOUT.VR = T"))
    for key in ("OUT.MLMD", "OUT.FORCE", "OUT.STRESS"):
        assert etot.flag(key)
    assert "OUT.FORCE: F -> T" in changes
    assert not etot.flag("OUT.WG", True) and not etot.flag("OUT.RHO", True)
    assert etot.flag("OUT.VR"), "the user asked for it"


def test_without_stress_no_stress_is_asked_for(written, user, carbide):
    assert "OUT.STRESS" not in written(carbide, user.dft(stress=False))[0]


def test_aimd_computes_stresses_unless_the_user_switched_them_off(written, user, carbide):
    md = "MD_DETAIL = 1 10 1.0 300 300"
    assert written(carbide, user.dft(md), "aimd")[0].flag("OUT.STRESS")
    assert not written(carbide, user.dft(f"{md}\nOUT.STRESS = F"), "aimd")[0].flag("OUT.STRESS")


def test_pseudopotentials_are_named_in_the_order_in_which_elements_first_appear(written, user, tmp_path):
    atoms = Atoms("OFeOH", positions=2.0 * np.eye(4, 3), cell=[6, 6, 6], pbc=True)
    dft = user.dft("IN.PSP1 = old.UPF\nIN.PSP4 = older.UPF", elements=("H", "Fe", "C", "O"))
    etot, changes = written(atoms, dft)
    names = [etot.get(key) for key in etot.numbered("IN.PSP")]
    assert names == ["O.SG15.PBE.UPF", "Fe.SG15.PBE.UPF", "H.SG15.PBE.UPF"]
    assert "IN.PSP1: old.UPF -> O.SG15.PBE.UPF" in changes and "IN.PSP4: older.UPF -> none" in changes
    assert all((tmp_path / "run" / name).read_text() == (user.folder / name).read_text() for name in names)


@pytest.mark.parametrize("dftb", ["USE_DFTB = F", "use_dftb = .false."])
def test_dftb_that_is_switched_off_does_not_suppress_the_pseudopotentials(written, user, carbide, dftb):
    etot, _ = written(carbide, user.dft(dftb))
    assert etot.numbered("IN.PSP") == ["IN.PSP1", "IN.PSP2"]


def test_an_element_without_pseudopotential_is_refused_by_name(user):
    assert "no pseudopotential for C; there is one for: Si" in refused(user.dft(elements=("Si",)))


def test_all_elements_of_the_campaign_need_one(user):
    assert "no pseudopotential for Ge" in refused(user.dft(elements=("Si", "C")), ("Si", "Ge"))
    dft = user.dft(elements=("Si", "C")).model_copy(update={"elements": ["Si", "C", "O"]})
    assert "no pseudopotential for O" in refused(dft, ("Si",))


@pytest.mark.parametrize(("lines", "warned"), [("ECUT = 50", False), ("SPIN = 1", True)])
def test_a_cutoff_that_depends_on_the_elements_is_warned_about(user, caplog, lines, warned):
    with caplog.at_level(logging.WARNING):
        PWMAT.check(user.dft(lines), ("Si", "C"))
    assert ("without ECUT" in caplog.text) == warned


def test_two_pseudopotentials_for_one_element_are_refused(user):
    dft = user.dft(pseudo=[user.upf("Si"), user.upf("Si", "si.other.upf"), user.upf("C")])
    assert "two pseudopotentials for Si" in refused(dft)


def test_a_file_whose_header_contradicts_its_name_is_refused(user):
    wrong = user.upf("C", "Si.PBE.UPF")
    assert "named for Si, but its header says C" in refused(user.dft(pseudo=[wrong]), ("Si",))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ONCV.PWM.Si.UPF", '<UPF version="2.0.1"><PP_HEADER\n generated="x"\n element=" Si"/></UPF>'),
        ("my_silicon.upf", "<PP_HEADER>\n   0     Version\n   Si    Element\n   NC\n</PP_HEADER>"),
        ("si.UPF", "no header that could be read"),
    ],
)
def test_the_element_is_known_by_the_header_or_by_the_name(user, silicon8, written, name, text):
    etot, _ = written(silicon8, user.dft(pseudo=[user.upf("Si", name, text)]))
    assert etot.get("IN.PSP1") == name


def test_a_file_of_no_known_element_is_refused(user):
    unknown = user.upf("Si", "pseudo.UPF", "nothing")
    assert "element of this pseudopotential is unknown" in refused(user.dft(pseudo=[unknown]), ("Si",))


def test_kspacing_gives_the_mesh_of_the_predecessor():
    """4 4 2 for 5.43 x 5.43 x 10.86 Å at 0.3/Å: rounded, not rounded up."""
    assert mesh(np.diag([5.43, 5.43, 10.86]), 0.3) == (4, 4, 2)
    assert mesh(np.diag([5.43, 50.0, 5.43]), 0.3) == (4, 1, 4)


def test_mesh_is_close_to_the_density_that_ase_defines(silicon):
    spacing = 0.2
    size, _ = kpts2sizeandoffsets(density=2 * np.pi / spacing / (2 * np.pi), atoms=silicon)
    assert np.abs(np.array(mesh(np.asarray(silicon.cell), spacing)) - size).max() <= 1


@pytest.mark.parametrize(
    ("lines", "given", "mesh"),
    [
        ("", {}, "3 3 3 0 0 0 0"),
        ("", {"kspacing": 0.3}, "5 5 5 0 0 0 0"),
        ("KSPACING = 0.3", {}, "5 5 5 0 0 0 0"),
        ("FLAG_SYMM = 2", {"kspacing": 0.3}, "5 5 5 0 0 0 2"),
        ("", {"flag_symm": 1}, "3 3 3 0 0 0 1"),
        ("MP_N123 = 7 7 7 1 1 1 2", {}, "7 7 7 1 1 1 2"),
        ("MP_N123 = 7 7 7", {}, "7 7 7"),
    ],
)
def test_the_mesh_comes_from_one_source(written, user, lines, given, mesh):
    atoms = bulk("Si", "sc", a=4.2)
    etot, changes = written(atoms, user.dft(lines, ("Si",), **given))
    assert etot.get("MP_N123") == mesh
    assert ("MP_N123" in " ".join(changes)) == ("MP_N123" not in lines)


@pytest.mark.parametrize(("task", "flag"), [("label", "0"), ("relax", "0"), ("aimd", "3")])
def test_only_aimd_is_without_symmetry_by_default(written, user, carbide, task, flag):
    """The predecessor's code had relaxation and AIMD exchanged."""
    etot, _ = written(carbide, user.dft("MD_DETAIL = 1 10 1.0 300 300"), task)
    assert etot.words("MP_N123")[6] == flag


def test_aimd_on_a_mesh_with_symmetry_is_warned_about(user, caplog):
    lines = "MD_DETAIL = 1 10 1.0 300 300\nMP_N123 = 2 2 2 0 0 0"
    with caplog.at_level(logging.WARNING):
        PWMAT.check(user.dft(lines), ("Si", "C"), Task.AIMD)
    assert "which AIMD breaks" in caplog.text


@pytest.mark.parametrize(
    ("lines", "given", "words"),
    [
        ("MP_N123 = 2 2 2 0 0 0", {"kspacing": 0.3}, "keep one"),
        ("MP_N123 = 2 2 2 0 0 0\nKSPACING = 0.3", {}, "keep one"),
        ("KSPACING = 0.4", {"kspacing": 0.3}, "KSPACING = 0.4"),
        ("FLAG_SYMM = 1", {"flag_symm": 3}, "1 by FLAG_SYMM, 3 by dft.flag_symm"),
        ("MP_N123 = 2 2 2 0 0 0 2", {"flag_symm": 3}, "2 by MP_N123"),
    ],
)
def test_two_sources_of_the_mesh_are_refused(user, lines, given, words):
    assert words in refused(user.dft(lines, **given))


def test_a_relaxation_without_detail_gets_the_default_and_says_so(written, user, carbide):
    etot, changes = written(carbide, user.dft(), "relax")
    assert etot.get("RELAX_DETAIL") == "1 100 0.01" and "RELAX_DETAIL: none -> 1 100 0.01" in changes


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "AIMD needs MD_DETAIL"),
        ("MD_DETAIL = 1 0 1.0 300 300", "makes no step"),
        ("MD_DETAIL = 1 10.5 1.0 300 300", "must be integers"),
    ],
)
def test_aimd_needs_to_know_its_steps(user, lines, words):
    assert words in refused(user.dft(lines), task="aimd")


def test_aimd_that_begins_with_given_velocities_needs_some(user, carbide, written, tmp_path):
    dft = user.dft("MD_DETAIL = 22 10 1.0 300 300")
    with pytest.raises(InputError, match="has none"):
        PWMAT.check_structure(carbide, dft, Task.AIMD)
    carbide.set_velocities(np.random.default_rng(1).normal(size=(8, 3)) * 0.01)
    PWMAT.check_structure(carbide, dft, Task.AIMD)
    written(carbide, dft, "aimd")
    found = read_atom_config(tmp_path / "run" / "atom.config", velocities=True)
    np.testing.assert_allclose(found.get_velocities(), carbide.get_velocities(), rtol=1e-12)


def test_a_molecule_without_periodic_cell_is_refused(user, carbide):
    carbide.pbc = (True, True, False)
    with pytest.raises(InputError, match="pad with vacuum"):
        PWMAT.check_structure(carbide, user.dft())


@pytest.mark.parametrize("key", ["IN.RHO", "IN.WG", "IN.VR", "IN.KPT"])
def test_a_start_from_files_of_another_structure_is_refused(user, key):
    assert "file of another structure" in refused(user.dft(f"{key} = T"))
    PWMAT.check(user.dft(f"{key} = F"), ("Si", "C"))


def test_companion_files_lie_next_to_the_control_file_and_come_along(user, written, carbide, tmp_path):
    assert "IN.SOLVENT = T needs the file" in refused(user.dft("IN.SOLVENT = T"))
    (user.folder / "IN.SOLVENT").write_text("DIELECTRIC = 78\n")
    written(carbide, user.dft("IN.SOLVENT = T"))
    assert (tmp_path / "run" / "IN.SOLVENT").read_text() == "DIELECTRIC = 78\n"


def test_without_control_file_there_is_nothing_to_run(make_dft):
    assert "needs a control file" in refused(make_dft(dft_style="pwmat"))


def test_dftb_links_the_slater_koster_files_and_no_pseudopotential(user, written, carbide, tmp_path):
    dft = user.dft(f"{DFTB}\nIN.PSP1 = x.UPF", in_skf=str(user.slater_koster("Si", "C")), pseudo=[])
    etot, changes = written(carbide, dft)
    assert etot.get("IN.SKF") == "./in_skf/" and not etot.numbered("IN.PSP")
    assert (tmp_path / "run" / "in_skf" / "Si-C.skf").is_file()
    assert "IN.SKF: none -> ./in_skf/" in changes and "IN.PSP1: x.UPF -> none" in changes


def test_dftb_without_a_pair_or_without_the_folder_is_refused(user):
    skf = user.slater_koster("Si", "C")
    (skf / "C-Si.skf").unlink()
    assert "no C-Si.skf in this folder" in refused(user.dft(DFTB, in_skf=str(skf), pseudo=[]))
    assert "needs the folder of the Slater-Koster files" in refused(user.dft(DFTB, pseudo=[]))


def test_charge_density_tight_binding_needs_no_slater_koster_files(user, written, carbide):
    dft = user.dft("USE_DFTB = T\nDFTB_DETAIL = 3, 1, 0", pseudo=[])
    PWMAT.check(dft, ("Si", "C"))
    etot, _ = written(carbide, dft)
    assert "IN.SKF" not in etot and not etot.numbered("IN.PSP")


def test_a_gaussian_basis_names_potential_and_basis_of_each_element(user, written, carbide, tmp_path):
    param = user.gaussian()
    etot, _ = written(carbide, user.dft("USE_GAUSSIAN = T", gaussian_param=param, pseudo=[]))
    assert etot.get("IN.PSP1") == "Si GTH-PBE-q4 GTH_POTENTIALS"
    assert etot.get("IN.BASIS2") == "C SZV-GTH BASIS_GTH"
    assert (tmp_path / "run" / "BASIS_GTH").is_file() and (tmp_path / "run" / "GTH_POTENTIALS").is_file()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"basis_set_list": ["SZV-GTH", "QZV"]}, "has no QZV for C; it offers DZVP-GTH"),
        ({"potential_list": ["GTH-BLYP", "GTH-PBE-q4"]}, "has no GTH-BLYP for Si"),
        ({"atom_list": ["Si", "Ge"]}, "C is not in the list: Si, Ge"),
        ({"basis_set_file": None}, "dft.gaussian_param.basis_set_file"),
        ({"potential_list": ["GTH-PBE-q4"]}, "lists of equal length"),
    ],
)
def test_a_gaussian_basis_that_cannot_work_is_refused(user, change, words):
    param = {**user.gaussian(), **change}
    assert words in refused(user.dft("USE_GAUSSIAN = T", gaussian_param=param, pseudo=[]))


def test_settings_of_single_elements_follow_their_element_into_every_structure(user, written):
    """LDAU_PSP1 belongs to the element of IN.PSP1, and each structure has its own order."""
    lines = "IN.PSP1 = Fe.SG15.PBE.UPF\nIN.PSP2 = O.SG15.PBE.UPF\nLDAU_PSP1 = 2 4.0\nIN.PSP_RCUT2 = 3.5"
    dft = user.dft(lines, elements=("Fe", "O"))
    oxide = Atoms("O2Fe", positions=2.0 * np.eye(3), cell=[6, 6, 6], pbc=True)
    etot, changes = written(oxide, dft)
    assert etot.get("IN.PSP2") == "Fe.SG15.PBE.UPF" and etot.get("LDAU_PSP2") == "2 4.0"
    assert "LDAU_PSP1" not in etot and etot.get("IN.PSP_RCUT1") == "3.5"
    assert any(change.startswith("LDAU_PSP2: none -> 2 4.0") for change in changes)
    etot, _ = written(bulk("Fe", cubic=True), dft)
    assert etot.get("LDAU_PSP1") == "2 4.0" and not etot.numbered("IN.PSP_RCUT")


def test_settings_of_an_element_that_is_not_named_are_refused(user):
    dft = user.dft("LDAU_PSP1 = 2 4.0", elements=("Fe", "O"))
    assert "LDAU_PSP1 belongs to one element; say which by IN.PSP1" in refused(dft, ("Fe", "O"))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("mpirun -np 4 PWmat", 4),
        ("mpiexec -n 8 PWmat", 8),
        ("/opt/bin/mpirun --bind-to core -np 2 PWmat", 2),
        ("srun -n 4 PWmat", 4),
        ("srun -n4 PWmat", 4),
        ("srun --ntasks=16 --mpi=pmi2 PWmat", 16),
        ("srun --ntasks 6 PWmat", 6),
        ("srun PWmat", None),
        ("mpirun -np $SLURM_NTASKS PWmat", None),
        ("PWmat", None),
        ("run_pwmat.sh -n 3", None),
    ],
)
def test_ranks_are_told_by_the_launcher(command, expected):
    assert ranks(command.split()) == expected


def test_a_node_grid_that_does_not_fit_the_ranks_is_refused_before_anything_runs(user, written, carbide):
    dft = user.dft(nodes="2 2")
    PWMAT.check_command(dft, "mpirun -np 4 PWmat")
    with pytest.raises(InputError, match="needs 4 MPI ranks, the command starts 8"):
        PWMAT.check_command(dft, "mpirun -np 8 PWmat")
    etot, _ = written(carbide, dft)
    with pytest.raises(InputError, match="starts 8"):
        PwmatJob(["mpirun", "-np", "8", "/nowhere/PWmat"]).run(etot.file.parent)
    check_ranks(etot, ["mpirun", "-np", "4", "PWmat"])


def test_without_pwmat_the_call_must_be_given(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="give the call in resource"):
        command_words(None)
    assert PWMAT.available()[0] is False
    assert command_words("mpirun -np 2 PWmat") == ["mpirun", "-np", "2", "PWmat"]


def test_what_was_done_is_on_record(user, written, carbide, tmp_path):
    _, changes = written(carbide, user.dft(kspacing=0.4))
    found = json.loads((tmp_path / "run" / INPUTS_FILE).read_text())
    assert found["changes"] == changes and found["rules"]["kspacing"] == 0.4
    assert set(found["rules"]["potentials"]) == {"Si", "C"}


@st.composite
def structures(draw):
    n = draw(st.integers(1, 12))
    symbols = draw(st.lists(st.sampled_from(["H", "C", "O", "Si", "Fe", "Au"]), min_size=n, max_size=n))
    numbers = st.floats(-0.3, 0.3, allow_nan=False)
    strain = np.array(draw(st.lists(numbers, min_size=9, max_size=9))).reshape(3, 3)
    cell = draw(st.floats(3.0, 40.0)) * (np.eye(3) + strain)
    fractions = draw(st.lists(st.floats(-2.0, 2.0), min_size=3 * n, max_size=3 * n))
    return Atoms(symbols, cell=cell, pbc=True, scaled_positions=np.reshape(fractions, (n, 3)))


@settings(max_examples=60, deadline=None)
@given(atoms=structures())
def test_the_structure_that_is_written_is_the_structure_that_was_chosen(atoms, tmp_path_factory):
    path = tmp_path_factory.mktemp("round") / "atom.config"
    write_atom_config(path, atoms)
    found = read_atom_config(path)
    assert found.get_chemical_symbols() == atoms.get_chemical_symbols()
    assert np.abs(found.positions - atoms.positions).max() < 1e-10
    assert np.abs(np.asarray(found.cell) - np.asarray(atoms.cell)).max() < 1e-10
    other = AtomConfig.from_file(path).structure
    assert [site.specie.Z for site in other] == [atomic_numbers[s] for s in atoms.get_chemical_symbols()]
    np.testing.assert_allclose(other.cart_coords, atoms.positions, atol=1e-10)
    np.testing.assert_allclose(other.lattice.matrix, np.asarray(atoms.cell), atol=1e-10)
