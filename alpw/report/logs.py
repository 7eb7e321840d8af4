"""The last lines of the files that jobs and programs write."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from alpw.database.secrets import without_secrets

#: Lines that are shown of each file, and characters of each line.
LINES, WIDTH = 8, 160

#: Logs by which one sees what a program was doing; what it prints besides says less.
PROGRAM_LOGS = (
    "job.err",
    "job.out",
    "vasp.out",
    "REPORT",
    "dft.log",
    "log.lammps",
    "lcurve.out",
    "train.log",
)


@dataclass(frozen=True)
class Tail:
    """The end of a file."""

    file: str
    lines: list[str]


def of_job(folder: Path, job: str | None) -> list[Tail]:
    """What a job wrote to its standard error and its standard output."""
    files = sorted(folder.glob(f"*{job}.err*")) + sorted(folder.glob(f"*{job}.out")) if job else []
    return [tail for file in files if (tail := _tail(file)).lines]


def of_program(folders: Iterable[Path]) -> list[Tail]:
    """The newest log of a program in some folders, in a list of one; none if there is no log."""
    found = [folder / name for folder in folders for name in PROGRAM_LOGS]
    there = [file for file in found if file.is_file() and file.stat().st_size]
    newest = max(there, key=lambda file: file.stat().st_mtime, default=None)
    return [_tail(newest)] if newest else []


def _tail(file: Path) -> Tail:
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LINES * 1000))
            text = stream.read().decode(errors="replace")
    except OSError as error:
        return Tail(str(file), [f"cannot be read: {error.strerror}"])
    lines = [line.rstrip()[:WIDTH] for line in text.splitlines() if line.strip()]
    return Tail(str(file), [without_secrets(line) for line in lines[-LINES:]])
