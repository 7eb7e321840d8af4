"""The custodian job of a tight-binding run."""

from __future__ import annotations

import sys
from typing import ClassVar

from alpw.codes.process import ProcessJob

DEFAULT_COMMAND = [sys.executable, "-m", "alpw.codes.xtb.run"]

RESULT, STEPS, STOP_FILE = "result.json", "steps.jsonl", "STOP"


class XtbJob(ProcessJob):
    """``python -m alpw.codes.xtb.run``: reads ``xtb.json``, writes ``result.json`` and ``steps.jsonl``."""

    stale: ClassVar[tuple[str, ...]] = (RESULT, RESULT + ".part", STEPS, STOP_FILE)
