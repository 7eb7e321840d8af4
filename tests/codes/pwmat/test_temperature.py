"""AIMD at a temperature that is asked for beside etot.input, and control files of another task."""

import numpy as np
import pytest

from alpw.codes.protocol import Task
from alpw.codes.pwmat.code import Pwmat
from alpw.codes.pwmat.etot import read_etot
from alpw.errors import InputError

PWMAT = Pwmat()
COMMON = "ECUT = 50\nMP_N123 = 2 2 2 0 0 0 3\n"
RAMP = COMMON + "MD_DETAIL = 2 8 1.0 300 900"


@pytest.fixture
def written(tmp_path):
    """etot.input as written for a structure, and the changes that were reported."""

    def write(atoms, dft, task=Task.AIMD):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        changes = PWMAT.write_inputs(atoms, folder, dft, task)
        return read_etot(folder / "etot.input"), changes

    return write


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2 12 1.0 300 300", "2 12 1.0 600 600"),
        ("1, 12, 2.0, 300, 900", "1 12 2.0 600 600"),
        ("2,4,2.0,1200", "2 4 2.0 600 600"),
        ("33 12 1.0 300 300", "33 12 1.0 600 600"),
    ],
)
def test_one_temperature_holds_from_the_first_step_to_the_last(written, user, carbide, given, expected):
    carbide.set_velocities(np.full((8, 3), 0.01))
    dft = user.dft(f"{COMMON}MD_DETAIL = {given}", temperature=600.0)
    etot, changes = written(carbide, dft)
    assert etot.get("MD_DETAIL") == expected
    assert f"MD_DETAIL: {given} -> {expected} (600 K: asked for by temps)" in changes


@pytest.mark.parametrize("task", [Task.LABEL, Task.RELAX])
def test_labels_and_relaxations_know_no_temperature(written, user, carbide, task):
    plain, told = written(carbide, user.dft(RAMP), task)
    asked, told_too = written(carbide, user.dft(RAMP, temperature=600.0, seed=7), task)
    assert str(asked) == str(plain) and told_too == told


def test_a_seed_has_no_place_in_the_input(written, user, carbide):
    plain, _ = written(carbide, user.dft(RAMP))
    seeded, _ = written(carbide, user.dft(RAMP, seed=7))
    assert str(seeded) == str(plain)


def test_constant_energy_from_given_velocities_has_no_temperature(user):
    dft = user.dft(COMMON + "MD_DETAIL = 11 12 1.0 300 300", temperature=600.0)
    with pytest.raises(InputError, match="temps changes nothing") as caught:
        PWMAT.check(dft, ("Si", "C"), Task.AIMD)
    assert (caught.value.key, caught.value.file) == ("MD_DETAIL", user.folder / "etot.input")
    PWMAT.check(dft, ("Si", "C"), Task.RELAX)


def test_the_run_is_that_of_a_control_file_of_this_temperature(steps, carbide, user):
    asked = steps("aimd", carbide, user.dft(RAMP, temperature=600.0), folder="asked")
    constant = RAMP.replace("300 900", "{0} {0}")
    hot = steps("aimd", carbide, user.dft(constant.format(600)), folder="hot")
    cold = steps("aimd", carbide, user.dft(constant.format(300)), folder="cold")
    np.testing.assert_array_equal(asked.frames.positions, hot.frames.positions)
    # The first velocities are the same random numbers, longer by sqrt(2); one step changes them by little.
    ratio = asked.frames.extras["temperature"][0] / cold.frames.extras["temperature"][0]
    assert ratio == pytest.approx(2, rel=0.1)
    assert asked.settings_hash == cold.settings_hash, "no part of the level of theory"


def test_a_run_that_was_killed_goes_on_at_the_temperature_asked_for(steps, carbide, user, tmp_path):
    dft = user.dft(RAMP, temperature=600.0)
    whole = steps("aimd", carbide, dft, folder="whole")
    killed = steps("aimd", carbide, dft, {"fault": "sigkill", "step": 5, "times": 1}, folder="killed")
    assert read_etot(tmp_path / "killed" / "etot.input").get("MD_DETAIL") == "22 4 1.0 600 600"
    assert killed.complete and len(killed.frames) == 8
    np.testing.assert_allclose(killed.frames.positions, whole.frames.positions, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("task", "lines", "key", "words"),
    [
        (Task.RELAX, "JOB = SCF", "JOB", "set JOB = RELAX and RELAX_DETAIL"),
        (Task.RELAX, "JOB = MD\nMD_DETAIL = 1 10 1.0 300 300", "JOB", "MD is no relaxation"),
        (Task.RELAX, "JOB = RELAX\nRELAX_DETAIL = 1 0 0.01", "RELAX_DETAIL", "makes no step"),
        (Task.AIMD, "JOB = RELAX\nRELAX_DETAIL = 1 100 0.01", "MD_DETAIL", "AIMD needs MD_DETAIL"),
    ],
)
def test_a_control_file_of_another_task_is_refused(user, task, lines, key, words):
    with pytest.raises(InputError, match=words) as caught:
        PWMAT.check(user.dft(lines), ("Si", "C"), task)
    assert (caught.value.key, caught.value.file) == (key, user.folder / "etot.input")


def test_a_control_file_that_says_how_to_do_several_tasks_is_of_each(user):
    dft = user.dft("JOB = SCF\nRELAX_DETAIL = 1 100 0.01\nMD_DETAIL = 1 10 1.0 300 300")
    for task in Task:
        PWMAT.check(dft, ("Si", "C"), task)
