"""``alpw train``: fit a Deep Potential, or a committee of them, outside a campaign."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from alpw import __version__
from alpw.cli.common import (
    EXIT_FAILED,
    AsJson,
    complaints,
    console,
    errors_as_exit_status,
    note,
    print_json,
)
from alpw.cli.models import (
    Device,
    Force,
    Origin,
    as_dict,
    chosen_device,
    error_table,
    member_table,
    named_by_file,
)
from alpw.config.train import Train
from alpw.config.train_file import TrainInput, load_train
from alpw.errors import AlpwError, InputError
from alpw.files import write_atomically
from alpw.potential import DeepPotential, EpochRecord, TrainingOptions, TrainingReport
from alpw.potential import train as fit
from alpw.potential.covariance import covariance_path
from alpw.potential.dataset import prepare
from alpw.potential.training.committee import train_committee as fit_committee
from alpw.potential.training.loop import CURVE_FILE
from alpw.potential.training.state import STATE_FILE
from alpw.report.epochs import epoch_line, live_view
from alpw.report.learning_curve import plot_learning_curve
from alpw.structures.frame import LabelledFrame
from alpw.structures.seeds import derive_seed
from alpw.trainers.section import model_config, read_frames, training_options
from alpw.uncertainty.committee import check_committee

RECORD_FILE, PLOT_FILE = "training.json", "learning_curve.png"

#: What a training writes, as shell patterns.
MODELS = ("model.pt", "model.[0-9][0-9][0-9].pt", "model*.covariance.pt", "last_good_*.pt")
OUTPUTS = (*MODELS, STATE_FILE, CURVE_FILE, PLOT_FILE, RECORD_FILE, "member_*/*.pt", "member_*/*.csv")

#: Settings in which a model to start from may differ from INPUT.
FREE_SETTINGS = ("seed", "sel", "precision")

#: Seconds between two lines of progress where the output is no terminal.
QUIET_SECONDS = 10.0

InputFile = Annotated[
    Path, typer.Argument(metavar="INPUT", help="param.json, or a train json of PWMLFF or MatPL.")
]
DataFiles = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[DATA]...", help="Training set, instead of the one in INPUT: extxyz, PWdata."),
]


@dataclass
class Data:
    """Labelled frames, and where each came from."""

    training: list[LabelledFrame] = field(default_factory=list)
    valid: list[LabelledFrame] = field(default_factory=list)
    origins: dict[str, list[Origin]] = field(default_factory=lambda: {"frames": [], "valid": []})


def train(
    input_file: InputFile,
    data: DataFiles = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for what is written.")
    ] = Path("training"),
    valid: Annotated[
        list[Path] | None,
        typer.Option(
            "--valid", metavar="DATA", help="Held-out frames, instead of those in INPUT; repeatable."
        ),
    ] = None,
    committee: Annotated[
        int,
        typer.Option("--committee", min=1, metavar="N", help="Train N models that differ by their seeds."),
    ] = 1,
    init_model: Annotated[
        list[Path] | None,
        typer.Option("--init-model", metavar="MODEL", help="Start from these weights; one per member."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in DIR.")] = False,
    force: Force = False,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads, instead of those in INPUT.")
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Train a Deep Potential with the train block of INPUT, and report its errors.

    DIR gets model.pt, model.covariance.pt after a Kalman filter, learning_curve.csv and .png, training.json,
    and training.pt to resume from. A committee is trained in one pass; it gets model.000.pt, model.001.pt
    and so on, and a folder with curve and checkpoint for each. With held-out frames a model is that of its
    best epoch. Ctrl-C stops; the same command with --resume goes on from the last checkpoint. Everything is
    checked before anything is written.

    Example: `alpw train param.json --out si`

    Example: `alpw train train.json train.xyz --valid valid.xyz --committee 4 --out si`
    """
    with errors_as_exit_status():
        if resume and force:
            raise InputError("--force replaces a training, --resume goes on with it; give one", key="--force")
        inputs = _inputs(input_file, data or [], valid or [])
        for remark in inputs.notes:
            note(remark)
        found = _read(inputs)
        init = init_model or inputs.train.init_models
        models = _models(inputs.train, committee, init)
        options = [_options(inputs.train, member, bool(init), device, threads) for member in range(committee)]
        _clear(out, models, found, resume=resume, force=force)
        if resume and not any(file.is_file() for file in _states(out, committee)):
            note(f"nothing to resume in {out}; starting from the beginning")
        out.mkdir(parents=True, exist_ok=True)
        reports = _fit(models, found, options, out, resume)
        document = _write(models, reports, options, inputs, found, out)
        if as_json:
            print_json(document)
            return
        _show(document, reports)


