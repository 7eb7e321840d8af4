"""MOVEMENT and OUT.MLMD in the layouts that PWmat writes, read and written."""

from __future__ import annotations

import gzip
import tracemalloc
from itertools import permutations, repeat
from pathlib import Path

import dpdata
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.pwmat.outputs import Movement

from alpw.errors import InputError
from alpw.formats.movement import read_movement, write_movement
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.frames import LabelledFrames

# What another reader does otherwise, and why it is not a fault of ours.
EXCEPTIONS = {
    (
        "dpdata",
        "virials",
    ): "keeps the sign of PWmat's stress, and takes 160.2 GPa for 1 eV/Å^3: they are -1 times ours",
    ("dpdata", "order"): "sorts the atoms by atomic number",
    ("dpdata", "relaxation"): "fails on headers of relaxations: they have no SCF",
    ("pymatgen", "frames"): "every frame is the last one, one dictionary being shared by all",
    ("pymatgen", "energy"): "is Etot, with the kinetic energy",
    ("pymatgen", "virials"): "keeps the sign of PWmat's stress",
}

HEADER = (
    "       3 atoms,Iteration (fs) =    0.2000000000E+01, Etot,Ep,Ek (eV) =   -0.1000000000E+02"
    "  -0.1100000000E+02   0.1000000000E+01, SCF =    13\n"
)
RELAXATION = (
    "       3 atoms,Iteration =   2, Etot,Ep,Ek (eV) =  -0.1000000000E+02  -0.1100000000E+02"
    "   0.1000000000E+01, Average Force=  0.50000E-02, Max force=  0.10000E-01\n"
)
INFO = """     MD_INFO: METHOD(1-VV,2-NH,3-LV,4-LVPR,5-NHRP) TIME(fs) TEMP(K) DESIRED_TEMP(K) AVE_TEMP(K) ...
              1    0.2000000000E+01   0.45621E+03   0.30000E+03   0.50349E+03   0.10000E+03   0.10070E+04
     MD_VV_INFO: Basic Velocity Verlet Dynamics (NVE), Initialized total energy(Hartree)
              -0.8060570273E+01
"""
LATTICE = (
    " Lattice vector (Angstrom)\n"
    "   0.4000000000E+01    0.0000000000E+00    0.0000000000E+00"
    "     stress (eV):  0.100000E+01  0.400000E+00  0.500000E+00\n"
    "   0.1000000000E+01    0.5000000000E+01    0.0000000000E+00"
    "     stress (eV):  0.400000E+00  0.200000E+01  0.600000E+00\n"
    "   0.0000000000E+00   -0.2000000000E+01    0.6000000000E+01"
    "     stress (eV):  0.500000E+00  0.600000E+00  0.300000E+01\n"
)
PRESSURE = """ Pressure Internal(Hartree/bohr^3)
   0.9000000000E+01    0.9000000000E+01    0.9000000000E+01
   0.9000000000E+01    0.9000000000E+01    0.9000000000E+01
   0.9000000000E+01    0.9000000000E+01    0.9000000000E+01
"""
POSITION = """ Position (normalized), move_x, move_y, move_z
  29         0.000000000000000         0.000000000000000         0.000000000000000     1  1  1
   8         0.500000000000000         0.250000000000000         0.125000000000000     1  1  1
  29         0.500000000000000         0.750000000000000         0.250000000000000     0  0  0
"""
UNFOLDED = POSITION.replace(" Position", " nonperiodic_Position").replace("0.5000", "9.5000")
FORCE = """ Force (-force, eV/Angstrom)
  29         0.100000000000000        -0.200000000000000         0.300000000000000
   8        -0.400000000000000         0.500000000000000        -0.600000000000000
  29         0.300000000000000        -0.300000000000000         0.300000000000000
"""
VELOCITY = """ Velocity (bohr/fs)
  29         0.010000000000000         0.020000000000000         0.030000000000000
   8         0.040000000000000         0.050000000000000         0.060000000000000
  29         0.000000000000000         0.000000000000000         0.000000000000000
"""
ATOMIC = """Atomic-Energy, Etot(eV),E_nonloc(eV),Q_atom:dE(eV)=  -0.1281163115E+04
  29   0.6022241483E+03    0.2413350871E+02    0.3710442365E+01
   8   0.6022241483E+03    0.2413350871E+02    0.3710442365E+01
  29   0.6022241483E+03    0.2413350871E+02    0.3710442365E+01
"""
END = " -------------------------------------------------\n"
FRAME = HEADER + INFO + LATTICE + PRESSURE + POSITION + UNFOLDED + FORCE + VELOCITY + ATOMIC + END
CELL = np.array([[4.0, 0, 0], [1, 5, 0], [0, -2, 6]])
GRADIENT = np.array([[0.1, -0.2, 0.3], [-0.4, 0.5, -0.6], [0.3, -0.3, 0.3]])


