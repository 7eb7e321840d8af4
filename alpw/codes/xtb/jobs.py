"""The custodian job of a tight-binding single point."""

from __future__ import annotations

import sys
from typing import ClassVar

from alpw.codes.process import ProcessJob

DEFAULT_COMMAND = [sys.executable, "-m", "alpw.codes.xtb.run"]


class XtbJob(ProcessJob):
    """``python -m alpw.codes.xtb.run``: reads ``xtb.json``, writes ``result.json``."""

    stale: ClassVar[tuple[str, ...]] = ("result.json", "result.json.part")