def _inputs(file: Path, data: Sequence[Path], valid: Sequence[Path]) -> TrainInput:
    """What INPUT says, with the data of the command line in the place of its own."""
    inputs = load_train(file, needs_data=not data)
    return replace(
        inputs, train_data=list(data) or inputs.train_data, valid_data=list(valid) or inputs.valid_data
    )


def _read(inputs: TrainInput) -> Data:
    """All frames, file by file, so that an error can name the file."""
    data = Data()
    parts = [(path, replace(inputs, train_data=[path], valid_data=[])) for path in inputs.train_data]
    parts += [(path, replace(inputs, train_data=[], valid_data=[path])) for path in inputs.valid_data]
    for path, part in parts:
        training, valid = read_frames(part)
        data.training += training
        data.valid += valid
        data.origins["frames"] += [(path, k) for k in range(len(training))]
        data.origins["valid"] += [(path, k) for k in range(len(valid))]
    return data


def _models(section: Train, n: int, init: Sequence[Path]) -> list[DeepPotential]:
    """New models that differ by their seeds, or those in the files ``init``."""
    wanted = [model_config(section, derive_seed(section.seed, "weights", member)) for member in range(n)]
    if not init:
        return [DeepPotential(config) for config in wanted]
    if len(init) != n:
        text = f"{len(init)} given for {n} models; every member of a committee needs a start of its own"
        raise InputError(text, key="--init-model")
    models = [DeepPotential.load(path) for path in init]
    for path, model, config in zip(init, models, wanted, strict=True):
        for name, value in asdict(config).items():
            has = getattr(model.config, name)
            if name not in FREE_SETTINGS and has != value:
                raise InputError(f"has {has!r}, and INPUT asks for {value!r}; make them the same", path, name)
    if n > 1:
        check_committee(models)
    return models


def _options(
    section: Train, member: int, warm_start: bool, device: str | None, threads: int | None
) -> TrainingOptions:
    seed = derive_seed(section.seed, "order", 0, member)
    options = training_options(section, seed, warm_start=warm_start)
    return replace(options, device=chosen_device(device), threads=threads or section.threads)


def _clear(out: Path, models: list[DeepPotential], data: Data, *, resume: bool, force: bool) -> None:
    """Make room in ``out`` for a new training, if that is allowed."""
    old = [file for pattern in OUTPUTS for file in sorted(out.glob(pattern))]
    if not old or resume:
        return
    if not force:
        raise InputError(
            "a training is here already; --resume goes on with it, --force replaces it, --out gives another "
            "folder",
            old[0],
        )
    # Frames that cannot be used must show before anything is lost.
    with named_by_file(data.origins):
        prepare(models[0], data.training)
        prepare(models[0], data.valid, name="valid")
    for file in old:
        file.unlink()


def _states(out: Path, n: int) -> list[Path]:
    """The files that a training of ``n`` models is resumed from."""
    return [out / STATE_FILE] if n == 1 else [out / f"member_{k}" / STATE_FILE for k in range(n)]


def _fit(
    models: list[DeepPotential], data: Data, options: list[TrainingOptions], out: Path, resume: bool
) -> list[TrainingReport]:
    """Train with a live view; whatever ends it, the files to resume from stay."""
    files: dict[str, Any] = {"directory": out, "resume": resume}
    try:
        with named_by_file(data.origins), _watch(_n_epochs(data, options[0]), len(models)) as show:
            if len(models) == 1:
                return [fit(models[0], data.training, data.valid, options=options[0], on_epoch=show, **files)]
            return fit_committee(
                models,
                data.training,
                data.valid,
                options=options,
                on_epoch=lambda _, record: show(record),
                **files,
            )
    except KeyboardInterrupt:
        complaints.print(f"Stopped. With --resume the same command goes on from the checkpoint in {out}.")
        raise typer.Exit(EXIT_FAILED) from None
    except InputError:
        raise
    except AlpwError:
        for name, model in zip(_names(len(models)), models, strict=True):
            file = out / f"last_good_{name}"
            model.save(file)
            note(f"the last good weights are in {file}")
        raise