@pytest.fixture
def movement(tmp_path):
    """Writes a text as a MOVEMENT."""

    def write(text: str, name: str = "MOVEMENT") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def whole(path: Path, **options: object) -> LabelledFrames:
    return LabelledFrames.join(list(read_movement(path, **options)))


def random_frames(
    seed: int, n_frames: int, n_atoms: int, scale: float = 1.0, *, plain: bool = False
) -> LabelledFrames:
    """Frames in skewed cells, atoms in any order and also outside the cell."""
    rng = np.random.default_rng(seed)
    shape = (n_frames, n_atoms, 3)
    extras = {
        "time": np.arange(n_frames) / 1000,
        "temperature": rng.uniform(1, 3000, n_frames),
        "electronic_steps": rng.integers(1, 90, n_frames).astype(float),
        "velocities": rng.normal(0, 10, shape),
    }
    return LabelledFrames(
        numbers=rng.integers(1, 100, n_atoms),
        cells=scale * (8 * np.eye(3) + rng.uniform(-2, 2, (n_frames, 3, 3))),
        positions=scale * rng.uniform(-10, 20, shape),
        energies=rng.normal(-1e4, 1e3, n_frames),
        forces=rng.normal(0, 5, shape),
        virials=None if plain else rng.normal(0, 100, (n_frames, 3, 3)),
        converged=np.ones(n_frames, dtype=bool),
        extras={} if plain else extras,
    )


def test_a_frame_is_read_in_our_units(movement) -> None:
    frames = whole(movement(FRAME))
    assert frames.numbers.tolist() == [29, 8, 29]
    assert np.array_equal(frames.cells[0], CELL)
    fractions = [[0, 0, 0], [0.5, 0.25, 0.125], [0.5, 0.75, 0.25]]
    assert np.allclose(frames.positions[0], fractions @ CELL, rtol=0, atol=1e-14)
    # Ep, without the kinetic energy.
    assert frames.energies.tolist() == [-11.0]
    assert np.array_equal(frames.forces[0], -GRADIENT)
    assert np.array_equal(frames.virials[0], -np.array([[1, 0.4, 0.5], [0.4, 2, 0.6], [0.5, 0.6, 3]]))
    assert frames.converged.tolist() == [True]
    assert frames.extras["time"] == pytest.approx(0.002)
    assert frames.extras["temperature"].tolist() == [456.21]
    assert frames.extras["electronic_steps"].tolist() == [13]
    assert frames.extras["velocities"][0, 1] == pytest.approx(np.array([40, 50, 60]) * units.Bohr)


def test_forces_are_gradients_in_out_mlmd_too(movement) -> None:
    text = HEADER.replace("0.2000000000E+01", "-0.1000000000E+01") + LATTICE + POSITION
    text += FORCE.replace("-force, ", "") + " ----------------------------------------------END\n"
    frames = whole(movement(text, "OUT.MLMD"))
    assert np.array_equal(frames.forces[0], -GRADIENT)
    # A single point has no time.
    assert "time" not in frames.extras


