"""What can go wrong in a tight-binding run, and what may be done about it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

from custodian.custodian import ErrorHandler

from alpw.codes.ase.handlers import RefusalHandler
from alpw.codes.ase.outputs import read_result
from alpw.codes.handlers import correction
from alpw.codes.xtb.corrections import INPUT
from alpw.errors import FailureKind

UNCONVERGED = re.compile(r"SCF not converged")


class XtbScfHandler(ErrorHandler):
    """tblite: ``SCF not converged in N cycles``.

    Corrections, in order, all numerical:

    1. twice as many iterations, mixing damped from 0.4 to 0.2;
    2. mixing damped to 0.1, which charge sloshing in metals needs.

    Then it is given up. The electronic temperature is never raised: that would give another energy. A
    relaxation or MD goes on from the step before.
    """

    ladder: ClassVar[tuple[dict[str, Any], ...]] = (
        {"max_iterations": 500, "mixer_damping": 0.2},
        {"mixer_damping": 0.1},
    )

    def check(self, directory: str | Path = "./") -> bool:
        result = read_result(Path(directory))
        return bool(result and result["error"] and UNCONVERGED.search(result["error"]))

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        result = read_result(Path(directory))
        error = result["error"] if result else "SCF not converged"
        if self.n_applied_corrections >= len(self.ladder):
            return correction(FailureKind.SCF, error, None)
        change = self.ladder[self.n_applied_corrections]
        path = Path(directory) / INPUT
        document = json.loads(path.read_text())
        document["scf"] |= change
        path.write_text(json.dumps(document, indent=1))
        return correction(FailureKind.SCF, error, [{"dict": INPUT, "action": {"_set": {"scf": change}}}])


class XtbRefusalHandler(RefusalHandler):
    """tblite refuses the task: atoms on top of each other, an unknown element; or a step is unphysical.

    Never retried.
    """

    kinds: ClassVar[tuple[tuple[str, FailureKind], ...]] = (
        (r"interatomic distance|Lattice", FailureKind.GEOMETRY),
        (r"No support for element|method", FailureKind.INPUT),
    )

    def check(self, directory: str | Path = "./") -> bool:
        result = read_result(Path(directory))
        return bool(result and result["error"] and not UNCONVERGED.search(result["error"]))

    def kind(self, result: dict[str, Any]) -> FailureKind:
        """Class of the failure by tblite's words, or as the driver wrote it down."""
        known = (kind for pattern, kind in self.kinds if re.search(pattern, result["error"]))
        return super().kind(result) if result.get("kind") else next(known, FailureKind.UNKNOWN)
