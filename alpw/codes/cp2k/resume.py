"""Go on with a relaxation or AIMD from its last finished step.

The input is rewritten rather than given CP2K's ``&EXT_RESTART``: geometry and number of steps stay ours, and
the step to go on from is the last one whose label is complete, which need not be that of the restart file.
From the restart file comes what only it knows, the state of thermostat and barostat, and all digits of the
velocities.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from alpw.codes.cp2k.corrections import INPUT
from alpw.codes.cp2k.inputs import apply_structure
from alpw.codes.cp2k.outputs import (
    SAME_PLACE,
    last_step,
    mark_resumed,
    read_steps,
    read_velocities,
    steps_wanted,
)
from alpw.codes.cp2k.sections import Section, read
from alpw.codes.cp2k.tasks import set_temperature
from alpw.codes.protocol import Task
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.formats.cp2k_files import Geometry
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from alpw.config import Dft

HESSIAN, START_HESSIAN = "run-BFGS.Hessian", "start.Hessian"
RESTART_FILES = ("run-1.restart", "run-1.restart.bak-1", "run-1.restart.bak-2", "run-1.restart.bak-3")


def resume(atoms: Atoms, directory: Path, dft: Dft, task: Task) -> list[str]:
    """Rewrite ``cp2k.inp`` so that the next attempt begins at the last finished step.

    The step numbers go on, too, and CP2K does not write the first geometry of the new attempt once more.

    Args:
        atoms: what the calculation began with.
        directory: with the outputs of the last attempt.
        dft: ``temperature`` in K, if it is not that of the control file.
        task: relaxation or AIMD.

    Returns:
        What was done, in words.

    Raises:
        CalculationError: there is no finished step, or no velocities for it.
    """
    frames = read_steps(directory, atoms)
    if frames is None or not len(frames):
        raise CalculationError("no finished step to go on from", FailureKind.UNKNOWN, directory)
    root = read(directory / INPUT)
    last = last_step(directory, frames)
    if task is Task.RELAX:
        told = _resume_relaxation(root, frames, last, directory)
    else:
        if last is None:
            raise CalculationError("the trajectory lacks the last step", FailureKind.UNKNOWN, directory)
        told = _resume_md(root, frames, last, directory)
        # &MD may be that of the restart file, which holds what CP2K made of the temperature on the way.
        set_temperature(root, dft)
    (directory / INPUT).write_text(str(root))
    mark_resumed(directory)
    return told


def _resume_relaxation(
    root: Section, frames: LabelledFrames, last: Geometry | None, directory: Path
) -> list[str]:
    motion = root.need("MOTION")
    name = "CELL_OPT" if root.need("GLOBAL").get("RUN_TYPE").upper() == "CELL_OPT" else "GEO_OPT"
    step = last.step if last is not None else int(motion.need(name).get("STEP_START_VAL", "0"))
    apply_structure(root, frames[-1].atoms)
    motion.need(name).set("STEP_START_VAL", str(step))
    told = f"relaxation goes on from the geometry of step {step}"
    if _is_whole_hessian(directory / HESSIAN, 3 * len(frames.numbers)):
        # The next attempt removes the file of this one.
        shutil.copyfile(directory / HESSIAN, directory / START_HESSIAN)
        bfgs = motion.need(f"{name}/BFGS")
        bfgs.set("RESTART_HESSIAN", "T")
        bfgs.set("RESTART_FILE_NAME", START_HESSIAN)
        told += ", Hessian kept"
    return [told]


def _is_whole_hessian(path: Path, coordinates: int) -> bool:
    """Whether the file is there and was not cut short by a crash: CP2K would abort on it.

    It holds the rows of a matrix in double precision, each between two marks of four bytes; that of CELL_OPT
    has six more for the cell.
    """
    sizes = {n * (8 * n + 8) for n in (coordinates, coordinates + 6)}
    return path.is_file() and path.stat().st_size in sizes


def _resume_md(root: Section, frames: LabelledFrames, last: Geometry, directory: Path) -> list[str]:
    wanted = steps_wanted(root)
    motion, subsys = root.need("MOTION"), root.need("FORCE_EVAL/SUBSYS")
    apply_structure(root, frames[-1].atoms)
    subsys.remove("VELOCITY")
    restart, is_of_this_step = _restart_of(directory, last)
    if restart is not None and is_of_this_step:
        for name in ("CELL", "COORD", "VELOCITY", "RNG_INIT"):
            if found := restart.need("FORCE_EVAL/SUBSYS").all(name):
                subsys.remove(name)
                subsys.sections += found
    else:
        velocities = read_velocities(directory, last.step)
        if velocities is None:
            raise CalculationError(
                f"no velocities of step {last.step}, neither in a restart file nor in run-vel-1.xyz",
                FailureKind.UNKNOWN,
                directory,
            )
        rows = [(f"{x:.12E}", f"{y:.12E} {z:.12E}") for x, y, z in velocities]
        subsys.sections.append(Section("VELOCITY", keywords=rows))
    if restart is not None:
        motion.remove("MD")
        motion.sections.insert(0, restart.need("MOTION/MD"))
    dynamics = motion.need("MD")
    dynamics.set("STEP_START_VAL", str(last.step))
    dynamics.set("TIME_START_VAL", f"{last.time:.6f}")
    dynamics.set("STEPS", str(wanted - last.step))
    source = "its restart file" if is_of_this_step else "the trajectory files"
    if restart is not None and not is_of_this_step:
        source += ", thermostat of an earlier step"
    return [f"MD goes on from step {last.step} of {wanted}, state from {source}"]


def _restart_of(directory: Path, last: Geometry) -> tuple[Section | None, bool]:
    """The restart file of a step; failing that the newest readable one, for its thermostat."""
    newest = None
    for name in RESTART_FILES:
        path = directory / name
        try:
            found = read(path)
            step = int(found.need("MOTION/MD").get("STEP_START_VAL", "-1"))
            rows = [
                [float(x) for x in rest.split()[:3]]
                for _, rest in found.need("FORCE_EVAL/SUBSYS/COORD").keywords
            ]
        except (InputError, ValueError):
            continue
        if len(rows) != len(last.rows) or not found.find("FORCE_EVAL/SUBSYS/VELOCITY"):
            continue
        if step == last.step and np.abs(np.array(rows) - last.rows).max() < SAME_PLACE:
            return found, True
        newest = newest or found
    return newest, False
