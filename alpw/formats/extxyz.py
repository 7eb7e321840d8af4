"""Extended XYZ: labelled frames in the text format of ASE, with all digits.

ASE's reader is used as it is. Its writer keeps eight decimals, so that ours writes the same format with as
many digits as a double has. Keys: ``energy`` (eV), ``forces`` or ``force`` (eV/Å), ``virial`` (eV, positive
under compression) or ``stress`` (eV/Å^3, positive under tension).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.io.extxyz import XYZError
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.structures.frame import Label, LabelledFrame


def looks_like_extxyz(head: str) -> bool:
    """Whether the beginning of a file is that of an extended XYZ file."""
    lines = head.splitlines()
    return (
        len(lines) > 1
        and lines[0].strip().isdigit()
        and ("Properties=" in lines[1] or "Lattice=" in lines[1])
    )


def read_extxyz(path: str | Path) -> list[LabelledFrame]:
    """All labelled frames of an extended XYZ file.

    Raises:
        InputError: not such a file, a frame without energy, forces or cell, or a number that is not finite.
    """
    path = Path(path)
    try:
        images = ase.io.read(path, index=":", format="extxyz")
    except (ValueError, KeyError, IndexError, XYZError) as error:
        raise InputError(f"not a valid extended XYZ file: {error}", path) from error
    return [_frame(atoms, path, k) for k, atoms in enumerate(images)]


def write_extxyz(path: str | Path, frames: Iterable[LabelledFrame]) -> None:
    """Writes (and replaces) an extended XYZ file: energy, forces, and virial where there is one."""
    with Path(path).open("w", encoding="utf-8") as file:
        file.writelines(map(_text, frames))


def _frame(atoms: Atoms, path: Path, k: int) -> LabelledFrame:
    results: dict[str, Any] = atoms.calc.results if atoms.calc is not None else {}
    forces = results.get("forces", atoms.arrays.get("force"))
    energy = results.get("energy")
    for name, value in (("energy", energy), ("forces", forces)):
        if value is None:
            given = sorted({*results, *atoms.info, *atoms.arrays} - {"numbers", "positions"})
            raise InputError(
                f"no {name}; the frame has {', '.join(given) or 'no labels'}", path, f"frame {k}"
            )
    if np.shape(forces) != (len(atoms), 3):
        raise InputError(
            f"forces have the shape {np.shape(forces)}, not {(len(atoms), 3)}", path, f"frame {k}"
        )
    if not (atoms.cell.rank == 3 or not atoms.pbc.any()):
        raise InputError("periodic, but its cell has no volume", path, f"frame {k}")
    try:
        label = Label(float(energy), np.array(forces, dtype=float), _virial(atoms, results))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InputError(f"a label that is not numbers: {error}", path, f"frame {k}") from error
    parts = {
        "cell": np.asarray(atoms.cell),
        "positions": atoms.positions,
        "energy": label.energy,
        "forces": label.forces,
        "virial": label.virial if label.virial is not None else 0.0,
    }
    for name, part in parts.items():
        if not np.isfinite(part).all():
            raise InputError(f"{name}: a number that is not finite", path, f"frame {k}")
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    return LabelledFrame(bare, label)


def _virial(atoms: Atoms, results: dict[str, Any]) -> NDArray[np.float64] | None:
    if "virial" in atoms.info:
        return np.array(atoms.info["virial"], dtype=float).reshape(3, 3)
    if "stress" in results and atoms.cell.rank == 3:
        return -voigt_6_to_full_3x3_stress(results["stress"]) * atoms.get_volume()
    return None


def _text(frame: LabelledFrame) -> str:
    atoms, label = frame
    keys = {"energy": repr(float(label.energy)), "pbc": _row("TF"[not axis] for axis in atoms.pbc)}
    if atoms.cell.rank:
        keys = {"Lattice": _numbers(np.asarray(atoms.cell)), **keys}
    if label.virial is not None:
        # Nine numbers of a tensor go by columns in this format. A virial is symmetric but for a code's noise.
        keys["virial"] = _numbers(label.virial.T)
    comment = " ".join(["Properties=species:S:1:pos:R:3:forces:R:3", *(f"{k}={v}" for k, v in keys.items())])
    lines = [str(len(atoms)), comment]
    for symbol, position, force in zip(atoms.symbols, atoms.positions, label.forces, strict=True):
        lines.append(" ".join([symbol, *(repr(float(x)) for x in (*position, *force))]))
    return "\n".join(lines) + "\n"


def _numbers(values: NDArray[np.float64]) -> str:
    return _row(repr(float(x)) for x in np.ravel(values))


def _row(words: Iterable[str]) -> str:
    return f'"{" ".join(words)}"'