def _n_epochs(data: Data, options: TrainingOptions) -> int:
    if options.steps is None:
        return options.epochs
    return math.ceil(options.steps / math.ceil(len(data.training) / options.batch_size))


@contextmanager
def _watch(n_epochs: int, n_members: int) -> Iterator[Callable[[EpochRecord], None]]:
    """A callback that shows each epoch: live in a terminal, a line now and then elsewhere."""
    epochs: list[list[EpochRecord]] = []
    printed = -math.inf

    def add(record: EpochRecord) -> None:
        same = next((records for records in reversed(epochs) if records[0].epoch == record.epoch), None)
        if same is None:
            epochs.append([record])
        else:
            same.append(record)

    def print_line(record: EpochRecord) -> None:
        nonlocal printed
        add(record)
        records = epochs[-1]
        is_last = record.epoch == n_epochs and len(records) == n_members
        if time.monotonic() - printed > QUIET_SECONDS or is_last:
            printed = time.monotonic()
            complaints.print(epoch_line(records, n_epochs), soft_wrap=True)

    if not complaints.is_terminal:
        yield print_line
        return
    with Live(live_view(epochs, n_epochs), console=complaints, refresh_per_second=4) as live:

        def redraw(record: EpochRecord) -> None:
            add(record)
            live.update(live_view(epochs, n_epochs))

        yield redraw


def _names(n: int) -> list[str]:
    return ["model.pt"] if n == 1 else [f"model.{member:03d}.pt" for member in range(n)]


def _write(
    models: list[DeepPotential],
    reports: list[TrainingReport],
    options: list[TrainingOptions],
    inputs: TrainInput,
    data: Data,
    out: Path,
) -> dict[str, Any]:
    """Models, covariances, plot and record; what the record says."""
    names = _names(len(models))
    for name, model, report in zip(names, models, reports, strict=True):
        model.save(out / name)
        if report.covariance is not None:
            report.covariance.save(covariance_path(out / name))
    plot_learning_curve(
        {name: report.epochs for name, report in zip(names, reports, strict=True)}, out / PLOT_FILE
    )
    document = {
        "alpw": __version__,
        "input": str(inputs.file),
        "data": {key: [str(path) for path in getattr(inputs, key)] for key in ("train_data", "valid_data")},
        "frames": {"train": len(data.training), "valid": len(data.valid)},
        "units": {"energy": "eV/atom", "force": "eV/Å", "virial": "eV/atom"},
        "network": asdict(models[0].config),
        "models": [
            {
                "file": str(out / name),
                "seeds": {"weights": model.config.seed, "order": choice.seed},
                "options": asdict(choice),
                "epochs": len(report.epochs),
                "best_epoch": report.best_epoch,
                "stopped_early": report.stopped_early,
                "seconds": report.seconds,
                "covariance": None if report.covariance is None else str(covariance_path(out / name)),
                "errors": {"train": as_dict(report.train), "valid": as_dict(report.valid)},
            }
            for name, model, choice, report in zip(names, models, options, reports, strict=True)
        ],
        "plot": str(out / PLOT_FILE),
    }
    write_atomically(out / RECORD_FILE, (json.dumps(document, indent=2, default=str) + "\n").encode())
    return document


def _show(document: dict[str, Any], reports: list[TrainingReport]) -> None:
    on_valid = reports[0].valid is not None
    count = document["frames"]["valid" if on_valid else "train"]
    console.print(f"errors on {count} {'held-out' if on_valid else 'training'} frames")
    errors = [report.valid or report.train for report in reports]
    console.print(error_table(errors[0]) if len(errors) == 1 else member_table(errors))
    for facts, report in zip(document["models"], reports, strict=True):
        early = ", stopped early" if report.stopped_early else ""
        epochs = f"epoch {report.best_epoch} of {len(report.epochs)}{early}"
        console.print(f"model {facts['file']} ({epochs})", soft_wrap=True)
    console.print(f"plot  {document['plot']}", soft_wrap=True)