def test_a_relaxation_has_neither_time_nor_electronic_steps(movement) -> None:
    frames = whole(movement(2 * (RELAXATION + LATTICE + POSITION + FORCE + END)))
    assert len(frames) == 2
    assert frames.energies[0] == -11.0
    assert np.array_equal(frames.forces[0], -GRADIENT)
    assert frames.extras == {}


@pytest.mark.parametrize(
    ("header", "energy"),
    [
        ("3 atoms,Iteration=  300, Etot,Ep,Ek=   -0.934E+03  -0.935E+03   0.6E-02\n", -935.0),
        (
            " 3 atoms,Iteration =  1 image=  2, Etot =  -0.54E+05, Average Force=  0.5E+00, Max force= 1.5\n",
            -5.4e4,
        ),
        (
            " 3 atoms,Iteration (fs) =  0.1E+01, Etot,Ep,Ek (eV) =  -0.10D+02  -0.11D+02   0.1D+01, SCF = \n",
            -11.0,
        ),
    ],
    ids=["old", "image of a path", "without a number of SCF iterations"],
)
def test_other_headers_are_understood(movement, header: str, energy: float) -> None:
    text = header + LATTICE.replace(" (Angstrom)", "") + POSITION.replace(" (normalized)", "") + " Force\n"
    frames = whole(movement(text + FORCE.split("\n", 1)[1] + END))
    assert frames.energies.tolist() == [energy]
    assert np.array_equal(frames.forces[0], -GRADIENT)


@given(st.permutations([INFO, LATTICE, PRESSURE, POSITION, UNFOLDED, FORCE, VELOCITY, ATOMIC]))
def test_blocks_come_in_any_order(tmp_path_factory, blocks: list[str]) -> None:
    path = tmp_path_factory.mktemp("order") / "MOVEMENT"
    path.write_text(HEADER + "".join(blocks) + END)
    frames = whole(path)
    assert np.array_equal(frames.forces[0], -GRADIENT)
    assert np.array_equal(frames.cells[0], CELL)
    assert frames.positions[0, 1] == pytest.approx(np.array([0.5, 0.25, 0.125]) @ CELL)
    assert frames.extras["temperature"].tolist() == [456.21]
    assert frames.extras["velocities"][0, 0] == pytest.approx(np.array([10, 20, 30]) * units.Bohr)


def test_without_stress_there_is_no_virial(movement) -> None:
    bare = "\n".join(line.split("     stress")[0] for line in LATTICE.split("\n"))
    assert whole(movement(HEADER + bare + POSITION + FORCE + END)).virials is None
    # Older files have columns that are eV per atom, and do not say so in each line.
    unnamed = LATTICE.replace("     stress (eV):", "")
    assert whole(movement(HEADER + unnamed + POSITION + FORCE + END)).virials is None


def test_exponents_of_three_digits_and_d_are_numbers(movement) -> None:
    text = FRAME.replace("0.400000E+00", "0.400000-100").replace("-0.1100000000E+02", "-0.1100000000D+02")
    frames = whole(movement(text))
    assert frames.virials[0, 0, 1] == -0.4e-100
    assert frames.energies.tolist() == [-11.0]


@pytest.mark.parametrize("broken", ["*****************", "              NaN"])
@pytest.mark.parametrize(
    "what", ["0.125000000000000", "-0.400000000000000", "0.060000000000000", "0.5000000000E+01"]
)
def test_a_frame_with_broken_numbers_is_left_out_by_number(
    movement, caplog: pytest.LogCaptureFixture, what: str, broken: str
) -> None:
    frames = whole(movement(FRAME + FRAME.replace(what, broken) + FRAME))
    assert len(frames) == 2
    assert "frame 1 is left out" in caplog.text


def test_a_frame_without_forces_is_left_out(movement, caplog: pytest.LogCaptureFixture) -> None:
    assert len(whole(movement(FRAME + HEADER + LATTICE + POSITION + END))) == 1
    assert "no block 'Force'" in caplog.text


