"""AIMD at a temperature and with a seed that are asked for beside the INCAR."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from alpw.codes.protocol import Task
from alpw.codes.run import run_label, run_steps
from alpw.codes.vasp import inputs
from alpw.codes.vasp.code import Vasp
from alpw.codes.vasp.incar import Incar
from alpw.errors import InputError
from alpw.formats.poscar import read_poscar
from tests.codes.vasp.written import run

VASP_STD = shlex.join([sys.executable, str(Path(__file__).parents[2] / "standins" / "vasp_std")])

LEVEL = "ENCUT = 300\nKSPACING = 0.5\nEDIFF = 1E-6\nISMEAR = 0\nSIGMA = 0.05\nALGO = Fast\n"
# The velocities are scaled to the temperature of the moment after every step, which leaves no hidden state.
SCALED = LEVEL + "IBRION = 0\nNSW = 8\nPOTIM = 1\nSMASS = -1\nNBLOCK = 1\n"
RAMP = SCALED + "TEBEG = 300\nTEEND = 900\n"


@pytest.fixture
def atoms():
    structure = bulk("Si", cubic=True)
    structure.rattle(0.05, seed=7)
    return structure


@pytest.fixture
def dynamics(tmp_path, user, atoms):
    """AIMD with the stand-in, in a folder of that name."""

    def steps(name, incar, *faults, **settings):
        folder = tmp_path / name
        folder.mkdir()
        if faults:
            (folder / "vasp_faults.json").write_text(json.dumps(faults))
        return run_steps(Vasp(), Task.AIMD, atoms, folder, user.dft(incar, **settings), VASP_STD)

    return steps


@pytest.mark.parametrize("given", ["", "TEBEG = 300", "TEBEG = 300\nTEEND = 900", "TEEND = 600"])
def test_one_temperature_holds_from_the_first_step_to_the_last(tmp_path, user, atoms, given):
    _, incar, changes = run(tmp_path, atoms, user.dft(f"{SCALED}{given}", temperature=600.0), Task.AIMD)
    assert (incar.get("TEBEG"), incar.get("TEEND")) == ("600", "600")
    assert [text for text in changes if "TE" in text] == ["INCAR/TEBEG = TEEND = 600 K: asked for by temps"]


def test_an_incar_of_that_temperature_is_no_change(tmp_path, user, atoms):
    dft = user.dft(SCALED + "TEBEG = 298.15\nTEEND = 2.9815E2", temperature=298.15)
    _, _, changes = run(tmp_path, atoms, dft, Task.AIMD)
    assert not any("temps" in text for text in changes)


def test_the_seed_is_the_first_of_three_numbers(tmp_path, user, atoms):
    _, incar, changes = run(tmp_path, atoms, user.dft(SCALED, seed=7), Task.AIMD)
    assert incar.get("RANDOM_SEED") == "7 0 0" and "INCAR/RANDOM_SEED: none -> 7 0 0" in changes


@pytest.mark.parametrize("seed", [0, 900_000_000, 2**31 - 1])
def test_every_seed_becomes_one_that_vasp_takes(tmp_path, user, atoms, seed):
    _, incar, _ = run(tmp_path, atoms, user.dft(SCALED, seed=seed), Task.AIMD)
    assert 0 <= int(incar.get("RANDOM_SEED").split()[0]) < 900_000_000


def test_the_users_own_seed_stays(tmp_path, user, atoms):
    dft = user.dft(SCALED + "RANDOM_SEED = 248489752 0 0", seed=7)
    _, incar, _ = run(tmp_path, atoms, dft, Task.AIMD)
    assert incar.get("RANDOM_SEED") == "248489752 0 0"


@pytest.mark.parametrize("task", [Task.LABEL, Task.RELAX])
def test_labels_and_relaxations_know_neither(tmp_path, user, atoms, task):
    plain = run(tmp_path, atoms, user.dft(LEVEL), task)
    told = run(tmp_path, atoms, user.dft(LEVEL, temperature=600.0, seed=7), task)
    assert str(plain[1]) == str(told[1]) and plain[2] == told[2]


def test_temperatures_of_groups_of_atoms_are_not_replaced(user):
    dft = user.dft(SCALED + "MDALGO = 13\nNSUBSYS = 4 8\nTSUBSYS = 300 900", temperature=600.0)
    with pytest.raises(InputError, match="remove it, or temps") as caught:
        inputs.check(dft, ["Si"], Task.AIMD)
    assert (caught.value.key, caught.value.file) == ("TSUBSYS", user.folder / "INCAR")


@pytest.mark.parametrize("temperature", [None, 600.0])
def test_velocities_of_the_structure_make_way_for_those_of_the_temperature(
    tmp_path, user, atoms, temperature
):
    atoms.set_velocities(np.random.default_rng(1).normal(size=(8, 3)) * 0.01)
    folder, _, changes = run(tmp_path, atoms, user.dft(SCALED, temperature=temperature), Task.AIMD)
    assert read_poscar(folder / "POSCAR").has("momenta") == (temperature is None)
    assert any("velocities left out" in text for text in changes) == (temperature is not None)


def test_the_run_is_that_of_an_incar_of_this_temperature(dynamics):
    asked = dynamics("asked", RAMP, temperature=600.0).frames
    written = dynamics("written", SCALED + "TEBEG = 600").frames
    np.testing.assert_array_equal(asked.positions, written.positions)
    # The first velocities are exactly of the temperature, OUTCAR prints two decimals of a kelvin. Later ones
    # are scaled half a step before they are printed: a few per cent.
    assert asked.extras["temperature"][0] == pytest.approx(600, abs=0.01)
    assert asked.extras["temperature"] == pytest.approx(600, rel=0.1)


def test_a_run_that_was_killed_goes_on_at_the_temperature_asked_for(dynamics, tmp_path):
    given = {"temperature": 600.0, "seed": 7}
    whole = dynamics("whole", RAMP, **given)
    killed = dynamics("killed", RAMP, {"fault": "sigkill", "step": 5, "times": 1}, **given)
    assert killed.complete and len(killed.frames) == 8
    np.testing.assert_allclose(killed.frames.positions, whole.frames.positions, atol=1e-8)
    incar = Incar.read(tmp_path / "killed" / "INCAR")
    assert (incar.get("TEBEG"), incar.get("TEEND")) == ("600", "600")
    # Four steps were finished; the random numbers that follow are others.
    assert (incar.get("NSW"), incar.get("RANDOM_SEED")) == ("4", "11 0 0")


def test_the_seed_decides_the_trajectory(dynamics):
    first, again, other = (
        dynamics(name, SCALED, temperature=600.0, seed=seed).frames.positions
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[-1] - other[-1]).max() > 0.01


def test_neither_is_part_of_the_level_of_theory(dynamics, user, atoms, tmp_path):
    label = run_label(Vasp(), atoms, tmp_path / "label", user.dft(LEVEL), VASP_STD)
    moving = dynamics("moving", RAMP, temperature=600.0, seed=7)
    assert set(moving.hashes) == {label.settings_hash}
