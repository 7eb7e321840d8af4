"""k-points of a VASP run: exactly one source decides them.

VASP itself takes a KPOINTS file over KSPACING without a word. Here two sources at once are an error.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from pymatgen.io.vasp import Kpoints

from alpw.codes.kpoints import mesh
from alpw.codes.vasp.incar import Incar, plain
from alpw.errors import InputError
from alpw.files import write_atomically

if TYPE_CHECKING:
    from alpw.config import Dft

KPOINTS = "KPOINTS"
DEFAULT_KSPACING = 0.5
"""1/Å; what VASP takes without KPOINTS and KSPACING."""


@dataclass(frozen=True)
class Rule:
    """Where the k-points of every structure come from.

    Attributes:
        tag: KSPACING in 1/Å, in INCAR.
        spacing: ``dft.kspacing`` in 1/Å.
        file: the user's KPOINTS.
    """

    tag: float | None = None
    spacing: float | None = None
    file: Path | None = None


def rule(dft: Dft, incar: Incar) -> Rule:
    """The one source; without any, VASP's default KSPACING.

    Raises:
        InputError: two sources, or a KPOINTS file that is no mesh.
    """
    file = None if dft.input is None else Path(dft.input).parent / KPOINTS
    sources = {
        "KSPACING in INCAR": "KSPACING" in incar,
        f"the file {file}": file is not None and file.is_file(),
        "dft.kspacing": dft.kspacing is not None,
    }
    given = [name for name, present in sources.items() if present]
    if len(given) > 1:
        raise InputError(
            f"k-points have {len(given)} sources: {' and '.join(given)}; keep one", dft.input, "k-points"
        )
    if dft.kspacing is not None:
        return Rule(spacing=dft.kspacing)
    if file is not None and file.is_file():
        content(file)
        return Rule(file=file)
    spacing = incar.real("KSPACING", DEFAULT_KSPACING)
    if not spacing > 0:
        raise incar.error("KSPACING", "is no spacing; a positive number in 1/Å is")
    return Rule(tag=spacing)


def apply(found: Rule, incar: Incar, atoms: Atoms, directory: Path) -> tuple[list[str], dict[str, Any]]:
    """Write KPOINTS, or take away the one of an earlier run; returns the changes in words and the record.

    A mesh from ``dft.kspacing`` contains Γ.
    """
    target = directory / KPOINTS
    target.unlink(missing_ok=True)
    if found.tag is not None:
        words = "k-points: no KSPACING, KPOINTS or dft.kspacing; VASP's default applies, written out"
        changes = [] if "KSPACING" in incar else [words, *incar.set("KSPACING", plain(found.tag))]
        return changes, {}
    if found.file is not None:
        write_atomically(target, found.file.read_bytes())
        return [], {}
    assert found.spacing is not None
    divisions = mesh(np.asarray(atoms.cell), found.spacing)
    text = f"mesh of {found.spacing:g} 1/A\n0\nGamma\n{' '.join(map(str, divisions))}\n0 0 0\n"
    write_atomically(target, text.encode())
    words = " ".join(map(str, divisions))
    written = {"spacing": found.spacing, "sha256": _hash(target)}
    return [f"KPOINTS: {words} around Γ, from dft.kspacing {found.spacing:g}/Å"], written


def level(directory: Path, incar: Incar, written: dict[str, Any]) -> dict[str, Any]:
    """The rule of the k-points as run, equal for all cells that follow it.

    Args:
        directory: of the run.
        incar: as run.
        written: what `apply` recorded.
    """
    path = directory / KPOINTS
    if not path.is_file():
        spacing = incar.real("KSPACING", DEFAULT_KSPACING)
        return {"KSPACING": spacing, "KGAMMA": incar.logical("KGAMMA", True)}
    if written.get("sha256") == _hash(path):
        return {"kspacing": written["spacing"], "mesh": "rounded, around gamma"}
    return content(path)


def content(path: Path) -> dict[str, Any]:
    """A KPOINTS file without its comment.

    Raises:
        InputError: cannot be read, or is a path through the Brillouin zone.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = Kpoints.from_file(str(path))
    except (ValueError, IndexError, TypeError, OSError) as error:
        raise InputError(f"cannot be read ({error})", path) from error
    if found.style == Kpoints.supported_modes.Line_mode:
        raise InputError("is a path for band structures; energies need a mesh", path)
    points = [[float(x) for x in np.ravel(point)] for point in found.kpts]
    weights = [float(weight) for weight in found.kpts_weights or []]
    shift = [float(x) for x in found.kpts_shift]
    return {"style": found.style.name, "points": points, "weights": weights, "shift": shift}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
