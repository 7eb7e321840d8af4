"""``in.lammps`` and the data file of one trajectory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from alpw.codes.lammps.commands import script_of
from alpw.codes.lammps.inputs import Ensemble, ExplorationTask, bare
from alpw.codes.lammps.script import Run
from alpw.codes.lammps_pair.styles import PairStyle
from alpw.formats.lammps import to_box, write_lammps_data

INPUT_FILE = "in.lammps"
DATA_FILE = "lmp.config"
DUMP_FILE = "all.lammpstrj"


def write_inputs(task: ExplorationTask, style: PairStyle, directory: Path) -> None:
    """Write input and data file, and link the models as ``0_<name>``, ``1_<name>``, ....

    Raises:
        InputError: a structure that LAMMPS cannot take.
    """
    names = []
    for index, model in enumerate(task.models):
        link = directory / f"{index}_{model.name}"
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(model.resolve(), directory.resolve()))
        names.append(link.name)
    write_lammps_data(directory / DATA_FILE, bare(task.atoms))
    (directory / INPUT_FILE).write_text("\n".join(_commands(task, style, names)) + "\n")


def elements_of(task: ExplorationTask) -> list[str]:
    """Symbols of atom types 1, 2, ...: in the order in which they appear in the structure."""
    return list(dict.fromkeys(task.atoms.symbols))


def _commands(task: ExplorationTask, style: PairStyle, models: list[str]) -> Iterator[str]:
    yield "units metal"
    yield "boundary " + " ".join("p" if periodic else "f" for periodic in task.atoms.pbc)
    yield "atom_style atomic"
    yield "newton on"
    yield "box tilt large"
    yield f"read_data {DATA_FILE}"
    if task.ensemble is Ensemble.NPT_TRI:
        yield "change_box all triclinic"
    yield from style.commands(models, elements_of(task), task.stride)
    yield f"dump alpw_frames all custom {task.stride} {DUMP_FILE} id type xu yu zu fx fy fz"
    yield "dump_modify alpw_frames sort id format float %.12g"
    box, _ = to_box(np.asarray(task.atoms.cell), task.atoms.pbc)
    for step in script_of(task, box).steps:
        if isinstance(step, Run):
            yield from _thermo_commands(task.stride)
            start, stop = step.ramp
            yield f"run {step.end - step.begin} start {start} stop {stop}"
        else:
            yield step.text


def _thermo_commands(stride: int) -> Iterator[str]:
    """What `read_thermo` needs, whatever a template has said; a new style forgets its ``thermo_modify``."""
    yield "thermo_style custom step temp pe etotal press vol"
    yield "thermo_modify lost error norm no flush yes format float %.12g"
    yield f"thermo {stride}"
