"""Whether a frame can be matter, and its forces those of an isolated system or a crystal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from alpw.codes.registry import CODES, code_of
from alpw.database.arrays import decode
from alpw.database.documents import atoms_of
from alpw.dataset.health.problem import Problem, display, removable
from alpw.dataset.health.survey import Survey
from alpw.findings import Severity
from alpw.structures.sanity import MINIMUM_FRACTION, defect

NET_FORCE = 2e-2
"""eV/Å per atom; of a code whose own tolerance is not known, as of plane waves on a coarse grid"""


def net_force(document: Mapping[str, Any]) -> str | None:
    """Whether the mean force on the atoms is larger than the code's rounding makes it.

    Without an outer field forces sum to zero; what is left is the error of grids and of self-consistency, or
    a constraint, a dropped atom, a file of another structure.
    """
    mean = float(np.linalg.norm(decode(document["forces"]).mean(axis=0)))
    tolerance = _tolerance(document.get("code"))
    return f"mean force {mean:.2g} eV/Å, {tolerance:g} is credible" if mean > tolerance else None


@cache
def _tolerance(code: str | None) -> float:
    return code_of(code).net_force_tolerance if code in CODES else NET_FORCE


def unphysical(document: Mapping[str, Any]) -> str | None:
    """What no matter can be: atoms in each other, a cell without volume."""
    return defect(atoms_of(dict(document)))


def net_force_problems(found: Survey) -> Iterator[Problem]:
    """Frames whose forces do not sum to zero."""
    if defects := found.defects.get("net-force"):
        text = f"{len(defects)} frames have forces that do not sum to zero, which no potential can learn"
        yield removable("net-force", Severity.WARN, text, defects, "net force", found.words)


def distance_problems(found: Survey) -> Iterator[Problem]:
    """Frames with atoms nearer than `alpw.structures.sanity.MINIMUM_FRACTION` allows."""
    if defects := found.defects.get("distances"):
        text = (
            f"{len(defects)} frames have atoms within {MINIMUM_FRACTION} of the sum of their covalent radii, "
            "or no room: fine if they are meant, such as a dimer's repulsion"
        )
        ids = [which for which, _ in defects]
        command = display(ids, ("formula", "max_force", "directory"), "distances", found.words)
        yield Problem("distances", Severity.WARN, text, tuple(defects), command)
