"""Molecular dynamics with LAMMPS, driven by a model that watches its own uncertainty."""

from alpw.codes.lammps.exploration import explore
from alpw.codes.lammps.inputs import Ensemble, ExplorationTask, Limits
from alpw.codes.lammps.library import available
from alpw.codes.lammps.outputs import End, EndReason, ExplorationResult, read_result
from alpw.codes.lammps.template import Template

__all__ = [
    "End",
    "EndReason",
    "Ensemble",
    "ExplorationResult",
    "ExplorationTask",
    "Limits",
    "Template",
    "available",
    "explore",
    "read_result",
]
