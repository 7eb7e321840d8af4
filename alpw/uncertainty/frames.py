"""What the uncertainty of a whole frame means as its force error.

    m(u)² = <e²>(u)         u of a frame, e the root mean square error of its force components

A mean of e itself would not do: errors of frames add up by their squares, and a threshold that is to keep the
root mean square of many frames at a target needs the mean square of each. So squares are calibrated, and
their roots kept. From `LEAST_ISOTONIC` frames on <e²> is a free monotone function of u, with fewer it is
proportional to u², see `alpw.uncertainty.calibration`.

The mean is one *given* u. Labels of frames that were chosen by u, mostly uncertain ones, therefore calibrate
without bias; those chosen among equals of u by something else, such as their distance from the training set,
do so as far as that says nothing about the error that u does not.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from alpw.uncertainty.calibration import Calibration, Source

LEAST_ISOTONIC, LEAST_PROPORTIONAL = 20, 8
"""Fewer than for the atoms of `Calibration.fit`: frames are independent, and the mean of 8 errors that
scatter by 50 % is known within 20 %. From 20 on a monotone function is better than a proportional one even
where the error is proportional to the uncertainty, and by far where it is not."""


def calibrate_frames(uncertainty: ArrayLike, error: ArrayLike, measure: str) -> Calibration:
    """Calibrate with frames that the model was not trained on; the identity with too few.

    Args:
        uncertainty: of each frame, ``(n_frames,)``, zero or more, in any unit.
        error: root mean square error of its force components, ``(n_frames,)``, eV/Å.
        measure: ``committee`` or ``kpu``.

    Returns:
        Its expected errors are root mean squares in eV/Å; it has no bound.

    Raises:
        InputError: what `Calibration.fit` raises.
    """
    u, e = np.square(np.asarray(uncertainty, dtype=float)), np.square(np.asarray(error, dtype=float))
    method = "isotonic" if len(u) >= LEAST_ISOTONIC else "conformal"
    squares = Calibration.fit(u, e, method=method, coverage=0.0, measure=measure, least=LEAST_PROPORTIONAL)
    return replace(
        squares,
        uncertainties=tuple(np.sqrt(squares.uncertainties).tolist()),
        errors=tuple(np.sqrt(squares.errors).tolist()),
        largest=float(np.sqrt(squares.largest)),
    )


def calibration_document(calibration: Calibration) -> dict[str, Any]:
    """A calibration in plain types."""
    document = asdict(calibration)
    document["uncertainties"], document["errors"] = (
        list(calibration.uncertainties),
        list(calibration.errors),
    )
    document["source"]["models"] = list(calibration.source.models)
    return document


def calibration_of(document: dict[str, Any]) -> Calibration:
    """The calibration of a document that has other fields besides."""
    values = {field.name: document[field.name] for field in fields(Calibration)}
    values["uncertainties"], values["errors"] = tuple(values["uncertainties"]), tuple(values["errors"])
    values["source"] = Source(values["source"]["covariance"], tuple(values["source"]["models"]))
    return Calibration(**values)
