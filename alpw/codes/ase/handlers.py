"""What can go wrong in a driver, and what may be done about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from custodian.custodian import ErrorHandler

from alpw.codes.ase.outputs import read_records, read_result
from alpw.codes.handlers import SYSTEM_PATTERNS, CrashHandler, FailurePattern, correction
from alpw.errors import FailureKind


class RefusalHandler(ErrorHandler):
    """The driver ended with an error: a calculator that cannot be built or raises, an unphysical step.

    No correction: nothing that we could change is numerical. The class of the failure is the one that the
    driver wrote down. A relaxation or MD whose calculator raised something unknown goes on from the step
    before, which is no matter of this handler.
    """

    def check(self, directory: str | Path = "./") -> bool:
        result = read_result(Path(directory))
        return bool(result and result["error"])

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        result = read_result(Path(directory)) or {}
        return correction(self.kind(result), result.get("error", "refused"), None)

    def kind(self, result: dict[str, Any]) -> FailureKind:
        """Class of the failure that ``result`` tells."""
        return FailureKind(result.get("kind") or FailureKind.UNKNOWN)


class DriverCrashHandler(CrashHandler):
    __doc__ = CrashHandler.__doc__

    patterns: ClassVar[tuple[FailurePattern, ...]] = (
        FailurePattern(r"ModuleNotFoundError.*|ImportError.*", FailureKind.INPUT, False),
        *SYSTEM_PATTERNS,
    )

    def finished(self, directory: Path) -> bool:
        return read_result(directory) is not None

    def steps_done(self, directory: Path) -> bool:
        found = read_records(directory)
        return found is not None and len(found[1]) > 0
