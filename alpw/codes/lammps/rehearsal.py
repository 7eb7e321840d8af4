"""Whether a user's LAMMPS input works, asked of LAMMPS itself before anything is submitted."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ase import Atoms

from alpw.codes.lammps.inputs import Ensemble, ExplorationTask
from alpw.codes.lammps.outputs import TASK_FILE
from alpw.codes.lammps.template import Template
from alpw.errors import CalculationError, InputError

_INPUT_FAULT, _NO_LAMMPS = 2, 3

_HINTS = {
    "plumed": "put the Python module of a LAMMPS build with the package PLUMED first on PYTHONPATH",
}
"""What to do about a style that a build may lack, by a word in LAMMPS's message."""


def check_template(path: str | Path, atoms: Atoms | None = None, stride: int = 10) -> tuple[str, ...]:
    """What of a template is left out; anything that cannot work is refused.

    Its lines are read, and, with a structure, LAMMPS is given each of them once in a process of its own,
    without taking a step.

    Args:
        path: the template.
        atoms: a structure that it will run.
        stride: steps between saved frames.

    Returns:
        Notes by line: what is left out, and why.

    Raises:
        InputError: naming the file and the line.
    """
    template = Template.read(path)
    notes = template.notes
    if atoms is None:
        return notes
    task = ExplorationTask(
        atoms,
        models=(Path("none"),),
        ensemble=Ensemble.TEMPLATE,
        temperature=template.temperature,
        n_steps=template.n_steps,
        template=template,
        stride=stride,
    )
    if reason := _rehearse_apart(task):
        return (*notes, f"not tried with LAMMPS: {reason}")
    return notes


def _rehearse_apart(task: ExplorationTask) -> str:
    """Why the task could not be tried, empty if it was and works."""
    with tempfile.TemporaryDirectory() as folder:
        task.write(Path(folder, TASK_FILE))
        task.write_files(Path(folder))
        asked = subprocess.run(
            [sys.executable, "-m", __name__, TASK_FILE],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    last = (asked.stderr.strip().splitlines() or [f"exit status {asked.returncode}"])[-1]
    if asked.returncode == _INPUT_FAULT:
        hint = next((hint for word, hint in _HINTS.items() if word in last.lower()), "")
        raise InputError("; ".join(filter(None, (last, hint))))
    return last if asked.returncode else ""


def main(arguments: list[str] | None = None) -> int:
    """Rehearse the task named on the command line; the exit status."""
    from alpw.codes.lammps.engine import rehearse  # late: it brings torch, for which no command should wait

    parser = argparse.ArgumentParser(prog=f"python -m {__name__}", description=__doc__)
    parser.add_argument("task", type=Path, help="JSON file of an exploration task")
    path = parser.parse_args(arguments).task
    try:
        rehearse(ExplorationTask.read(path), path.resolve().parent)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return _INPUT_FAULT
    except CalculationError as error:
        sys.stderr.write(f"{error}\n")
        return _NO_LAMMPS
    return 0


if __name__ == "__main__":
    sys.exit(main())
