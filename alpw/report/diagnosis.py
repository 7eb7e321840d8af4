"""Why calculations have no result, in lines that a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from alpw.codes.failures import REMEDIES
from alpw.errors import FailureKind

SHOWN = 5
"""Calculations shown per class of failure; `alpw status --json` has all of them."""


def diagnosis_lines(errors: Sequence[dict[str, Any]]) -> Iterator[str]:
    """One line per failure (code, class, what the log said, folder), and per class what to do about it.

    Args:
        errors: documents as `alpw.database.failures.error_document` makes them, newest first.
    """
    for kind in FailureKind:
        of_kind = [error for error in errors if error["kind"] == kind.value]
        for error in islice(of_kind, SHOWN):
            yield f"quarantined: {error['diagnosis']}"
        if len(of_kind) > SHOWN:
            yield f"quarantined: {len(of_kind) - SHOWN} more of class {kind.value}"
        if of_kind:
            yield f"  {kind.value}: {REMEDIES[kind].advice}"
