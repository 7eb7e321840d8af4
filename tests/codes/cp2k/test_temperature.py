"""AIMD at a temperature and with a seed that are asked for beside the control file; files of another task."""

import numpy as np
import pytest

from alpw.codes.cp2k.sections import read
from alpw.codes.protocol import Task
from alpw.codes.registry import code_of
from alpw.codes.run import run_label, run_steps
from alpw.errors import InputError

CP2K = code_of("cp2k")

FORCE_EVAL = "&FORCE_EVAL\n  &DFT\n    &QS\n      METHOD xTB\n    &END QS\n  &END DFT\n&END FORCE_EVAL\n"
MD = "ENSEMBLE NVE\nSTEPS 6\nTIMESTEP 1.0\nTEMPERATURE 300\n"


def control_of(motion=MD, top="&GLOBAL\nRUN_TYPE MD\n&END GLOBAL\n"):
    return f"{top}{FORCE_EVAL}&MOTION\n&MD\n{motion}&END MD\n&END MOTION\n"


@pytest.fixture
def user(tmp_path, make_dft):
    """``dft`` of a control file with that text."""
    path = tmp_path / "user.inp"

    def dft(text=None, **settings):
        path.write_text(control_of() if text is None else text)
        return make_dft(dft_style="cp2k", input=path, **settings)

    return dft


@pytest.fixture
def written(tmp_path, silicon):
    """The input as written, and the changes that were reported."""

    def write(dft, task=Task.AIMD):
        folder = tmp_path / "inputs"
        folder.mkdir(exist_ok=True)
        changes = CP2K.write_inputs(silicon, folder, dft, task)
        return read(folder / "cp2k.inp"), changes

    return write


@pytest.fixture
def dynamics(tmp_path, silicon, fake_cp2k):
    """AIMD with the stand-in, in a folder of that name."""

    def steps(name, dft, *arguments):
        return run_steps(CP2K, Task.AIMD, silicon, tmp_path / name, dft, fake_cp2k(*arguments))

    return steps


def test_the_temperature_asked_for_replaces_that_of_the_control_file(written, user):
    root, changes = written(user(temperature=600.0))
    assert root.need("MOTION/MD").get("TEMPERATURE") == "600"
    assert "MOTION/MD/TEMPERATURE: 300 -> 600 K: asked for by temps" in changes


def test_a_control_file_may_leave_the_temperature_open(written, user):
    text = control_of(MD.replace("TEMPERATURE 300\n", ""))
    dft = user(text, temperature=298.15)
    CP2K.check(dft, ["Si"], Task.AIMD)
    assert written(dft)[0].need("MOTION/MD").get("TEMPERATURE") == "298.15"
    with pytest.raises(InputError, match="MOTION/MD/TEMPERATURE"):
        CP2K.check(user(text), ["Si"], Task.AIMD)


@pytest.mark.parametrize(("own", "expected"), [("TEMPERATURE 300\n", ["600"]), ("", [])])
def test_a_barostat_follows_where_it_has_a_temperature_of_its_own(written, user, own, expected):
    motion = MD.replace("NVE", "NPT_I") + f"&BAROSTAT\nPRESSURE 1.0\n{own}&END BAROSTAT\n"
    root, changes = written(user(control_of(motion), temperature=600.0))
    assert root.need("MOTION/MD/BAROSTAT").values("TEMPERATURE") == expected
    assert sum("asked for by temps" in text for text in changes) == 1 + len(expected)


def test_a_thermostat_has_no_temperature_of_its_own(written, user):
    thermostat = "&THERMOSTAT\nTYPE CSVR\nREGION MASSIVE\n&END THERMOSTAT\n"
    root, _ = written(user(control_of(MD.replace("NVE", "NVT") + thermostat), temperature=600.0))
    assert root.need("MOTION/MD/THERMOSTAT").keywords == [("TYPE", "CSVR"), ("REGION", "MASSIVE")]


@pytest.mark.parametrize(
    ("motion", "key", "words"),
    [
        (MD.replace("NVE", "REFTRAJ"), "ENSEMBLE", "temps needs NVT"),
        (MD.replace("NVE", "NVT_ADIABATIC"), "ENSEMBLE", "one temperature for fast and one for slow"),
        (MD + "ANNEALING 0.99\n", "ANNEALING", "remove it, or temps"),
        (
            MD.replace("NVE", "LANGEVIN") + "TEMPERATURE_ANNEALING 0.9\n",
            "TEMPERATURE_ANNEALING",
            "on the way",
        ),
        (MD + "&THERMAL_REGION\n&END THERMAL_REGION\n", "THERMAL_REGION", "groups of atoms"),
    ],
)
def test_what_cannot_run_at_one_temperature_is_refused_if_one_is_asked_for(user, motion, key, words):
    dft = user(control_of(motion), temperature=600.0)
    with pytest.raises(InputError, match=words) as caught:
        CP2K.check(dft, ["Si"], Task.AIMD)
    assert (caught.value.key, caught.value.file) == (f"MOTION/MD/{key}", dft.input)
    CP2K.check(user(control_of(motion)), ["Si"], Task.AIMD)


