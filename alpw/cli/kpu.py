"""``alpw kpu``: the Kalman prediction uncertainty of every atom in a trajectory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from ase import Atoms
from numpy.typing import NDArray
from rich.progress import track

from alpw.cli import calibrate as calibrating
from alpw.cli.common import AsJson, complaints, console, errors_as_exit_status, note, print_json
from alpw.cli.models import Device, Force, ModelFile, Threads, chosen_device, free, named_by_file
from alpw.codes.lammps.outputs import TASK_FILE, read_result
from alpw.errors import AlpwError, InputError
from alpw.formats.load import load_frames
from alpw.formats.trajectory import read_trajectory
from alpw.potential import DeepPotential
from alpw.potential.covariance import Covariance, covariance_path
from alpw.report.kpu import QUANTILES, write_arrays, write_text
from alpw.structures.frame import LabelledFrame
from alpw.uncertainty.calibration import Calibration, Source, force_error
from alpw.uncertainty.kpu import KPU, SampledKPU, Samples, exact_kpu
from alpw.uncertainty.posterior import gauss_newton, linear_scale
from alpw.uncertainty.posterior import posterior_models as draw_models


@dataclass(frozen=True)
class Structures:
    """What is to be looked at, in order."""

    steps: NDArray[np.int64]
    frames: list[Atoms]
    origins: list[tuple[Path, int]]


def kpu(
    model_file: ModelFile,
    trajectory: Annotated[
        list[Path],
        typer.Argument(
            metavar="TRAJECTORY...",
            help="extxyz, LAMMPS dump, PWdata, whatever ASE reads, a trajectory folder of a campaign, or a "
            "folder of files named by their step.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="STEM", help="STEM.npz and STEM.out are written.")
    ] = Path("kpu"),
    samples: Annotated[
        int | None,
        typer.Option("--samples", min=2, metavar="K", help="Estimate it from K draws of the weights: fast."),
    ] = None,
    covariance: Annotated[
        Path | None,
        typer.Option(
            "--covariance", metavar="FILE", help="Covariance of the weights; beside MODEL by default."
        ),
    ] = None,
    posterior_from: Annotated[
        list[Path] | None,
        typer.Option(
            "--posterior-from",
            metavar="DATA",
            help="Compute the covariance from this training set; repeatable.",
        ),
    ] = None,
    save_covariance: Annotated[
        Path | None, typer.Option("--save-covariance", metavar="FILE", help="Keep the computed covariance.")
    ] = None,
    save_samples: Annotated[
        Path | None, typer.Option("--save-samples", metavar="FILE", help="Keep the draws of --samples.")
    ] = None,
    samples_from: Annotated[
        Path | None,
        typer.Option("--samples-from", metavar="FILE", help="Take these draws; needs no covariance."),
    ] = None,
    posterior_models: Annotated[
        int | None,
        typer.Option("--posterior-models", min=1, metavar="N", help="Write N models, STEM.model.000.pt, ..."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration", metavar="FILE", help="Give expected force errors with this calibration."
        ),
    ] = None,
    calibrate: calibrating.CalibrationTarget = None,
    method: calibrating.CalibrationMethod = calibrating.Method.ISOTONIC,
    coverage: calibrating.Coverage = 0.9,
    elements: Annotated[
        str | None,
        typer.Option(
            "--elements", metavar="SYMBOLS", help="Of LAMMPS types 1, 2, ...; those of MODEL by default."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 1,
    device: Device = None,
    threads: Threads = 1,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Tell how far the training data determine the forces of MODEL, for every atom of every frame.

    STEM.out has a line per frame: step, uncertainty of the energy per atom, and mean, largest and smallest
    uncertainty of the forces. STEM.npz has every atom. A model trained with a Kalman filter has its
    covariance beside it; for any other, compute one with --posterior-from. The scale of the numbers is that
    of the covariance; --calibrate on labelled frames that were not trained on, then --calibration, turns them
    into force errors in eV/Å.

    Example: `alpw kpu model.pt trajectory.xyz --samples 32`

    Example: `alpw kpu imported.pt valid.xyz --posterior-from train.xyz --calibrate kpu.json`
    """
    with errors_as_exit_status():
        torch.set_num_threads(threads)
        text, arrays = Path(f"{out}.out"), Path(f"{out}.npz")
        drawn = [Path(f"{out}.model.{k:03d}.pt") for k in range(posterior_models or 0)]
        free(text, arrays, *drawn, *([save_samples] if save_samples else []), force=force)
        if save_samples and not samples:
            raise InputError("there are no draws to keep; give --samples K too", key="--save-samples")
        if samples_from and (samples or covariance or posterior_from or save_covariance):
            raise InputError(
                "takes the place of --samples, --covariance, --posterior-from and --save-covariance; "
                "leave them out",
                key="--samples-from",
            )
        calibrating.targets(calibrate, force=force)
        if save_covariance:
            free(save_covariance, force=force)
        known = Calibration.load(calibration) if calibration else None
        with _named(calibration):
            if known:
                known.check_measure("kpu")
        model = DeepPotential.load(model_file, chosen_device(device))
        symbols = elements.replace(",", " ").split() if elements else model.config.elements
        labels = [load_frames(path) for path in trajectory] if calibrate else []
        structures = _labelled(trajectory, labels) if calibrate else _unlabelled(trajectory, symbols)
        with named_by_file({"frames": structures.origins}):
            _check_elements(model, structures.frames)
        draws = _samples(samples_from, model, posterior_models) if samples_from else None
        p = draws or _covariance(model, model_file, covariance, posterior_from or [])
        if samples and isinstance(p, Covariance):
            draws = Samples.draw(p, samples, seed=seed)
        samples = len(draws.draws) if draws else None
        source = Source(p.kind, (p.fingerprint,))
        same_model = _applies(known, calibration, source)
        for kept, target in ((p, save_covariance), (draws, save_samples)):
            if kept and target:
                kept.save(target)
        found = _evaluate(structures, _method(model, p, draws))
        u_force = np.concatenate([frame.u_force for frame in found])
        calibrated: dict[str, NDArray] = {}
        if known:
            calibrated = {"expected_error": known(u_force), "bound": known.bound(u_force)}
            calibrated["extrapolated"] = known.extrapolated(u_force)
        how = f"from {samples} draws" if samples else "exact"
        write_text(text, structures.steps, found, f"KPU of {model_file}, {how}, {p.kind} covariance")
        write_arrays(arrays, structures.steps, [a.numbers for a in structures.frames], found, calibrated)
        document: dict[str, Any] = {
            "model": str(model_file),
            "covariance": {"kind": p.kind, "settings": getattr(p, "settings", None)},
            "samples": samples,
            "units": {"energy": "eV/atom", "force": "eV/Å"},
            "frames": _frames(structures.steps, found, known),
            "files": {"text": str(text), "arrays": str(arrays)},
        }
        if known:
            outside = int(calibrated["extrapolated"].sum())
            document["calibrated"] = {
                "file": str(calibration),
                "same_model": same_model,
                "largest": known.largest,
                "extrapolated": outside,
            }
            if outside:
                note(
                    f"{outside} of {len(u_force)} atoms lie outside the calibrated range (up to "
                    f"{known.largest:.3g}); their expected errors are extrapolated and may be far too small"
                )
        if calibrate:
            frames = [frame for part in labels for frame in part]
            document["calibration"] = _calibrate(model, frames, found, source, calibrate, method, coverage)
        if drawn:
            document["posterior_models"] = _posterior_models(model, p, drawn, seed)
        if as_json:
            print_json(document)
            return
        _show(document, found, structures, known)