@given(st.integers(0, len(FRAME) - 1))
def test_half_a_frame_at_the_end_is_left_out(tmp_path_factory, length: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "MOVEMENT"
    path.write_text(FRAME + FRAME[:length])
    # The first ten dashes of the last line close a frame.
    assert len(whole(path)) == (2 if length >= FRAME.index("----------") + 10 else 1)


def test_a_restarted_run_writes_over_half_a_frame(movement) -> None:
    other = FRAME.replace("-0.1100000000E+02", "-0.1200000000E+02")
    frames = whole(movement(FRAME + FRAME[: len(FRAME) // 2] + other + FRAME))
    assert frames.energies.tolist() == [-11, -12, -11]


def test_limits_of_scf_iterations_mark_frames(movement) -> None:
    path = movement(FRAME + FRAME + FRAME.replace("SCF =    13", "SCF =    12"))
    assert whole(path).converged.all()
    assert whole(path, scf_limits=(14, 13)).converged.tolist() == [True, False, True]
    assert whole(path, scf_limits=(13, 14)).converged.tolist() == [False, True, True]


def test_other_atoms_begin_another_batch(movement) -> None:
    path = movement(3 * FRAME + FRAME.replace("   8  ", "  16  "))
    found = list(read_movement(path, batch=2))
    assert [len(batch) for batch in found] == [2, 1, 1]
    assert found[-1].numbers.tolist() == [29, 16, 29]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no frame"), ("nothing of the kind\n" * 100, "no frame"), (POSITION + FORCE + END, "no frame")],
)
def test_other_files_are_refused(movement, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(read_movement(movement(text)))
    with pytest.raises(InputError, match="no such file"):
        list(read_movement(Path("nowhere") / "MOVEMENT"))


def test_packed_files_are_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "MOVEMENT.gz", "wt") as file:
        file.write(3 * FRAME)
    assert len(whole(tmp_path / "MOVEMENT.gz")) == 3


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 40), st.sampled_from([1.0, 30.0]))
def test_what_is_written_is_read(
    tmp_path_factory, seed: int, n_frames: int, n_atoms: int, scale: float
) -> None:
    frames = random_frames(seed, n_frames, n_atoms, scale)
    path = tmp_path_factory.mktemp("trip") / "MOVEMENT"
    write_movement(path, [frames])
    found = whole(path)
    assert np.array_equal(found.numbers, frames.numbers)
    # Fractions have 16 decimals; the cell, energies and virials all digits.
    assert np.array_equal(found.cells, frames.cells)
    assert np.allclose(found.positions, frames.positions, rtol=0, atol=1e-12 * scale)
    assert np.array_equal(found.energies, frames.energies)
    assert np.allclose(found.forces, frames.forces, rtol=4e-16, atol=1e-16)
    assert np.allclose(found.virials, frames.virials, rtol=1e-15, atol=0)
    for name, array in frames.extras.items():
        assert np.allclose(found.extras[name], array, rtol=1e-14, atol=1e-12), name


def test_frames_without_extras_and_single_frames_are_written(tmp_path: Path) -> None:
    frames = random_frames(1, 3, 5, plain=True)
    write_movement(tmp_path / "MOVEMENT", list(frames))
    found = whole(tmp_path / "MOVEMENT")
    assert len(found) == 3
    assert found.virials is None
    assert found.extras == {}


def test_a_cell_without_volume_is_not_written(tmp_path: Path) -> None:
    frame = LabelledFrame(Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]]), Label(-1.0, np.zeros((2, 3))))
    with pytest.raises(InputError, match="volume"):
        write_movement(tmp_path / "MOVEMENT", [frame])
    assert not (tmp_path / "MOVEMENT").exists()


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, LabelledFrames]:
    frames = random_frames(7, 4, 6)
    write_movement(tmp_path / "MOVEMENT", [frames])
    return tmp_path / "MOVEMENT", frames


