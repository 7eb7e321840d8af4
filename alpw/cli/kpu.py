"""``alpw kpu``: the Kalman prediction uncertainty of every atom in a trajectory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
from alpw.cli.common import AsJson, complaints, console, errors_as_exit_status, print_json
from alpw.cli.models import Device, Force, ModelFile, Threads, chosen_device, free, named_by_file
from alpw.codes.lammps.outputs import TASK_FILE, read_result
from alpw.errors import AlpwError, InputError
from alpw.formats.load import load_frames
from alpw.formats.trajectory import read_trajectory
from alpw.potential import DeepPotential
from alpw.potential.covariance import Covariance, covariance_path
from alpw.report.kpu import QUANTILES, write_arrays, write_text
from alpw.structures.frame import LabelledFrame
from alpw.uncertainty.calibration import Calibration, force_error
from alpw.uncertainty.kpu import KPU, SampledKPU, Samples, exact_kpu
from alpw.uncertainty.posterior import gauss_newton


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
        free(text, arrays, force=force)
        calibrating.targets(calibrate, force=force)
        if save_covariance:
            free(save_covariance, force=force)
        known = Calibration.load(calibration) if calibration else None
        model = DeepPotential.load(model_file, chosen_device(device))
        symbols = elements.replace(",", " ").split() if elements else model.config.elements
        labels = [load_frames(path) for path in trajectory] if calibrate else []
        structures = _labelled(trajectory, labels) if calibrate else _unlabelled(trajectory, symbols)
        with named_by_file({"frames": structures.origins}):
            _check_elements(model, structures.frames)
        p = _covariance(model, model_file, covariance, posterior_from or [])
        if save_covariance:
            p.save(save_covariance)
        found = _evaluate(structures, _method(model, p, samples, seed))
        u_force = np.concatenate([frame.u_force for frame in found])
        calibrated = {"expected_error": known(u_force), "bound": known.bound(u_force)} if known else {}
        how = f"from {samples} draws" if samples else "exact"
        write_text(text, structures.steps, found, f"KPU of {model_file}, {how}, {p.kind} covariance")
        write_arrays(arrays, structures.steps, [a.numbers for a in structures.frames], found, calibrated)
        document = {
            "model": str(model_file),
            "covariance": {"kind": p.kind, "settings": p.settings},
            "samples": samples,
            "units": {"energy": "eV/atom", "force": "eV/Å"},
            "frames": _frames(structures.steps, found, known),
            "files": {"text": str(text), "arrays": str(arrays)},
        }
        if calibrate:
            frames = [frame for part in labels for frame in part]
            document["calibration"] = _calibrate(model, frames, found, calibrate, method, coverage)
        if as_json:
            print_json(document)
            return
        _show(document, found, structures, known)


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


def _method(
    model: DeepPotential, covariance: Covariance, samples: int | None, seed: int
) -> Callable[[Atoms], KPU]:
    if samples is None:
        return lambda atoms: exact_kpu(model, covariance, atoms)
    return SampledKPU(model, Samples.draw(covariance, samples, seed=seed)).uncertainty


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
    console.print(f"frames {document['files']['text']}\natoms  {document['files']['arrays']}", soft_wrap=True)