@contextmanager
def _named(file: Path | None) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(error.message, file, error.key) from error


def _applies(known: Calibration | None, file: Path | None, source: Source) -> bool | None:
    """Is the calibration of this model? Of another one it is still useful, but not to be trusted blindly."""
    if known is None:
        return None
    with _named(file):
        same_model = known.check("kpu", source)
    if not same_model:
        note(f"{file} calibrates another model, such as that of an earlier iteration; errors are of that one")
    return same_model


def _labelled(paths: Sequence[Path], labels: Sequence[list[LabelledFrame]]) -> Structures:
    frames = [frame.atoms for part in labels for frame in part]
    origins = [(path, k) for path, part in zip(paths, labels, strict=True) for k in range(len(part))]
    return Structures(np.arange(len(frames)), frames, origins)


def _unlabelled(paths: Sequence[Path], symbols: Sequence[str]) -> Structures:
    steps, frames, origins = [], [], []
    for path in paths:
        if (path / TASK_FILE).is_file():
            result = read_result(path)
            part_steps, part = result.steps, result.frames()
        else:
            part_steps, part = read_trajectory(path, symbols)
        if not part:
            raise InputError("holds no frames", path)
        steps.append(part_steps)
        frames += part
        origins += [(path, k) for k in range(len(part))]
    return Structures(np.concatenate(steps), frames, origins)


