"""A program of many steps, and the code that drives it, to test the engine without any chemistry.

The program walks: every step moves the first atom by 0.01 Å along x and writes one line. ``in.json`` says how
far: ``start`` (Å), ``steps``. ``fault.json`` says how it dies, once: ``{"at": 3, "how": "kill"}``.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from alpw.codes.corrections import Effect, Rule
from alpw.codes.handlers import CrashHandler
from alpw.codes.process import ProcessJob
from alpw.codes.protocol import Task
from alpw.errors import CalculationError, FailureKind
from alpw.structures.frames import LabelledFrames

STEP = 0.01


def main():
    asked = json.loads(Path("in.json").read_text())
    fault = {}
    if Path("fault.json").is_file():
        fault = json.loads(Path("fault.json").read_text())
        Path("fault.json").unlink()
    with Path("out.jsonl").open("w") as out:
        for step in range(asked["steps"]):
            if fault.get("at") == step and fault["how"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if Path("STOP").is_file():
                break
            x = asked["start"] + STEP * step
            out.write(json.dumps({"x": x, "energy": -x, "mixing": asked["mixing"]}) + "\n")
            out.flush()
            time.sleep(asked.get("pause", 0.0))
            if fault.get("at") == step and fault["how"] == "tear":
                out.write('{"x": 0.0')
                out.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        out.write('{"ended": true}\n')


class ToyJob(ProcessJob):
    stale = ("out.jsonl", "STOP")


class ToyCrashHandler(CrashHandler):
    def finished(self, directory):
        return any("ended" in row for row in rows(directory))

    def steps_done(self, directory):
        return any("x" in row for row in rows(directory))


def rows(directory):
    path = Path(directory) / "out.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


class Toy:
    name = "toy"
    net_force_tolerance = 1.0
    inputs = ("in.json",)
    rules: ClassVar = {"in.json/mixing": Rule(Effect.NUMERICAL, "the way, not the answer")}
    kinds: ClassVar = {"sloshing": FailureKind.SCF}
    alive = ("out.jsonl",)
    scratch = ("wave*",)

    def __init__(self, steps=6, pause=0.0):
        self.steps, self.pause = steps, pause
        self.extra_handlers = []

    def check(self, dft, elements, task=Task.LABEL):
        pass

    def check_command(self, dft, command):
        pass

    def further_files(self, dft, elements):
        return []

    def check_structure(self, atoms, dft, task=Task.LABEL):
        pass

    def write_inputs(self, atoms, directory, dft, task=Task.LABEL, *, reuse=None):
        asked = {"start": 0.0, "steps": self.steps, "mixing": 0.4, "cutoff": 300, "pause": self.pause}
        (directory / "in.json").write_text(json.dumps(asked))
        return []

    def resume(self, atoms, directory, dft, task, done):
        last = [row for row in rows(directory) if "x" in row][-1]
        asked = json.loads((directory / "in.json").read_text())
        asked |= {"start": last["x"] + STEP, "steps": self.steps - done}
        (directory / "in.json").write_text(json.dumps(asked))
        return [f"{done} steps are done"]

    def job(self, command, environment=None):
        return ToyJob([sys.executable, str(Path(__file__))], environment=environment)

    def handlers(self, task=Task.LABEL):
        return [*self.extra_handlers, ToyCrashHandler()]

    def validators(self, task=Task.LABEL):
        return []

    def settings_of_inputs(self, directory):
        asked = json.loads((directory / "in.json").read_text())
        return {f"in.json/{key}": str(value) for key, value in asked.items()}

    def stop(self, directory):
        (directory / "STOP").touch()
        return True

    def last_words(self, directory):
        return ""

    def read_steps(self, directory, atoms, dft, task):
        found = [row for row in rows(directory) if "x" in row]
        if not found:
            return None
        positions = np.repeat(atoms.positions[None], len(found), axis=0)
        positions[:, 0, 0] = [row["x"] for row in found]
        return LabelledFrames(
            numbers=atoms.numbers,
            cells=np.repeat(np.asarray(atoms.cell)[None], len(found), axis=0),
            positions=positions,
            energies=np.array([row["energy"] for row in found]),
            forces=np.zeros_like(positions),
            virials=np.zeros((len(found), 3, 3)),
            converged=np.ones(len(found), dtype=bool),
        )

    def read_label(self, directory, atoms, dft):
        raise CalculationError("a walk is no label", FailureKind.UNKNOWN, directory)

    def complete(self, directory, task):
        asked = json.loads((directory / "in.json").read_text())
        return len([row for row in rows(directory) if "x" in row]) == asked["steps"]

    def settings(self, directory):
        return {"cutoff": json.loads((directory / "in.json").read_text())["cutoff"]}


if __name__ == "__main__":
    main()
