"""Planes of a crystal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from alpw.errors import InputError


def reduced_miller(miller: Sequence[int]) -> tuple[int, int, int]:
    """Miller indices without a common divisor.

    Raises:
        InputError: not three whole numbers, or all of them zero.
    """
    indices = np.asarray(miller)
    if indices.shape != (3,) or indices.dtype.kind not in "iu" or not indices.any():
        raise InputError(f"{miller!r} is no plane; give three whole numbers (h, k, l), not all zero")
    h, k, l = (int(index) // math.gcd(*indices.tolist()) for index in indices)  # noqa: E741
    return h, k, l
