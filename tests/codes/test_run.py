"""The engine: no finished step is lost or counted twice, and every correction is watched."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from custodian.custodian import ErrorHandler

from alpw.codes import segments
from alpw.codes.corrections import Effect, GuardedHandler, Rule, is_numerical, refused, rule_for
from alpw.codes.protocol import Task
from alpw.codes.run import clean, run_steps
from alpw.config import Dft
from alpw.errors import CalculationError, FailureKind
from alpw.structures.frames import LabelledFrames
from tests.codes.toy import STEP, Toy

DFT = Dft.model_validate({"dft_style": "xtb"})
ATOMS = bulk("Si", cubic=True)


def walked(result):
    return result.frames.positions[:, 0, 0]


def run(code, folder, task=Task.AIMD, dft=DFT, **options):
    return run_steps(code, task, ATOMS, folder, dft, **options)


def fault(folder, at, how="kill"):
    folder.mkdir(exist_ok=True)
    (folder / "fault.json").write_text(json.dumps({"at": at, "how": how}))


def test_an_undisturbed_run_makes_the_steps_it_was_asked_for(tmp_path):
    result = run(Toy(steps=6), tmp_path)
    assert result.complete and walked(result) == pytest.approx(STEP * np.arange(6))
    assert result.rejected == {} and len(set(result.hashes)) == 1


@pytest.mark.parametrize("how", ["kill", "tear"])
@pytest.mark.parametrize("at", [0, 1, 5])
def test_a_killed_run_keeps_its_steps_and_goes_on_from_the_last(tmp_path, at, how):
    fault(tmp_path / "run", at, how)
    result = run(Toy(steps=6), tmp_path / "run")
    assert result.complete and walked(result) == pytest.approx(STEP * np.arange(6))


def test_a_second_call_reads_what_the_first_has_done(tmp_path):
    first = run(Toy(steps=4), tmp_path)
    (tmp_path / "in.json").touch()
    again = run(Toy(steps=4), tmp_path)
    assert walked(again) == pytest.approx(walked(first)) and len(list(tmp_path.glob("steps.*.npz"))) == 1


class Died(BaseException):
    """The worker is killed."""


@pytest.mark.parametrize("moment", ["bank", "_mark", "resume", "remove_stale"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_worker_that_dies_at_any_moment_loses_and_repeats_no_step(tmp_path, monkeypatch, moment, call):
    code, calls = Toy(steps=6), []
    owner = {"resume": Toy, "remove_stale": segments.ProcessJob}.get(moment, segments.Segments)
    real = getattr(owner, moment)

    def deadly(self, *arguments):
        calls.append(moment)
        if len(calls) == call:
            raise Died
        return real(self, *arguments)

    fault(tmp_path / "run", 3)
    with monkeypatch.context() as patch:
        patch.setattr(owner, moment, deadly)
        with contextlib.suppress(Died):
            run(code, tmp_path / "run")
    result = run(code, tmp_path / "run")
    assert result.complete and walked(result) == pytest.approx(STEP * np.arange(6))


def test_the_time_limit_ends_a_run_cleanly_and_a_later_call_goes_on(tmp_path):
    code = Toy(steps=12, pause=0.25)
    first = run(code, tmp_path, timeout=1.5)
    assert not first.complete and 0 < len(first.frames) < 12
    second = run(code, tmp_path)
    assert second.complete and walked(second) == pytest.approx(STEP * np.arange(12))


def test_a_relaxation_goes_on_after_its_limit_of_steps_but_not_for_ever(tmp_path):
    class Endless(Toy):
        def complete(self, directory, task):
            return False

        def resume(self, atoms, directory, dft, task, done):
            super().resume(atoms, directory, dft, task, done)
            asked = json.loads((directory / "in.json").read_text())
            (directory / "in.json").write_text(json.dumps(asked | {"steps": 2}))
            return []

    with pytest.raises(CalculationError, match="not finished after 20 steps in 10 attempts") as caught:
        run(Endless(steps=2), tmp_path, Task.RELAX)
    assert caught.value.kind is FailureKind.GEOMETRY and caught.value.code == "toy"


def test_a_run_that_never_makes_a_step_is_given_up(tmp_path):
    class Dead(Toy):
        def job(self, command, environment=None):
            return segments.ProcessJob(["false"], environment=environment)

    with pytest.raises(CalculationError, match="exit status 1") as caught:
        run(Dead(), tmp_path)
    assert caught.value.kind is FailureKind.UNKNOWN


def test_other_settings_begin_anew(tmp_path):
    run(Toy(steps=3), tmp_path)
    other = run(Toy(steps=5), tmp_path, dft=DFT.model_copy(update={"max_force": 50.0}))
    assert len(other.frames) == 5 and len(list(tmp_path.glob("steps.*.npz"))) == 1


def test_steps_that_cannot_be_labels_are_marked_and_counted(tmp_path):
    class Wild(Toy):
        def read_steps(self, directory, atoms, dft, task):
            frames = super().read_steps(directory, atoms, dft, task)
            frames.forces[1, 0, 0] = 1e3
            frames.energies[2] = np.nan
            frames.converged[3] = False
            return frames

    result = run(Wild(steps=6), tmp_path)
    assert result.frames.converged.tolist() == [True, False, False, False, True, True]
    assert result.rejected == {"large force": 1, "not finite": 1, "SCF not converged": 1}


class Changing(ErrorHandler):
    """Changes one setting, once."""

    is_monitor = False

    def __init__(self, **change):
        self.change = change

    def check(self, directory="./"):
        return self.n_applied_corrections == 0

    def correct(self, directory="./"):
        path = Path(directory, "in.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | self.change))
        return {"errors": ["charge sloshing"], "actions": [self.change]}


def test_a_numerical_correction_goes_on_and_keeps_the_steps_before_it(tmp_path):
    code = Toy(steps=6)
    code.extra_handlers = [Changing(mixing=0.1)]
    fault(tmp_path / "run", 4)
    result = run(code, tmp_path / "run")
    assert result.complete and walked(result) == pytest.approx(STEP * np.arange(6))
    assert result.corrections[0]["changed"] == ["in.json/mixing"] and len(set(result.hashes)) == 1


def test_a_physics_changing_correction_is_undone_and_said(tmp_path):
    code = Toy(steps=6)
    code.extra_handlers = [Changing(cutoff=200)]
    with pytest.raises(CalculationError, match=r"in\.json/cutoff") as caught:
        run(code, tmp_path)
    assert caught.value.kind is FailureKind.SCF
    assert json.loads((tmp_path / "in.json").read_text())["cutoff"] == 300


def test_the_user_may_allow_it_for_aimd_and_every_step_keeps_the_level_that_made_it(tmp_path):
    code = Toy(steps=6)
    code.extra_handlers = [Changing(cutoff=200)]
    fault(tmp_path / "run", 4)
    result = run(code, tmp_path / "run", dft=DFT.model_copy(update={"allow_physics": True}))
    assert result.complete and len(result.frames) == 6
    assert len(set(result.hashes[:4])) == len(set(result.hashes[4:])) == 1 < len(set(result.hashes))


def test_a_broken_handler_of_a_library_is_no_end_of_the_world(tmp_path):
    class Broken(Changing):
        def correct(self, directory="./"):
            super().correct(directory)
            raise TypeError("'<' not supported between instances of 'NoneType' and 'int'")

    code = Toy(steps=6)
    code.extra_handlers = [Broken(cutoff=200)]
    result = run(code, tmp_path)
    assert result.complete and "TypeError" in result.corrections[0]["errors"][0]
    assert json.loads((tmp_path / "in.json").read_text())["cutoff"] == 300


def test_rules_know_sections_and_take_the_unknown_for_physics():
    rules = {"a/*": Rule(Effect.NUMERICAL, "all of it"), "a/b": Rule(Effect.PHYSICS, "but this")}
    assert is_numerical(rules, "a/x/y") and not is_numerical(rules, "a/b")
    assert rule_for(rules, "z").effect is Effect.PHYSICS


def test_some_changes_are_refused_whatever_the_user_allows():
    rules = {"ibrion": Rule(Effect.PHYSICS, "motion", harmless_in=("relax",), never_in=("aimd",))}
    assert not refused(rules, ["ibrion"], Task.RELAX, False)
    assert refused(rules, ["ibrion"], Task.AIMD, True) == ["ibrion (motion)"]
    assert refused(rules, ["ibrion"], Task.LABEL, True)


def test_scratch_goes_and_the_rest_stays(tmp_path):
    for name in ("wave1", "out.jsonl"):
        (tmp_path / name).touch()
    clean(Toy(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_guarding_removes_files_that_a_refused_correction_made(tmp_path):
    class Littering(Changing):
        def correct(self, directory="./"):
            (tmp_path / "extra.json").write_text("{}")
            return super().correct(directory)

    code = Toy()
    code.inputs = ("in.json", "extra.json")
    code.write_inputs(ATOMS, tmp_path, DFT)
    GuardedHandler(Littering(cutoff=1), code, Task.LABEL).correct(tmp_path)
    assert not (tmp_path / "extra.json").exists()


def test_frames_survive_saving(tmp_path):
    frames = run(Toy(steps=3), tmp_path / "run").frames
    frames.save(tmp_path / "frames.npz")
    loaded = LabelledFrames.load(tmp_path / "frames.npz")
    assert np.array_equal(loaded.positions, frames.positions) and loaded.pbc == frames.pbc
