"""Under which name a worker's ``env`` holds the command of each block of resource.json."""

from __future__ import annotations

from alpw.config.init_bulk import InitBulk
from alpw.config.param import Param


def command_name(style: str) -> str:
    """What a worker's ``env`` calls the program of a ``dft_style``, such as ``vasp_cmd``."""
    return f"{style}_cmd"


def command_names(inputs: Param | InitBulk) -> dict[str, str]:
    """Name by block; a block whose command changes nothing is left out.

    A command belongs to one code: what a block runs with another code takes that code's own default.
    """
    if isinstance(inputs, InitBulk):
        calculations = dict.fromkeys(("dft", "relax", "aimd"), command_name(inputs.dft.dft_style))
        return {**calculations, "scf": command_name(inputs.scf_style or inputs.dft.dft_style)}
    labels = {"dft": command_name(inputs.dft.dft_style)}
    if inputs.train.trainer == "alpw":
        return labels
    return {**labels, "train": "train_cmd", "explore": "lammps_cmd"}
