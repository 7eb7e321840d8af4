"""What an iteration that has ended leaves behind when ``reserve_md_traj`` is false."""

from __future__ import annotations

from pathlib import Path

from alpw.codes.lammps.frames import FRAMES_FILE, RESTART_STEM
from alpw.codes.lammps_pair.inputs import DUMP_FILE
from alpw.database import trajectories
from alpw.firetasks.base import Context

#: Files of a trajectory's folder that hold coordinates.
FILES = (FRAMES_FILE, DUMP_FILE, RESTART_STEM + "*")


def forget_frames(context: Context) -> None:
    """Delete the explored coordinates of the iteration, in the database and in its folders; may be repeated.

    Frames that were chosen are configurations and stay; so do uncertainties and decisions about all others.
    """
    trajectories.forget_frames(context.db, context.campaign, context.index)
    for run in trajectories.without_frames(context.db, context.campaign, context.index):
        if "directory" not in run:
            continue
        for pattern in FILES:
            for file in Path(run["directory"]).glob(pattern):
                file.unlink(missing_ok=True)