def test_dpdata_reads_what_we_write(written: tuple[Path, LabelledFrames]) -> None:
    path, frames = written
    system = dpdata.LabeledSystem(str(path), fmt="pwmat/movement")
    assert ("dpdata", "order") in EXCEPTIONS
    ours = frames.reordered(np.argsort(frames.numbers, kind="stable"))
    assert len(system) == 4
    assert np.allclose(system["energies"], ours.energies, rtol=0, atol=1e-9)
    # dpdata turns cells into lower triangular form.
    lengths = np.linalg.norm(ours.forces, axis=2)
    order = np.sort(lengths, axis=1)
    assert np.allclose(np.sort(np.linalg.norm(system["forces"], axis=2), axis=1), order, rtol=0, atol=1e-9)
    traces = np.trace(system["virials"], axis1=1, axis2=2)
    assert ("dpdata", "virials") in EXCEPTIONS
    assert traces == pytest.approx(-np.trace(ours.virials, axis1=1, axis2=2), rel=1e-3)


def test_pymatgen_reads_what_we_write(written: tuple[Path, LabelledFrames]) -> None:
    path, frames = written
    other = Movement(path)
    assert other.n_ionic_steps == 4
    assert ("pymatgen", "frames") in EXCEPTIONS
    last = other.ionic_steps[-1]
    assert np.allclose(last["atom_config"].structure.lattice.matrix, frames.cells[-1], rtol=0, atol=1e-12)
    fractions = last["atom_config"].structure.frac_coords @ frames.cells[-1]
    assert np.allclose(fractions, frames.positions[-1], rtol=0, atol=1e-10)
    assert np.allclose(last["atom_forces"], frames.forces[-1], rtol=0, atol=1e-12)
    # We write no kinetic energy, so that Etot is the energy.
    assert last["e_tot"] == pytest.approx(frames.energies[-1], abs=1e-9)
    assert ("pymatgen", "virials") in EXCEPTIONS
    assert np.allclose(last["virial"], -frames.virials[-1], rtol=0, atol=1e-9)


def test_forces_accelerate_the_atoms(tmp_path: Path) -> None:
    """The signs of forces and velocities against Newton's law, on dynamics of ASE."""
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.calc = EMT()
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(1))
    frames, velocities = [], []

    def keep() -> None:
        label = Label(atoms.get_potential_energy(), atoms.get_forces().copy())
        frames.append(LabelledFrame(Atoms(atoms, calculator=None), label))
        velocities.append(atoms.get_velocities() * 1000 * units.fs)

    dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
    dynamics.attach(keep)
    dynamics.run(10)
    moving = LabelledFrames.of(frames)
    extras = {"velocities": np.array(velocities), "time": np.arange(11) / 1000}
    write_movement(tmp_path / "MOVEMENT", [LabelledFrames(**{**moving.__dict__, "extras": extras})])
    text = (tmp_path / "MOVEMENT").read_text()
    gradient = float(text.split("Force (-force")[1].split("\n")[1].split()[1])
    assert gradient == pytest.approx(-moving.forces[0, 0, 0], abs=1e-12)
    found = whole(tmp_path / "MOVEMENT")
    accelerations = np.diff(found.extras["velocities"], axis=0) / 0.001
    mean_forces = (found.forces[1:] + found.forces[:-1]) / 2
    # eV/Å/u in Å/ps^2
    factor = (1000 * units.fs) ** 2
    expected = mean_forces / atoms.get_masses()[:, None] * factor
    assert np.allclose(accelerations, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    frames = random_frames(3, 20, 30)
    peaks = []
    for times in (5, 50):
        path = tmp_path / f"MOVEMENT_{times}"
        write_movement(path, repeat(frames, times))
        tracemalloc.start()
        assert sum(len(batch) for batch in read_movement(path, batch=20)) == 20 * times
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < path.stat().st_size / 3


def test_all_orders_of_the_necessary_blocks(movement) -> None:
    for blocks in permutations([LATTICE, POSITION, FORCE]):
        frames = whole(movement(HEADER + "".join(blocks) + END))
        assert np.array_equal(frames.forces[0], -GRADIENT)
        assert np.allclose(frames.positions[0, 1], np.array([0.5, 0.25, 0.125]) @ CELL, atol=1e-14)
