"""What LAMMPS is told about the dynamics: commands, and stretches of integration between them.

The engine integrates in pieces, so it must know where integration begins and ends: a ``run`` is data here,
and every other command is text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

FORCE_FIX = "alpw_model"
"""Id of the ``fix external`` through which the model's forces reach LAMMPS."""


class Command(NamedTuple):
    """A command that does not integrate.

    Attributes:
        text: as LAMMPS reads it.
        once: it changes atoms, velocities or box. A trajectory that goes on from a restart file has its
            effect already; all other commands are given again, because a restart file does not keep them.
        line: where it stands in the user's file, from 1; None if it is ours.
    """

    text: str
    once: bool = False
    line: int | None = None


class Run(NamedTuple):
    """Integration from one step of the trajectory to another.

    Attributes:
        begin, end: steps of the trajectory.
        ramp: steps between which LAMMPS's ramps (of a thermostat's temperature) go from start to stop.
        line: where it stands in the user's file, from 1; None if it is ours.
    """

    begin: int
    end: int
    ramp: tuple[int, int]
    line: int | None = None


Step = Command | Run


@dataclass(frozen=True)
class Script:
    """The dynamics of one trajectory.

    Attributes:
        steps: commands and runs in order.
        resumable: whether giving the commands again after ``read_restart`` goes on with the same dynamics.
    """

    steps: tuple[Step, ...]
    resumable: bool = True

    @property
    def n_steps(self) -> int:
        """Time steps of the whole trajectory."""
        return max((step.end for step in self.steps if isinstance(step, Run)), default=0)
