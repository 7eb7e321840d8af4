"""What the commands that calibrate share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import ArrayLike

from alpw.cli.common import console
from alpw.cli.models import free
from alpw.errors import InputError
from alpw.report.calibration import plot_calibration
from alpw.uncertainty.calibration import Calibration, Source


class Method(str, Enum):
    """The ways to calibrate, `alpw.uncertainty.calibration.METHODS`."""

    ISOTONIC = "isotonic"
    CONFORMAL = "conformal"


CalibrationTarget = Annotated[
    Path | None,
    typer.Option(
        "--calibrate",
        metavar="FILE",
        help="Calibrate the uncertainty with these labels: JSON to write, with a plot beside it.",
    ),
]
CalibrationMethod = Annotated[Method, typer.Option("--method", help="How to calibrate.")]
Coverage = Annotated[
    float, typer.Option("--coverage", help="Part of the errors that the bound has to cover, between 0 and 1.")
]


def targets(file: Path | None, *, force: bool) -> None:
    """Make sure that the calibration and its plot may be written."""
    if file is not None:
        if file.suffix == ".png":
            raise InputError(f"found {file}, which is the plot's; give a .json", key="--calibrate")
        free(file, file.with_suffix(".png"), force=force)


def calibrate(
    uncertainty: ArrayLike,
    error: ArrayLike,
    frame: ArrayLike,
    file: Path,
    *,
    measure: str,
    source: Source,
    unit: str,
    method: Method,
    coverage: float,
) -> dict[str, Any]:
    """Fit, write and draw a calibration; what to tell about it.

    Args:
        uncertainty: ``(n_atoms,)``.
        error: ``(n_atoms,)`` in eV/Å.
        frame: ``(n_atoms,)``, the frame of each atom.
        file: JSON to write.
        measure: what the uncertainty is, ``committee`` or ``kpu``.
        source: of the uncertainty.
        unit: of the uncertainty.
        method: how to calibrate.
        coverage: of the bound.
    """
    found = Calibration.fit(
        uncertainty,
        error,
        method=method.value,
        coverage=coverage,
        measure=measure,
        source=source,
        groups=frame,
    )
    found.save(file)
    plot_calibration(found, uncertainty, error, file.with_suffix(".png"), unit)
    return {
        "file": str(file),
        "plot": str(file.with_suffix(".png")),
        "measure": measure,
        "method": found.method,
        "coverage": found.coverage,
        "pairs": found.n_pairs,
        "identity": found.identity,
        "quantile": found.quantile,
    }


def show(document: dict[str, Any]) -> None:
    """Print what `calibrate` returned."""
    if not document["identity"]:
        console.print(
            f"calibrated with {document['pairs']} atoms ({document['method']}): "
            f"{document['coverage']:.0%} of the errors are below {document['quantile']:.2f} times "
            "the expected one",
            soft_wrap=True,
        )
    console.print(f"calibration {document['file']}\nplot {document['plot']}", soft_wrap=True)