def test_two_seeds_are_two_and_one_is_one(written, user):
    def seed(number):
        return written(user(seed=number))[0].need("GLOBAL").values("SEED")

    assert (seed(1), seed(2), seed(1)) == (["1"], ["2"], ["1"])
    assert "GLOBAL/SEED: none -> 7" in written(user(seed=7))[1]


@pytest.mark.parametrize("seed", [0, 2**31 - 1, 2**31, 2**40])
def test_every_seed_becomes_a_positive_integer_of_32_bits(written, user, seed):
    assert 1 <= int(written(user(seed=seed))[0].need("GLOBAL").get("SEED")) < 2**31


def test_the_users_own_seed_stays(written, user):
    own = control_of(top="&GLOBAL\nRUN_TYPE MD\nSEED 1 2 3 4 5 6\n&END GLOBAL\n")
    assert written(user(own, seed=7))[0].need("GLOBAL").get("SEED") == "1 2 3 4 5 6"


@pytest.mark.parametrize("task", [Task.LABEL, Task.RELAX])
def test_labels_and_relaxations_know_neither(written, user, task):
    text = control_of(top="")
    plain, told = written(user(text), task)
    asked, told_too = written(user(text, temperature=600.0, seed=7), task)
    assert str(asked) == str(plain) and told_too == told


def test_the_run_is_that_of_a_control_file_of_this_temperature(dynamics, user, silicon):
    asked = dynamics("asked", user(temperature=600.0)).frames
    hot = dynamics("hot", user(control_of(MD.replace("300", "600")))).frames
    cold = dynamics("cold", user()).frames
    np.testing.assert_array_equal(asked.positions, hot.positions)
    # The first velocities are the same random numbers, longer by sqrt(2); nine decimals of a kelvin.
    assert asked.extras["temperature"][0] == pytest.approx(2 * cold.extras["temperature"][0], abs=1e-6)


def test_a_run_that_was_killed_goes_on_at_the_temperature_asked_for(dynamics, user, tmp_path):
    dft = user(temperature=600.0, seed=7)
    whole = dynamics("whole", dft)
    killed = dynamics("killed", dft, "--fault", "sigkill", "--step", "4", "--times", "1")
    assert killed.complete and any("goes on from step 3 of 6" in change for change in killed.changes)
    np.testing.assert_allclose(killed.frames.positions, whole.frames.positions, atol=1e-9)
    # The restart file of this stand-in always says 300 K.
    root = read(tmp_path / "killed" / "cp2k.inp")
    assert root.need("MOTION/MD").values("TEMPERATURE") == ["600"]
    assert root.need("GLOBAL").values("SEED") == ["7"]


def test_neither_is_part_of_the_level_of_theory(dynamics, user, silicon, tmp_path, fake_cp2k):
    label = run_label(CP2K, silicon, tmp_path / "label", user(), fake_cp2k())
    assert dynamics("moving", user(temperature=600.0, seed=7)).settings_hash == label.settings_hash


@pytest.mark.parametrize("kind", ["ENERGY", "ENERGY_FORCE", "MD", "WFN_OPT"])
def test_a_relaxation_whose_control_file_does_not_relax_is_refused(user, kind):
    """The predecessor's example of a relaxation with CP2K computed an energy, and nobody noticed."""
    dft = user(f"&GLOBAL\nRUN_TYPE {kind}\n&END GLOBAL\n{FORCE_EVAL}")
    with pytest.raises(InputError, match=rf"{kind} is no relaxation.* set RUN_TYPE GEO_OPT") as caught:
        CP2K.check(dft, ["Si"], Task.RELAX)
    assert (caught.value.key, caught.value.file) == ("GLOBAL/RUN_TYPE", dft.input)
    CP2K.check(dft, ["Si"], Task.LABEL)


@pytest.mark.parametrize("kind", ["GEO_OPT", "CELL_OPT", "geometry_optimization"])
def test_a_run_type_that_relaxes_needs_no_section(user, kind):
    CP2K.check(user(f"&GLOBAL\nRUN_TYPE {kind}\n&END GLOBAL\n{FORCE_EVAL}"), ["Si"], Task.RELAX)


def test_a_section_that_says_how_to_relax_is_enough(user):
    motion = "&MOTION\n&CELL_OPT\nMAX_ITER 9\n&END CELL_OPT\n&END MOTION\n"
    CP2K.check(user(f"&GLOBAL\nRUN_TYPE ENERGY\n&END GLOBAL\n{FORCE_EVAL}{motion}"), ["Si"], Task.RELAX)


def test_without_a_control_file_a_relaxation_is_of_the_atoms(written, make_dft, silicon):
    root, changes = written(make_dft(dft_style="cp2k"), Task.RELAX)
    assert root.need("GLOBAL").get("RUN_TYPE") == "GEO_OPT" and any("-> GEO_OPT" in text for text in changes)
