"""The custodian job of a PWmat run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from alpw.codes.process import ProcessJob, split_command
from alpw.codes.pwmat.etot import INPUT, Etot, read_etot
from alpw.errors import InputError

OUTPUT = "job.out"
EXECUTABLE = "PWmat"
LAUNCHERS = frozenset({"mpirun", "mpiexec", "mpiexec.hydra", "orterun", "prun", "srun", "yhrun", "ibrun"})

_RANKS = re.compile(r"--?(?:np|n|ntasks)(?:=(.*))?")
_SHORT_RANKS = re.compile(r"-n(\d+)")


class PwmatJob(ProcessJob):
    """``<command>``, standard output to ``job.out``.

    A new attempt finds no output of the one before, ``final.config`` included: whoever continues a run puts
    it into ``atom.config`` first.
    """

    stale: ClassVar[tuple[str, ...]] = (
        "REPORT",
        "RELAXSTEPS",
        "MDSTEPS",
        "MOVEMENT",
        "final.config",
        "OUT.ENDIV",
        "OUT.FERMI",
        "OUT.FORCE",
        "OUT.MLMD",
        "OUT.STRESS",
    )

    def run(self, directory: str | Path = "./") -> subprocess.Popen[bytes]:
        """Start PWmat, unless it would refuse the number of ranks.

        Raises:
            InputError: node grid and ranks do not fit, or the program cannot be started.
        """
        check_ranks(read_etot(Path(directory) / INPUT), self.command)
        return super().run(directory)


def command_words(command: str | None) -> list[str]:
    """The user's call, such as ``mpirun -np 4 PWmat``, or PWmat from PATH.

    Raises:
        InputError: no call given and no PWmat found, or the call cannot be split.
    """
    if not command and (command := shutil.which(EXECUTABLE)) is None:
        raise InputError(
            f"no {EXECUTABLE} on PATH; load its module in module_list or give the call in resource.json",
            key="command",
        )
    return split_command(command)


def ranks(words: Sequence[str]) -> int | None:
    """The number of MPI ranks that a call asks for; None where the call does not tell.

    Known are ``-np N``, ``-n N``, ``-nN``, ``--ntasks N`` and ``--ntasks=N`` of the launchers; a variable or
    a wrapper script says nothing.
    """
    if not words or Path(words[0]).name not in LAUNCHERS:
        return None
    for word, following in zip(words, [*words[1:], ""], strict=True):
        found = _RANKS.fullmatch(word)
        short = _SHORT_RANKS.fullmatch(word)
        count = short[1] if short else (found[1] or following) if found else ""
        if count.isdigit():
            return int(count)
    return None


def check_ranks(etot: Etot, words: Sequence[str]) -> None:
    """Raise `InputError` if the node grid of etot.input does not fit the ranks of the call."""
    asked, (bands, groups) = ranks(words), etot.nodes
    if asked is not None and asked != bands * groups:
        raise InputError(
            f"the node grid {bands} {groups} on the first line needs {bands * groups} MPI ranks, the command "
            f"starts {asked}",
            etot.file,
            "command",
        )
