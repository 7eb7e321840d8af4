"""What is refused before anything runs, and what becomes of a calculator that fails while it does."""

import json

import numpy as np
import pytest

from alpw.codes.protocol import Task
from alpw.codes.registry import code_of
from alpw.codes.run import run_label, run_steps
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.potential import DeepPotential, DeepPotentialConfig
from alpw.structures.frames import LabelledFrames

ASE = code_of("ase")
FAULTY = "toys.Faulty"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("EMT", "no import path"),
        ("nowhere_to_be_found.Calculator", "install it, or put its folder on PYTHONPATH"),
        ("mace.calculators.mace_mp", "pip install mace-torch"),
        ("ase.calculators.emtt.EMT", "no module ase.calculators.emtt"),
        ("ase.calculators.emt.EMTT", "did you mean EMT"),
        ("toys.constant", "int, not a class or function"),
    ],
)
def test_import_path_that_leads_nowhere_is_refused_with_what_to_do(with_calculator, path, message):
    with pytest.raises(InputError, match=message) as caught:
        ASE.check(with_calculator(path), ["Cu"])
    assert caught.value.key == "dft.calculator"


def test_calculator_and_model_exclude_each_other_and_one_is_needed(make_dft, tmp_path):
    with pytest.raises(InputError, match="there is neither"):
        ASE.check(make_dft(dft_style="ase"), ["Cu"])
    both = make_dft(dft_style="ase", calculator="ase.calculators.emt.EMT", model=tmp_path / "m")
    with pytest.raises(InputError, match="both are given"):
        ASE.check(both, ["Cu"])


def test_model_that_lacks_an_element_is_refused_by_its_file(make_dft, tmp_path):
    file = tmp_path / "model.alpw"
    DeepPotential(DeepPotentialConfig(elements=("Cu",), rcut=3.0, rcut_smth=1.0, sel=(10,))).save(file)
    dft = make_dft(dft_style="ase", model=file)
    ASE.check(dft, ["Cu"])
    with pytest.raises(InputError, match="knows Cu and not Au") as caught:
        ASE.check(dft, ["Au", "Cu"])
    assert (caught.value.file, caught.value.key) == (file, "dft.model")
    with pytest.raises(InputError, match="a model takes none"):
        ASE.check(make_dft(dft_style="ase", model=file, arguments={"device": "cpu"}), ["Cu"])


def test_file_by_a_path_that_holds_here_only_is_refused_with_the_one_to_give(
    with_calculator, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pt").touch()
    with pytest.raises(InputError, match=f"give {tmp_path}/weights.pt") as caught:
        ASE.check(with_calculator("toys.from_file", {"weights": "weights.pt"}), ["Cu"])
    assert caught.value.key == "dft.arguments.weights"


@pytest.mark.parametrize(
    ("task", "motion", "key"),
    [(Task.AIMD, {"ensemble": "npt"}, "ensemble"), (Task.RELAX, {"cell": True}, "cell")],
)
def test_cell_does_not_move_without_a_stress(with_calculator, task, motion, key):
    with pytest.raises(InputError, match="gives no stress") as caught:
        ASE.check(with_calculator("toys.WithoutStress", **motion), ["Cu"], task)
    assert caught.value.key == key


def test_calculator_that_is_known_to_give_no_stress_is_refused_for_labels_that_want_one(with_calculator):
    dft = with_calculator("toys.WithoutStress")
    with pytest.raises(InputError, match="set it to false") as caught:
        ASE.check(dft, ["Cu"])
    assert caught.value.key == "dft.stress"
    ASE.check(dft.model_copy(update={"stress": False}), ["Cu"])
    ASE.check(dft, ["Cu"], Task.AIMD)


def test_calculator_that_is_known_to_give_no_forces_is_refused(with_calculator):
    with pytest.raises(InputError, match="gives no forces"):
        ASE.check(with_calculator("toys.WithoutForces"), ["Cu"])


@pytest.mark.parametrize(
    ("path", "arguments", "kind", "message"),
    [
        ("toys.from_file", {"wights": 3}, FailureKind.INPUT, "cannot be built: TypeError"),
        ("toys.nothing", {}, FailureKind.INPUT, "gives str, which is no ASE calculator"),
        ("toys.without_forces", {}, FailureKind.INPUT, "forces"),
        (FAULTY, {"after": 0, "fault": "raise"}, FailureKind.UNKNOWN, "RuntimeError: the graph is empty"),
        (FAULTY, {"after": 0, "fault": "memory"}, FailureKind.MEMORY, "CUDA out of memory"),
        (FAULTY, {"after": 0, "fault": "nan"}, FailureKind.UNKNOWN, "no finite number for forces"),
        (FAULTY, {"after": 0, "fault": "force"}, FailureKind.UNKNOWN, "dft.max_force"),
    ],
)
def test_label_that_fails_says_why_and_is_not_tried_again(
    copper, with_calculator, tmp_path, path, arguments, kind, message
):
    with pytest.raises(CalculationError, match=message) as caught:
        run_label(ASE, copper, tmp_path, with_calculator(path, arguments))
    assert caught.value.kind is kind
    corrections = json.loads((tmp_path / "custodian.json").read_text())[0]["corrections"]
    assert [entry["actions"] for entry in corrections] in ([None], [])


def test_element_that_the_calculator_does_not_know_is_an_input_failure(with_calculator, silicon, tmp_path):
    with pytest.raises(CalculationError, match="No EMT-potential for Si") as caught:
        run_label(ASE, silicon, tmp_path, with_calculator())
    assert caught.value.kind is FailureKind.INPUT


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("nan", FailureKind.GEOMETRY, "step 5 is unphysical: a force is no finite number"),
        ("force", FailureKind.GEOMETRY, "step 5 is unphysical: the force on atom"),
        ("raise", FailureKind.UNKNOWN, "the graph is empty"),
    ],
)
def test_md_that_fails_on_its_way_keeps_the_good_steps(
    copper, with_calculator, tmp_path, fault, kind, message
):
    dft = with_calculator(FAULTY, {"after": 5, "fault": fault}, steps=100)
    with pytest.raises(CalculationError, match=message) as caught:
        run_steps(ASE, Task.AIMD, copper, tmp_path / "run", dft)
    assert caught.value.kind is kind
    kept = LabelledFrames.load(tmp_path / "run/steps.001.npz")
    assert len(kept) == 5 and np.isfinite(kept.forces).all()


def test_atoms_that_fly_apart_end_the_dynamics(copper, with_calculator, drive):
    copper.positions[1] = copper.positions[0] + [0.5, 0, 0]
    folder = drive.run(copper, with_calculator(ensemble="nve", steps=200, timestep=10.0), Task.AIMD)
    result = json.loads((folder / "result.json").read_text())
    assert result["kind"] == "geometry" and "step" in result["error"] and not ASE.complete(folder, Task.AIMD)
    frames = ASE.read_steps(folder, copper, None, Task.AIMD)
    assert frames is None or np.linalg.norm(frames.forces, axis=2).max() < 1000
