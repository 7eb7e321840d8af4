"""``alpw compress``: a model whose embedding nets are tables."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer

from alpw.cli.common import AsJson, console, errors_as_exit_status, print_json
from alpw.cli.models import Force, ModelFile, Threads, free, of_file
from alpw.formats.trajectory import read_trajectory
from alpw.potential import DeepPotential
from alpw.potential.compression import compress as tabulate
from alpw.potential.tables import TableOptions


def compress(
    model_file: ModelFile,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Model to write; MODEL with .compressed.pt by default."
        ),
    ] = None,
    spacing: Annotated[
        float, typer.Option("--spacing", metavar="DS", help="Distance of the nodes in the scaled s.")
    ] = TableOptions.spacing,
    order: Annotated[
        int, typer.Option("--order", help="Of the polynomials between the nodes, 5 or 3.")
    ] = TableOptions.order,
    frames: Annotated[
        Path | None,
        typer.Option(
            "--frames", metavar="FILE", help="Structures to compare on; random crystals by default."
        ),
    ] = None,
    threads: Threads = 1,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Replace the embedding nets of a model by tables, and tell what that costs in accuracy.

    The compressed model is used like any other and remembers its parent, which KPU and exports take.

    Example: `alpw compress model.pt -o fast.pt --frames valid.xyz`
    """
    with errors_as_exit_status():
        torch.set_num_threads(threads)
        target = out or model_file.with_suffix(".compressed.pt")
        free(target, force=force)
        model = DeepPotential.load(model_file)
        structures = read_trajectory(frames, model.config.elements).frames if frames else []
        with of_file(frames):
            compressed, report = tabulate(model, spacing=spacing, order=order, frames=structures)
        compressed.save(target)
        if as_json:
            units = {
                "force_error": "eV/Å",
                "energy_error": "eV/atom",
                "virial_error": "eV/atom",
                "size": "MB",
            }
            print_json({"model": str(model_file), "file": str(target), **asdict(report), "units": units})
            return
        tables = "table" if report.n_tables == 1 else "tables"
        kind = "given structures" if report.from_user else "random crystals"
        console.print(
            f"{report.n_tables} {tables} of {report.n_nodes} nodes, order {report.order}, spacing "
            f"{report.spacing:g}, {report.size:.1f} MB"
        )
        console.print(
            f"largest differences from {model_file.name} on {report.n_frames} {kind}:", soft_wrap=True
        )
        console.print(f"  force   {report.force_error:.1e} eV/Å")
        console.print(f"  energy  {report.energy_error:.1e} eV/atom")
        console.print(f"  virial  {report.virial_error:.1e} eV/atom")
        console.print(f"model {target}", soft_wrap=True)
