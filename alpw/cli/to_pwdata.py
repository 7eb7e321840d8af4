"""``alpw to_pwdata``: labelled trajectories of any code as a data set."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from alpw.cli.common import AsJson, complaints, console, errors_as_exit_status, note, print_json
from alpw.errors import InputError
from alpw.formats.convert import (
    SEED,
    Progress,
    Report,
    Settings,
    convert_frames,
    convert_structures,
    expand,
    find_inputs,
)
from alpw.formats.registry import LabelledFormat, Options, find

_TRUTH = {
    "true": True,
    "t": True,
    "1": True,
    "yes": True,
    "false": False,
    "f": False,
    "0": False,
    "no": False,
}


class Energy(str, Enum):
    """Which energy of VASP is the label."""

    FREE = "free"
    SIGMA0 = "sigma0"


class Unconverged(str, Enum):
    """What becomes of frames whose SCF did not converge."""

    DROP = "drop"
    KEEP = "keep"


def _truth(text: str, key: str) -> bool:
    """A boolean as the predecessor's users write it."""
    if text.lower() not in _TRUTH:
        raise InputError(f"found {text!r}; allowed: true, false, T, F, 1, 0", key=key)
    return _TRUTH[text.lower()]


Inputs = Annotated[
    list[str],
    typer.Option("--input", "-i", metavar="FILE...", help="Files, data sets, folders, or quoted patterns."),
]
MoreInputs = Annotated[
    list[str] | None, typer.Argument(metavar="[FILE...]", help="More of them, after -i FILE.")
]


def to_pwdata(
    inputs: Inputs,
    more: MoreInputs = None,
    format: Annotated[
        str, typer.Option("--format", "-f", metavar="FORMAT", help="Their format; auto recognises each file.")
    ] = "pwmat/movement",
    savepath: Annotated[
        Path, typer.Option("--savepath", "-s", metavar="PATH", help="Folder to write; its data are replaced.")
    ] = Path("PWdata"),
    train_valid_ratio: Annotated[
        float | None,
        typer.Option(
            "--train_valid_ratio",
            "-o",
            help="Part of the frames for training. [default: 0.8; 1 for one file]",
        ),
    ] = None,
    data_shuffle: Annotated[
        str, typer.Option("--data_shuffle", "-r", metavar="BOOL", help="Divide at random.")
    ] = "true",
    merge: Annotated[
        str, typer.Option("--merge", "-m", metavar="BOOL", help="One data set instead of one by composition.")
    ] = "false",
    gap: Annotated[int, typer.Option("--gap", "-g", help="Take every n-th frame of a file.")] = 1,
    work_dir: Annotated[
        Path, typer.Option("--work_dir", "-w", metavar="FOLDER", help="Where all paths begin.")
    ] = Path(),
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="Format to write.")] = "pwmlff/npy",
    seed: Annotated[int, typer.Option("--seed", help="Of the division at random.")] = SEED,
    unconverged: Annotated[
        Unconverged, typer.Option("--unconverged", help="Frames whose SCF did not converge.")
    ] = Unconverged.DROP,
    energy: Annotated[Energy, typer.Option("--energy", help="VASP: the energy of the label.")] = Energy.FREE,
    elements: Annotated[
        str, typer.Option("--elements", metavar="SYMBOLS", help="LAMMPS: elements of types 1, 2, ...: Si,O")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Convert labelled frames of PWmat, VASP, CP2K, ... to PWdata or another format.

    Of each composition, the first 80 % of its frames, shuffled, become training data, the rest validation
    data. Identical frames are written once. docs/formats.md lists the formats.

    Example: `alpw to_pwdata -i MOVEMENT -s PWdata -o 0.9`

    Example: `alpw to_pwdata -i 'runs/*/OUTCAR' -f vasp/outcar --to extxyz -s data -g 5`
    """
    with errors_as_exit_status():
        if not work_dir.is_dir():
            raise InputError("no such folder", work_dir, "--work_dir")
        target = find(to)
        place = work_dir / savepath
        one_file = isinstance(target, LabelledFormat) and target.is_one(place)
        ratio = train_valid_ratio if train_valid_ratio is not None else (1.0 if one_file else 0.8)
        settings = Settings(
            ratio=ratio,
            shuffle=_truth(data_shuffle, "data_shuffle"),
            seed=seed,
            merge=_truth(merge, "merge"),
            gap=gap,
            keep_unconverged=unconverged is Unconverged.KEEP,
            options=Options(tuple(elements.replace(",", " ").split()), energy.value),
        )
        paths = [path for text in [*inputs, *(more or [])] for path in expand(text, work_dir)]
        found = find_inputs(paths, None if format.lower() == "auto" else find(format))
        with _progress(show=not as_json) as progress:
            if isinstance(target, LabelledFormat):
                report = convert_frames(found, target, place, settings, progress)
            else:
                report = convert_structures(found, target, place, settings, progress)
        if as_json:
            print_json({**asdict(report), "format": target.name, "seed": seed, "energy": energy.value})
            return
        _show(report, settings, labelled=target.labelled)


@contextmanager
def _progress(*, show: bool) -> Iterator[Progress | None]:
    """A line on the terminal that counts frames, where there is a terminal."""
    if not show or not sys.stderr.isatty():
        yield None
        return
    with complaints.status("reading") as status:

        def told(path: Path, n_frames: int) -> None:
            status.update(f"{path}: {n_frames} frames")

        yield told


def _show(report: Report, settings: Settings, *, labelled: bool) -> None:
    for path, n_frames in report.inputs.items():
        console.print(f"{path}: {n_frames} frames", soft_wrap=True)
    if report.skipped:
        console.print(f"one frame in {settings.gap} taken, {report.skipped} left out")
    if report.unconverged:
        fate = "kept" if settings.keep_unconverged else "left out"
        note(f"{report.unconverged} frames without a converged SCF are {fate}")
    if report.duplicates:
        note(f"{report.duplicates} frames are identical to others and written once")
    if settings.options.energy == "sigma0":
        note("energies are those extrapolated to zero smearing, not the ones that go with the forces")
    for path in report.outputs:
        console.print(f"wrote {path}", soft_wrap=True)
    if labelled:
        console.print(f"{report.train} frames for training, {report.valid} for validation")
    if report.left:
        note(f"data from before lie there too: {', '.join(report.left)}")