def _check_elements(model: DeepPotential, frames: Sequence[Atoms]) -> None:
    """Before hours of work: does the model know every frame?"""
    for k, atoms in enumerate(frames):
        try:
            model.types(torch.as_tensor(atoms.numbers, dtype=torch.int64, device=model.device))
        except InputError as error:
            raise InputError(error.message, key=f"frames[{k}]") from error


def _covariance(
    model: DeepPotential, model_file: Path, file: Path | None, data: Sequence[Path]
) -> Covariance:
    """That in ``file``, that of the training set ``data``, or that beside the model."""
    if file and data:
        raise InputError(
            "--covariance names one, --posterior-from computes one; give one", key="--covariance"
        )
    if data:
        frames = [(frame, (path, k)) for path in data for k, frame in enumerate(load_frames(path))]
        with named_by_file({"frames": [origin for _, origin in frames]}):
            return gauss_newton(model, [frame for frame, _ in frames])
    # A compressed model has the covariance of its parent.
    parent = model_file.with_name(model_file.name.replace(".compressed", ""))
    beside = [path for path in (covariance_path(model_file), covariance_path(parent)) if path.is_file()]
    if not file and not beside:
        raise InputError(
            f"no covariance of its weights at {covariance_path(model_file)}; name one with --covariance, or "
            "compute one from the training set with --posterior-from",
            model_file,
        )
    chosen = file or beside[0]
    found = Covariance.load(chosen, model.device)
    try:
        found.check(model)
    except InputError as error:
        raise InputError(error.message, chosen) from error
    return found


def _method(model: DeepPotential, p: Covariance | Samples, draws: Samples | None) -> Callable[[Atoms], KPU]:
    if draws is not None:
        return SampledKPU(model, draws).uncertainty
    assert isinstance(p, Covariance)
    return lambda atoms: exact_kpu(model, p, atoms)


def _samples(file: Path, model: DeepPotential, n_models: int | None) -> Samples:
    found = Samples.load(file, model.device)
    with _named(file):
        found.check(model)
    if (n_models or 0) > len(found.draws):
        text = f"found {n_models}, and {file} holds {len(found.draws)} draws; keep more of them in it"
        raise InputError(text, key="--posterior-models")
    return found


def _posterior_models(
    model: DeepPotential, p: Covariance | Samples, files: Sequence[Path], seed: int
) -> dict[str, Any]:
    """Write models drawn from N(w, scale^2 P), and tell what their deviation is in units of u_F."""
    scale, n = linear_scale(model, p), len(files)
    for file, member in zip(files, draw_models(model, p, n, seed=seed, scale=scale), strict=True):
        member.save(file)
    factor = math.sqrt(3) * scale * n / (n + 1)
    return {"files": [str(file) for file in files], "scale": scale, "factor": factor}


