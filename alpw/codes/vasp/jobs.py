"""The custodian job of a VASP run.

custodian's own `VaspJob` is not used: it leaves the outputs of an earlier attempt lying, by which monitors
would judge the next one, and what it adds (NPAR for the number of cores, double relaxations) changes the
user's settings.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import ClassVar

from alpw.codes.process import ProcessJob, split_command
from alpw.errors import InputError
from alpw.files import write_atomically

logger = logging.getLogger(__name__)

OUTPUT = "vasp.out"
EXECUTABLES = ("vasp_std", "vasp")
STOPCAR = "STOPCAR"


class VaspJob(ProcessJob):
    """``<command>``, standard output to ``vasp.out``.

    A new attempt finds no output of the one before, except the wavefunction and the charge density, from
    which VASP starts where its INCAR lets it. CONTCAR goes too: whoever continues a run puts it into POSCAR
    first.
    """

    stale: ClassVar[tuple[str, ...]] = (
        "CONTCAR",
        "DYNMAT",
        "IBZKPT",
        "ICONST.out",
        "OSZICAR",
        "OUTCAR",
        "PCDAT",
        "REPORT",
        STOPCAR,
        "XDATCAR",
        "vasprun.xml",
        "vaspout.h5",
    )


def executable() -> str | None:
    """The first VASP found on PATH."""
    return next((path for name in EXECUTABLES if (path := shutil.which(name))), None)


def command_words(command: str | None) -> list[str]:
    """The user's call, such as ``mpirun -np 16 vasp_std``, or the first VASP on PATH.

    Raises:
        InputError: no call given and no VASP found, or the call cannot be split.
    """
    if not command and (command := executable()) is None:
        raise InputError(
            f"no VASP on PATH (looked for {', '.join(EXECUTABLES)}); give the call in resource.json",
            key="command",
        )
    return split_command(command)


def stop(directory: Path) -> bool:
    """Ask VASP to end after its present ionic step.

    VASP looks for ``STOPCAR`` after each ionic step. It may go on for one more before it ends.
    """
    try:
        write_atomically(directory / STOPCAR, b"LSTOP = .TRUE.\n")
    except OSError as error:
        logger.warning("%s: VASP cannot be asked to stop: %s", directory, error)
        return False
    return True
