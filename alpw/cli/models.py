"""What the commands on models share: arguments, data with errors that name file and frame, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich import box
from rich.table import Table

from alpw.errors import InputError
from alpw.formats.load import load_frames
from alpw.potential import DeepPotential, Errors
from alpw.potential.dataset import Batch, prepare

ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A model, as `alpw train` writes it.")]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, ...; CUDA where there is one.")
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]


def chosen_device(name: str | None) -> str:
    """The device of that name, or CUDA where there is one.

    Raises:
        InputError: a device that torch does not have.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    # torch raises AssertionError where it was built without CUDA.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"{name!r} cannot be used: {str(error).splitlines()[0]}", key="--device") from error
    return name


Origin = tuple[Path, int]
"""A file or folder of data, and the index of a frame in it."""


def free(*files: Path, force: bool) -> None:
    """Make sure that ``files`` may be written.

    Raises:
        InputError: one is there already and may not be replaced, or its folder is not there.
    """
    for file in files:
        if file.is_dir() or (file.exists() and not force):
            raise InputError("exists already; --force replaces it, -o gives another name", file)
        if not file.parent.is_dir():
            raise InputError(f"no folder {file.parent} to write it to", file)


def prepared(model: DeepPotential, paths: Sequence[Path]) -> list[Batch]:
    """The labelled frames in ``paths``, checked and with their neighbours.

    Raises:
        InputError: a file that cannot be read or a frame that cannot be used; names file and frame.
    """
    batches: list[Batch] = []
    for path in paths:
        frames = load_frames(path)
        with named_by_file({"frames": [(path, k) for k in range(len(frames))]}):
            batches += prepare(model, frames)
    return batches


@contextmanager
def named_by_file(origins: Mapping[str, Sequence[Origin]]) -> Iterator[None]:
    """Turn the key ``name[index]`` of an error into the file and the frame that it came from.

    Args:
        origins: by name, where each frame came from.
    """
    try:
        yield
    except InputError as error:
        match = re.fullmatch(r"(\w+)\[(\d+)\]", error.key or "")
        if match is None or match[1] not in origins:
            raise
        file, index = origins[match[1]][int(match[2])]
        raise InputError(error.message, file, f"frame {index}") from error


@contextmanager
def of_file(file: Path | None) -> Iterator[None]:
    """Name ``file``, if there is one, in errors that name none."""
    try:
        yield
    except InputError as error:
        if file is None or error.file or error.key:
            raise
        raise InputError(error.message, file) from error


def error_table(errors: Errors) -> Table:
    """Errors in the units that people compare: meV/atom and eV/Å."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("", "RMSE", "MAE", ""):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("energy", f"{1e3 * errors.energy_rmse:.2f}", f"{1e3 * errors.energy_mae:.2f}", "meV/atom")
    table.add_row("force", f"{errors.force_rmse:.4f}", f"{errors.force_mae:.4f}", "eV/Å")
    if len(errors.elements) > 1:
        for symbol, part in errors.elements.items():
            table.add_row(f"  {symbol}", f"{part.force_rmse:.4f}", f"{part.force_mae:.4f}", "eV/Å")
    if errors.virial_rmse is not None and errors.virial_mae is not None:
        rmse, mae = 1e3 * errors.virial_rmse, 1e3 * errors.virial_mae
        table.add_row("virial", f"{rmse:.2f}", f"{mae:.2f}", "meV/atom")
    return table


def member_table(members: Sequence[Errors]) -> Table:
    """Root mean square errors of the members of a committee, in the units that people compare."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("member", "energy RMSE\nmeV/atom", "force RMSE\neV/Å", "virial RMSE\nmeV/atom"):
        table.add_column(name, justify="right", no_wrap=True)
    for member, errors in enumerate(members):
        virial = "-" if errors.virial_rmse is None else f"{1e3 * errors.virial_rmse:.2f}"
        table.add_row(str(member), f"{1e3 * errors.energy_rmse:.2f}", f"{errors.force_rmse:.4f}", virial)
    return table


def as_dict(errors: Errors | None) -> dict[str, Any] | None:
    """Errors as JSON takes them: eV/Å, eV/atom."""
    return None if errors is None else asdict(errors)
