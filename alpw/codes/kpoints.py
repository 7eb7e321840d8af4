"""The rule that turns ``kspacing`` into a mesh, the same for every code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def mesh(cell: np.ndarray[Any, Any], spacing: float) -> tuple[int, int, int]:
    """Divisions of the k-point mesh: ``n_i = max(1, round(2π |b_i| / spacing))``, ``b_i`` without 2π.

    This is AL-PWMLFF's formula; VASP's own KSPACING rounds up, so that its meshes are at times denser.

    Args:
        cell: lattice vectors as rows, ``(3, 3)`` in Å.
        spacing: in 1/Å, 2π included.
    """
    lengths = np.linalg.norm(np.linalg.inv(cell).T, axis=1)
    a, b, c = (max(1, round(2 * math.pi * float(length) / spacing)) for length in lengths)
    return a, b, c
