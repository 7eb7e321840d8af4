"""``alpw test``: errors of a model on labelled frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from alpw.cli import calibrate as calibrating
from alpw.cli.common import AsJson, console, errors_as_exit_status, print_json
from alpw.cli.models import (
    Device,
    Force,
    ModelFile,
    Threads,
    as_dict,
    chosen_device,
    error_table,
    free,
    prepared,
)
from alpw.errors import InputError
from alpw.potential import DeepPotential
from alpw.potential.evaluation import Comparison, compare
from alpw.potential.weights import fingerprint
from alpw.report.parity import plot_parity
from alpw.report.style import SUFFIXES
from alpw.uncertainty.calibration import Source, force_error
from alpw.uncertainty.committee import check_committee, force_deviation

DataFiles = Annotated[
    list[Path], typer.Argument(metavar="DATA...", help="Labelled frames: extxyz files, PWdata folders.")
]


def test(
    model_file: ModelFile,
    data: DataFiles,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="PNG, PDF or SVG to write; MODEL with .parity.png by default."
        ),
    ] = None,
    member: Annotated[
        list[Path] | None,
        typer.Option("--member", "-m", metavar="MODEL", help="Another member of the committee; repeatable."),
    ] = None,
    calibrate: calibrating.CalibrationTarget = None,
    method: calibrating.CalibrationMethod = calibrating.Method.ISOTONIC,
    coverage: calibrating.Coverage = 0.9,
    device: Device = None,
    threads: Threads = 1,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare a model with labels: RMSE and MAE of energy per atom, forces by element, virial.

    A parity plot is written as PNG; that of an earlier test is replaced. With the other members of its
    committee, the force deviation of each atom is set against the true error of MODEL's force; --calibrate
    turns that into a calibration, which is only honest on frames that were not trained on.

    Example: `alpw test model.pt valid.xyz`

    Example: `alpw test model.000.pt valid.xyz -m model.001.pt -m model.002.pt --calibrate committee.json`
    """
    with errors_as_exit_status():
        torch.set_num_threads(threads)
        if calibrate and not member:
            raise typer.BadParameter("name the other members of the committee with --member")
        file = plot or model_file.with_suffix(".parity.png")
        if file.suffix.lower() not in SUFFIXES:
            raise InputError(f"found {str(file)!r}; allowed suffixes: {', '.join(SUFFIXES)}", key="--plot")
        free(file, force=True)
        calibrating.targets(calibrate, force=force)
        models = [DeepPotential.load(path, chosen_device(device)) for path in (model_file, *(member or []))]
        if member:
            check_committee(models)
        comparisons = [compare(model, prepared(model, data)) for model in models]
        comparison, errors = comparisons[0], comparisons[0].errors(models[0].config.elements)
        n_frames, n_atoms = len(comparison.n_atoms), len(comparison.numbers)
        plot_parity(comparison, errors, file, f"{model_file.name}: {n_frames} frames")
        document: dict[str, Any] = {
            "model": str(model_file),
            "data": [str(path) for path in data],
            "frames": n_frames,
            "atoms": n_atoms,
            "errors": as_dict(errors),
            "units": {"energy": "eV/atom", "force": "eV/Å", "virial": "eV/atom"},
            "plot": str(file),
        }
        if member:
            document["committee"] = _committee(comparisons)
        if calibrate:
            document["calibration"] = calibrating.calibrate(
                force_deviation([found.forces for found in comparisons]),
                force_error(comparison.forces, comparison.force_labels),
                comparison.frame,
                calibrate,
                measure="committee",
                source=Source(models=tuple(sorted(fingerprint(model) for model in models))),
                unit="eV/Å",
                method=method,
                coverage=coverage,
            )
        if as_json:
            print_json(document)
            return
        console.print(f"{n_frames} frames, {n_atoms} atoms")
        console.print(error_table(errors))
        if member:
            found = document["committee"]
            console.print(
                f"committee of {found['members']}: mean force deviation "
                f"{found['mean_force_deviation']:.4f} eV/Å, correlation with the error of the first "
                f"{found['correlation']:.2f}",
                soft_wrap=True,
            )
        console.print(f"plot {file}", soft_wrap=True)
        if calibrate:
            calibrating.show(document["calibration"])


def _committee(comparisons: list[Comparison]) -> dict[str, Any]:
    """How the deviation of a committee and the error of its first member go together, over atoms."""
    deviation = force_deviation([found.forces for found in comparisons])
    error = force_error(comparisons[0].forces, comparisons[0].force_labels)
    return {
        "members": len(comparisons),
        "mean_force_deviation": float(deviation.mean()),
        "max_force_deviation": float(deviation.max()),
        "correlation": float(np.corrcoef(deviation, error)[0, 1]),
    }
