"""The structure that VASP is given is the structure that was asked for, whatever lay in the folder before."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.io.vasp import Poscar, Potcar

from alpw.codes.protocol import Task
from alpw.codes.vasp import inputs
from alpw.errors import InputError
from alpw.formats.poscar import read_poscar
from tests.codes.vasp.written import quietly, run

SYMBOLS = ("H", "C", "O", "Si", "Fe")


@st.composite
def structures(draw):
    """Right-handed cells of 3 to 30 Å, also strongly skewed, with elements in any order."""
    lengths = st.floats(3, 30, allow_nan=False)
    shears = st.floats(-0.9, 0.9, allow_nan=False)
    cell = np.diag([draw(lengths) for _ in range(3)])
    cell[1, 0], cell[2, 0], cell[2, 1] = (
        draw(shears) * cell[0, 0],
        draw(shears) * cell[0, 0],
        draw(shears) * cell[1, 1],
    )
    turn, _ = np.linalg.qr(np.random.default_rng(draw(st.integers(0, 99))).normal(size=(3, 3)))
    cell = cell @ (turn * np.sign(np.linalg.det(turn)))
    symbols = draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=12))
    fractions = draw(
        st.lists(
            st.tuples(*[st.floats(-1.5, 1.5, allow_nan=False)] * 3),
            min_size=len(symbols),
            max_size=len(symbols),
        )
    )
    return Atoms(symbols, positions=np.array(fractions) @ cell, cell=cell, pbc=True)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(atoms=structures())
def test_species_order_cell_and_positions_survive_the_round_trip(tmp_path, user, atoms):
    dft = user.dft(
        "ISPIN = 2\nKSPACING = 9",
        elements=SYMBOLS,
        by_element={"MAGMOM": dict(zip(SYMBOLS, range(5), strict=True))},
    )
    folder, incar, _ = run(tmp_path, atoms, dft)
    order = json.loads((folder / "inputs.json").read_text())["rules"]["order"]
    written = read_poscar(folder / "POSCAR")
    back = np.argsort(order)
    assert written[back].get_chemical_symbols() == atoms.get_chemical_symbols()
    assert np.abs(written.positions[back] - atoms.positions).max() < 1e-12 * max(
        1, np.abs(atoms.positions).max()
    )
    assert np.abs(np.asarray(written.cell) - np.asarray(atoms.cell)).max() < 1e-12
    assert [SYMBOLS[int(moment)] for moment in incar.numbers("MAGMOM")] == written.get_chemical_symbols()
    seen = quietly(Poscar.from_file, folder / "POSCAR")
    assert seen.site_symbols == quietly(Potcar.from_file, folder / "POTCAR").symbols
    assert len(set(seen.site_symbols)) == len(seen.site_symbols)
    assert np.abs(seen.structure.cart_coords[back] - atoms.positions).max() < 1e-9


def test_a_left_handed_cell_is_refused_with_advice_that_works(user):
    atoms = bulk("Si")
    atoms.set_cell(atoms.cell[[1, 0, 2]])
    left, right = (atoms, bulk("Si")) if np.linalg.det(atoms.cell) < 0 else (bulk("Si"), atoms)
    with pytest.raises(InputError, match="left-handed"):
        inputs.check_structure(left, user.dft())
    left.set_cell(left.cell[[1, 0, 2]])
    inputs.check_structure(left, user.dft())
    inputs.check_structure(right, user.dft())


def test_molecules_without_a_periodic_cell_and_foreign_elements_are_refused(user):
    molecule = Atoms("Si2", positions=[[0, 0, 0], [2.2, 0, 0]], cell=[9, 9, 9])
    with pytest.raises(InputError, match="periodic"):
        inputs.check_structure(molecule, user.dft())
    with pytest.raises(InputError, match="Ge is none of"):
        inputs.check_structure(bulk("Ge"), user.dft())


def test_labels_drop_constraints_and_velocities_which_other_tasks_keep(tmp_path, user, silicon8):
    silicon8.set_constraint(FixAtoms([0]))
    silicon8.set_velocities(np.full((8, 3), 0.1))
    dft = user.dft("KSPACING = 1\nNSW = 5")
    folder, *_ = run(tmp_path, silicon8, dft)
    label = read_poscar(folder / "POSCAR")
    assert not label.constraints and not label.has("momenta")
    run(tmp_path, silicon8, dft, Task.RELAX)
    relaxation = read_poscar(folder / "POSCAR")
    assert relaxation.constraints and not relaxation.has("momenta")
    run(tmp_path, silicon8, dft, Task.AIMD)
    dynamics = read_poscar(folder / "POSCAR")
    assert dynamics.get_velocities()[1] == pytest.approx(0.1)
    assert silicon8.constraints and silicon8.has("momenta")


# wavefunctions


@pytest.fixture
def earlier(tmp_path, user, silicon8):
    """A finished label with its wavefunction."""

    def make(text="KSPACING = 1"):
        folder = tmp_path / "earlier"
        folder.mkdir(exist_ok=True)
        inputs.write_inputs(silicon8, folder, user.dft(text))
        (folder / "WAVECAR").write_bytes(b"wave")
        return folder

    return make


def test_a_wavefunction_of_the_same_atoms_is_copied_and_recorded(tmp_path, user, silicon8, earlier):
    folder, *_ = run(tmp_path, silicon8, user.dft("KSPACING = 1"), reuse=earlier())
    copy, source = folder / "WAVECAR", tmp_path / "earlier" / "WAVECAR"
    assert copy.read_bytes() == b"wave"
    assert json.loads((folder / "inputs.json").read_text())["rules"]["reused"] == str(source)
    # VASP writes into the file that it finds.
    copy.write_bytes(b"else")
    assert source.read_bytes() == b"wave"


@pytest.mark.parametrize(
    "text", ["ISPIN = 2", "LSORBIT = T", "LNONCOLLINEAR = T", "LDAU = T", "NUPDOWN = 2", "ISTART = 0"]
)
def test_it_is_not_reused_where_it_could_lead_to_another_state(tmp_path, user, silicon8, earlier, text):
    source = earlier()
    folder, *_ = run(tmp_path, silicon8, user.dft(f"KSPACING = 1\n{text}"), reuse=source)
    assert not (folder / "WAVECAR").exists()
    assert json.loads((folder / "inputs.json").read_text())["rules"]["reused"] is None


def test_it_is_not_reused_from_a_magnetic_run_other_atoms_or_for_dynamics(tmp_path, user, silicon8, earlier):
    source = earlier()
    dft = user.dft("KSPACING = 1\nNSW = 3")
    folder, *_ = run(tmp_path, silicon8[:7], dft, reuse=source)
    assert not (folder / "WAVECAR").exists()
    run(tmp_path, silicon8, dft, Task.AIMD, reuse=source)
    assert not (folder / "WAVECAR").exists()
    source = earlier("KSPACING = 1\nISPIN = 2")
    run(tmp_path, silicon8, user.dft("KSPACING = 1"), reuse=source)
    assert not (folder / "WAVECAR").exists()


def test_nothing_of_an_earlier_run_in_the_folder_is_a_start(tmp_path, user, silicon8):
    folder, *_ = run(tmp_path, silicon8, user.dft())
    for name in ("WAVECAR", "CHGCAR", "TMPCAR"):
        (folder / name).write_text("old")
    run(tmp_path, silicon8, user.dft())
    assert not any((folder / name).exists() for name in ("WAVECAR", "CHGCAR", "TMPCAR"))
