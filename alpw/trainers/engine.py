"""What runs a trajectory with the models of a trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alpw.codes import lammps, lammps_pair
from alpw.codes.lammps import ExplorationResult, ExplorationTask
from alpw.errors import InputError
from alpw.trainers.protocol import Trainer


@dataclass(frozen=True)
class Engine:
    """Runs a trajectory, and reads what there is of one; see `alpw.codes.lammps`."""

    explore: Callable[[ExplorationTask, Path], ExplorationResult]
    read_result: Callable[[Path], ExplorationResult]


def engine_of(trainer: Trainer, of_worker: str | None, of_resource: str | None) -> Engine:
    """The engine that loads a trainer's models.

    Args:
        trainer: who trained them.
        of_worker: the worker's ``lammps_cmd``, which decides.
        of_resource: ``explore.command`` of resource.json. Our own engine runs inside the LAMMPS process, and
            only a worker can say how to start it.

    Raises:
        InputError: no command is known, or its LAMMPS has no pair style for these models.
    """
    style = trainer.pair_style(of_worker or of_resource)
    if style is None:
        return Engine(partial(lammps.explore, command=of_worker), lammps.read_result)
    command = of_worker or of_resource
    if command is None:
        text = f"missing; trainer '{trainer.name}' explores with a LAMMPS that has its pair style"
        raise InputError(text, key="explore.command")
    return Engine(partial(lammps_pair.explore, command=command, style=style), lammps_pair.read_result)
