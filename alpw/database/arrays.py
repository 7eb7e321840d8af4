"""NumPy arrays as compact BSON, the same way in every collection."""

from __future__ import annotations

from typing import Any

import numpy as np
from bson import Binary
from numpy.typing import NDArray

from alpw.errors import DatabaseError


def encode(array: NDArray[Any]) -> dict[str, Any]:
    """An array as ``{dtype, shape, data}``; ``dtype`` is NumPy's byte-order-aware string, as ``<f8``."""
    array = np.ascontiguousarray(array)
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": Binary(array.tobytes())}


def decode(document: dict[str, Any]) -> NDArray[Any]:
    """The array that :func:`encode` stored, as a writable copy.

    Raises:
        DatabaseError: something else than :func:`encode` has written it.
    """
    try:
        flat = np.frombuffer(document["data"], dtype=np.dtype(document["dtype"]))
        return flat.reshape(document["shape"]).copy()
    except (KeyError, TypeError, ValueError) as error:
        text = f"is no array that ALPW wrote ({error}); `alpw dataset health` tells where"
        raise DatabaseError(text) from error
