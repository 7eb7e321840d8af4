"""The custodian jobs of codes that run in a driver of ours."""

from __future__ import annotations

import sys
from typing import ClassVar

from alpw.codes.ase.documents import RESULT, STEPS, STOP_FILE
from alpw.codes.process import ProcessJob


def driver_command(module: str) -> list[str]:
    """The call of a driver: this Python, so that it finds what is installed beside us."""
    return [sys.executable, "-m", module]


class DriverJob(ProcessJob):
    """A driver: reads its document, writes ``result.json`` and ``steps.jsonl``."""

    stale: ClassVar[tuple[str, ...]] = (RESULT, RESULT + ".part", STEPS, STOP_FILE)
