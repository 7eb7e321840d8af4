"""The uncertainty of the frames of a trajectory, as files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alpw.files import write_atomically
from alpw.uncertainty.kpu import KPU

Floats = NDArray[np.float64]

QUANTILES = (0.5, 0.9, 0.95)

UNITS = {
    "steps": "MD steps, or frames from 0",
    "u_energy": "eV/atom",
    "u_force": "eV/Å",
    "u_force_mean": "eV/Å",
    "u_force_max": "eV/Å",
    "u_force_min": "eV/Å",
    "u_force_quantiles": "eV/Å",
    "variances": "(eV/Å)^2",
    "expected_error": "eV/Å",
    "bound": "eV/Å",
    "extrapolated": "true where u_force is above the calibrated range",
}

Steps = NDArray[np.int64]


def write_text(path: Path, steps: Steps, found: Sequence[KPU], title: str) -> None:
    """One line per frame with the columns of PWMLFF's ``kpu``: step, energy, mean, max and min of the forces.

    Args:
        path: file to write, in one piece.
        steps: ``(n_frames,)``.
        found: the uncertainty of each frame.
        title: first line, a comment.
    """
    names = ("etot_kpu", "f_kpu_mean", "f_kpu_max", "f_kpu_min")
    units = ("eV/atom", "eV/A", "eV/A", "eV/A")
    lines = [f"# {title}", f"# {'step':>8}" + "".join(f"{name:>17}" for name in names)]
    lines.append(f"# {'':>8}" + "".join(f"{unit:>17}" for unit in units))
    for step, frame in zip(steps.tolist(), found, strict=True):
        values = (frame.u_energy, frame.mean, frame.max, frame.min)
        lines.append(f"{step:10d}" + "".join(f"{value:17.8e}" for value in values))
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def write_arrays(
    path: Path,
    steps: Steps,
    numbers: Sequence[NDArray[np.int64]],
    found: Sequence[KPU],
    calibrated: Mapping[str, NDArray],
) -> None:
    """Per-frame and per-atom values as one ``.npz``, atoms of all frames one after the other.

    ==========================  ===================  =========================================
    ``steps``                   ``(n_frames,)``      time steps
    ``u_energy``                ``(n_frames,)``      of the energy per atom
    ``u_force_mean|max|min``    ``(n_frames,)``      over the atoms of a frame
    ``u_force_quantiles``       ``(n_frames, 3)``    for ``quantiles``
    ``frame``, ``numbers``      ``(n_all_atoms,)``   frame and atomic number of each atom
    ``u_force``                 ``(n_all_atoms,)``   of each atom
    ``variances``               ``(n_all_atoms, 3)`` of each force component
    ``stderr_*``                                     standard errors, of a sampled uncertainty only
    ``expected_error|bound``    ``(n_all_atoms,)``   calibrated, if it is
    ``extrapolated``            ``(n_all_atoms,)``   above the calibrated range, if calibrated
    ``units``                   text                 of all these, as JSON
    ==========================  ===================  =========================================

    Args:
        path: file to write, in one piece.
        steps: ``(n_frames,)``.
        numbers: of each frame, ``(n_atoms,)``.
        found: the uncertainty of each frame.
        calibrated: further arrays per atom.
    """
    arrays: dict[str, NDArray] = {
        "steps": steps,
        "u_energy": np.array([frame.u_energy for frame in found]),
        "u_force_mean": np.array([frame.mean for frame in found]),
        "u_force_max": np.array([frame.max for frame in found]),
        "u_force_min": np.array([frame.min for frame in found]),
        "quantiles": np.array(QUANTILES),
        "u_force_quantiles": np.array([[frame.quantile(q) for q in QUANTILES] for frame in found]),
        "frame": np.repeat(np.arange(len(found)), [len(part) for part in numbers]),
        "numbers": np.concatenate(numbers),
        "u_force": np.concatenate([frame.u_force for frame in found]),
        "variances": np.concatenate([frame.variances for frame in found]),
        **calibrated,
        "units": np.array(json.dumps(UNITS, ensure_ascii=False)),
    }
    for name in ("stderr_energy", "stderr_force", "stderr_mean"):
        parts = [np.atleast_1d(value) for frame in found if (value := getattr(frame, name)) is not None]
        if parts:
            arrays[name] = np.concatenate(parts)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())