def _evaluate(structures: Structures, uncertainty: Callable[[Atoms], KPU]) -> list[KPU]:
    found = []
    pairs: Iterable[tuple[Atoms, tuple[Path, int]]] = zip(structures.frames, structures.origins, strict=True)
    if complaints.is_terminal:
        pairs = track(list(pairs), "frames", console=complaints, transient=True)
    for atoms, (path, k) in pairs:
        try:
            found.append(uncertainty(atoms))
        except InputError as error:
            raise InputError(error.message, path, f"frame {k}") from error
        except AlpwError as error:
            raise AlpwError(f"{path}: frame {k}: {error}") from error
    return found


def _frames(
    steps: NDArray[np.int64], found: Sequence[KPU], known: Calibration | None
) -> list[dict[str, Any]]:
    rows = []
    for step, frame in zip(steps.tolist(), found, strict=True):
        row = {
            "step": step,
            "u_energy": frame.u_energy,
            "mean": frame.mean,
            "max": frame.max,
            "min": frame.min,
        }
        row |= {f"q{100 * q:g}": frame.quantile(q) for q in QUANTILES}
        if frame.stderr_mean is not None:
            row["stderr_mean"] = frame.stderr_mean
        if known:
            row |= {"expected_error": float(known(frame.u_force).mean())}
            row |= {"bound_max": float(known.bound(frame.u_force).max())}
        rows.append(row)
    return rows


def _calibrate(
    model: DeepPotential,
    frames: Sequence[LabelledFrame],
    found: Sequence[KPU],
    source: Source,
    file: Path,
    method: calibrating.Method,
    coverage: float,
) -> dict[str, Any]:
    errors = [force_error(model.predict(frame.atoms).forces, frame.label.forces) for frame in frames]
    u_force, error = np.concatenate([frame.u_force for frame in found]), np.concatenate(errors)
    return {
        **calibrating.calibrate(
            u_force,
            error,
            np.repeat(np.arange(len(frames)), [len(part) for part in errors]),
            file,
            measure="kpu",
            source=source,
            unit="eV/Å on the covariance's scale",
            method=method,
            coverage=coverage,
        ),
        "correlation": float(np.corrcoef(u_force, error)[0, 1]),
    }


def _show(
    document: dict[str, Any], found: Sequence[KPU], structures: Structures, known: Calibration | None
) -> None:
    largest = max(range(len(found)), key=lambda k: found[k].max)
    worst = int(found[largest].u_force.argmax())
    how = f"{document['samples']} draws" if document["samples"] else "exact"
    console.print(f"{len(found)} frames, {how}, {document['covariance']['kind']} covariance")
    console.print(f"  u_F  mean {np.mean([frame.mean for frame in found]):.3e}  eV/Å")
    step = structures.steps[largest]
    console.print(f"       max  {found[largest].max:.3e}  eV/Å, atom {worst} of step {step}")
    console.print(f"  u_E  mean {np.mean([frame.u_energy for frame in found]):.3e}  eV/atom")
    if known:
        u_force = np.concatenate([frame.u_force for frame in found])
        console.print(
            f"  expected force error  mean {known(u_force).mean():.4f}, max {known(u_force).max():.4f} eV/Å"
        )
    if "calibration" in document:
        console.print(f"correlation with the force error {document['calibration']['correlation']:.2f}")
        calibrating.show(document["calibration"])
    if "posterior_models" in document:
        drawn = document["posterior_models"]
        console.print(
            f"{len(drawn['files'])} models, {drawn['files'][0]} and so on, with {drawn['scale']:.3g} of a "
            f"draw added to the weights; with MODEL, their force deviation is {drawn['factor']:.3g} u_F",
            soft_wrap=True,
        )
    console.print(f"frames {document['files']['text']}\natoms  {document['files']['arrays']}", soft_wrap=True)
