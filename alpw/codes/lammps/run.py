"""One trajectory, in the process that custodian watches: ``python -m alpw.codes.lammps.run task.json``.

Frames appear beside the task file. Exit status: 0 when the end of the trajectory is recorded, whatever it is;
2 when the input is at fault or LAMMPS is missing. Anything else is the system's fault.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from alpw.codes.lammps.engine import integrate
from alpw.codes.lammps.handlers import FAULT
from alpw.codes.lammps.inputs import ExplorationTask
from alpw.codes.lammps.models import load
from alpw.errors import AlpwError

INPUT_FAULT = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the task named on the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m alpw.codes.lammps.run", description=__doc__)
    parser.add_argument("task", type=Path, help="JSON file of an exploration task")
    parser.add_argument(
        "--timeout", type=float, help="seconds after which the trajectory ends at the next step"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        task = ExplorationTask.read(options.task)
        torch.set_num_threads(task.threads)
        model, measure = load(task)
        directory = options.task.resolve().parent
        integrate(task, model, directory, measure=measure, timeout=options.timeout)
    except AlpwError as error:
        logging.getLogger(__name__).error("%s%s", FAULT, error)
        return INPUT_FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main())
