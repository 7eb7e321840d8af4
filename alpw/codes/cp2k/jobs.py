"""The custodian job of a CP2K run."""

from __future__ import annotations

from typing import ClassVar

from alpw.codes.cp2k.corrections import INPUT
from alpw.codes.cp2k.data import executable
from alpw.codes.process import ProcessJob, split_command
from alpw.errors import InputError

OUTPUT = "cp2k.out"

STOP_FILE = "EXIT"
"""CP2K looks for it every 20 s: it gives up the SCF that it is in and ends after the last finished step.

``EXIT_MD`` and ``EXIT_GEO`` exist, too, but are looked for only where the 20 s happen to be over between two
ionic steps, which in a run of expensive SCFs is never."""


class Cp2kJob(ProcessJob):
    """``<command> cp2k.inp``, standard output to ``cp2k.out``."""

    stale: ClassVar[tuple[str, ...]] = ("run-*", STOP_FILE)


def command_words(command: str | None) -> list[str]:
    """The user's call, or the first CP2K on PATH, completed by the input file.

    Raises:
        InputError: no call given and no CP2K found.
    """
    if not command and (command := executable()) is None:
        raise InputError(
            "no CP2K on PATH; install it (Debian: apt-get install cp2k) or give the call in resource.json",
            key="command",
        )
    words = split_command(command)
    return words if INPUT in words else [*words, INPUT]
