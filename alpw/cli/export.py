"""``alpw export``: the labelled data set, or a model, for other programs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.cli.data import opened, progress, selected, words
from alpw.errors import InputError


class Target(str, Enum):
    """What a model can be exported to, as `alpw.potential.interchange` names it."""

    DEEPMD = "deepmd"
    TORCHSCRIPT = "torchscript"
    ASE = "ase"
    LAMMPS = "lammps"


class Engine(str, Enum):
    """What computes the forces in LAMMPS."""

    ALPW = "alpw"
    DEEPMD = "deepmd"


DeepmdPython = Annotated[
    Path | None,
    typer.Option(
        "--deepmd-python",
        metavar="FILE",
        help="Python of an environment with deepmd-kit; $ALPW_DEEPMD_PYTHON, or this one, by default.",
    ),
]


def export(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL|[QUERY]...", help="A model, or which frames; all of them if omitted."),
    ] = None,
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="Models: deepmd, torchscript, ase, lammps. Data: extxyz, pwdata, deepmd/npy, deepmd/mixed, "
            "deepmd/hdf5, ase-db, lmdb, movement.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="File or folder to write; a model for deepmd has its format by the ending.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="SHARES", help="Data: parts in a folder PATH, train=0.8,valid=0.2"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Data: another one gives another division. [default: 0]")
    ] = None,
    by_frame: Annotated[
        bool, typer.Option("--by-frame", help="Data: divide frames, even of one trajectory.")
    ] = False,
    launchpad: LaunchpadFile = None,
    sel: Annotated[
        list[int] | None,
        typer.Option(
            "--sel", metavar="N", help="deepmd: neighbours to make room for; one, or one per element."
        ),
    ] = None,
    engine: Annotated[
        Engine | None,
        typer.Option("--engine", help="lammps: what computes the forces. [default: alpw]"),
    ] = None,
    structure: Annotated[
        Path | None,
        typer.Option("--structure", metavar="FILE", help="ase, lammps: what to start from; the last frame."),
    ] = None,
    deepmd_python: DeepmdPython = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write labelled frames, or a model, for other programs; `--to` decides which.

    Frames: those that match a query (docs/data.md), where `snapshot=NAME` is one, too. A division keeps
    the frames of a trajectory together. docs/formats.md explains the formats.

    Models: for deepmd-kit (.pb, .pth, .dp, .yaml), TorchScript, ASE or LAMMPS. deepmd-kit's formats but .yaml
    need deepmd-kit, in an environment of its own. For ase a Python script is written, for lammps an input
    file that runs at once.

    Example: `alpw export chemsys=Si 'max_force<10' --to deepmd/hdf5 -o si.hdf5`

    Example: `alpw export snapshot=paper --to extxyz -o paper --split train=0.8,valid=0.2`

    Example: `alpw export model.pt --to lammps --structure POSCAR`
    """
    of_data = {"--split": split, "--seed": seed, "--by-frame": by_frame or None, "--launchpad": launchpad}
    of_models = {
        "--sel": sel or None,
        "--engine": engine,
        "--structure": structure,
        "--deepmd-python": deepmd_python,
    }
    targets = [target.value for target in Target]
    with errors_as_exit_status():
        if to in targets:
            _refuse(of_data, f"is for data, and --to {to} writes a model")
            # Late: it brings torch, for which frames need not wait.
            from alpw.cli.exchange import write_model

            write_model(
                _one_model(what or [], to),
                Target(to),
                out,
                sel=sel,
                engine=engine or Engine.ALPW,
                structure=structure,
                deepmd_python=deepmd_python,
                force=force,
                as_json=as_json,
            )
            return
        _refuse(of_models, f"is for models (--to {', '.join(targets)}), and {to} is a format of data")
        _write_data(what, to, out, split, seed or 0, by_frame, launchpad, force=force, as_json=as_json)


def _refuse(options: dict[str, Any], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise InputError(why, key=name)


def _one_model(what: list[str], to: str) -> Path:
    if len(what) != 1:
        raise InputError(f"--to {to} writes one model; found {len(what)} names", key="MODEL")
    path = Path(what[0])
    if to == Target.DEEPMD.value and not path.exists() and any(sign in what[0] for sign in "=<>~{"):
        raise InputError("no such model; frames are written with --to deepmd/npy", path)
    return path


def _write_data(
    texts: list[str] | None,
    to: str,
    out: Path | None,
    split: str | None,
    seed: int,
    by_frame: bool,
    launchpad: Path | None,
    *,
    force: bool,
    as_json: bool,
) -> None:
    # Late: it brings the readers of all codes, for which no model has to wait.
    from alpw.dataset.export import export as export_frames
    from alpw.dataset.export import target

    form = target(to)
    if out is None:
        raise InputError("name the file or folder to write", key="--out")
    shares = _shares(split)
    if shares is None and by_frame:
        raise InputError("divides nothing without --split", key="--by-frame")
    told = export_frames(
        selected(opened(launchpad), texts),
        form,
        out,
        shares=shares,
        seed=seed,
        by_frame=by_frame,
        replace=force,
        progress=None if as_json else progress,
    )
    if as_json:
        facts = {"query": words(texts), "to": form.name, "frames": told.frames, "parts": told.parts}
        print_json({**facts, "compositions": dict(told.compositions), "files": told.files})
        return
    listed = [f"{formula} {count}" for formula, count in told.compositions.most_common()]
    more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
    console.print(f"{told.frames} frames as {form.name}: {', '.join(listed[:10])}{more}", soft_wrap=True)
    if told.parts:
        console.print(", ".join(f"{count} {name}" for name, count in told.parts.items()))
    for path in told.files:
        console.print(f"wrote {path}", soft_wrap=True)


def _shares(split: str | None) -> dict[str, float] | None:
    if split is None:
        return None
    shares: dict[str, float] = {}
    for word in split.split(","):
        name, _, number = word.strip().partition("=")
        try:
            shares[name] = float(number)
        except ValueError as error:
            raise InputError(f"found {word!r}; write train=0.8,valid=0.2", key="--split") from error
        if not name.isidentifier():
            raise InputError(f"{name!r} is no name of a part; write train=0.8,valid=0.2", key="--split")
    return shares
