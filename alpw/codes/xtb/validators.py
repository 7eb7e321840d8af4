"""Is the result of a tight-binding single point complete?"""

from __future__ import annotations

from pathlib import Path

from custodian.custodian import Validator

from alpw.codes.xtb.outputs import read_result


class XtbValidator(Validator):
    """``result.json`` is there and holds energy and forces."""

    def check(self, directory: str | Path = "./") -> bool:
        """True if something is missing (custodian's convention)."""
        result = read_result(Path(directory))
        return result is None or "energy" not in result or "forces" not in result
