"""Input of a CP2K run: the user's control file, with what makes it a run of this structure for this task."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from alpw.codes.cp2k.corrections import INPUT
from alpw.codes.cp2k.data import find_data_file
from alpw.codes.cp2k.kinds import DEFAULT_KIND, check_kinds, gaussian_kinds, kind_section, set_kind
from alpw.codes.cp2k.sections import Section, read
from alpw.codes.cp2k.tasks import check_motion, set_dynamics, set_keyword, set_task
from alpw.codes.cp2k.wavefunction import start_from
from alpw.codes.kpoints import mesh
from alpw.codes.protocol import INPUTS_FILE, Task
from alpw.errors import InputError

if TYPE_CHECKING:
    from alpw.config import Dft

logger = logging.getLogger(__name__)

DEFAULT_INPUT = Path(__file__).with_name("default.inp")
DEFAULT_KSPACING = 0.5


def check(dft: Dft, elements: Iterable[str], task: Task = Task.LABEL) -> None:
    """Raise `InputError`: a missing file, a control file that cannot do it, an element without a kind."""
    elements = list(elements)
    root = load(dft)
    check_motion(root, task, dft)
    kspacing(dft, root)
    apply_kinds(root, dft, elements)
    apply_data_files(root, dft)
    if root.need("FORCE_EVAL/DFT/QS").get("METHOD").upper() != "XTB":
        check_kinds(root, elements, *_folders(dft), file=dft.input)


def check_structure(atoms: Atoms, dft: Dft) -> None:
    """Raise `InputError` unless the structure is periodic in all directions."""
    if not atoms.pbc.all():
        raise InputError(
            f"CP2K needs a cell periodic in all directions, not pbc={atoms.pbc}; pad with vacuum"
        )


def load(dft: Dft) -> Section:
    """The user's control file, or the default one.

    Raises:
        InputError: missing, malformed, or not a Quickstep calculation.
    """
    root = read(dft.input or DEFAULT_INPUT)
    force_evals = root.all("FORCE_EVAL")
    if len(force_evals) != 1:
        raise InputError(f"one &FORCE_EVAL wanted, found {len(force_evals)}", dft.input, "FORCE_EVAL")
    method = force_evals[0].get("METHOD", "QUICKSTEP").upper()
    if method not in {"QUICKSTEP", "QS"}:
        raise InputError(f"METHOD {method} cannot label; use QUICKSTEP", dft.input, "FORCE_EVAL")
    if force_evals[0].find("DFT") is None:
        raise InputError("no &DFT section", dft.input, "FORCE_EVAL")
    return root


def kspacing(dft: Dft, root: Section) -> float | None:
    """Spacing of the k-point mesh in 1/Å; None if the control file alone decides (without one: Γ).

    Raises:
        InputError: both sources are given, or ``dft`` and ``gaussian_param`` disagree.
    """
    given = {
        value for value in (dft.kspacing, (dft.gaussian_param or {}).get("kspacing")) if value is not None
    }
    if len(given) > 1:
        raise InputError(f"two values, {given}, in dft and in dft.gaussian_param", key="dft.kspacing")
    in_file = root.find("FORCE_EVAL/DFT/KPOINTS") is not None
    if given and in_file:
        raise InputError(
            "given here and as &KPOINTS in the control file; keep one", dft.input, "dft.kspacing"
        )
    if given:
        return float(given.pop())
    default_applies = not in_file and (dft.input is None or dft.gaussian_param)
    return DEFAULT_KSPACING if default_applies else None


def apply_kinds(root: Section, dft: Dft, elements: Iterable[str]) -> list[str]:
    """``gaussian_param`` over the control file; the default kind only with the default control file."""
    subsys = root.need("FORCE_EVAL/SUBSYS")
    listed = gaussian_kinds(dft)
    changes = [change for symbol, kind in listed.items() for change in set_kind(subsys, symbol, kind)]
    if dft.input is None and not listed:
        missing = [symbol for symbol in elements if kind_section(subsys, symbol) is None]
        changes += [change for symbol in missing for change in set_kind(subsys, symbol, DEFAULT_KIND)]
    return changes


def apply_data_files(root: Section, dft: Dft) -> list[str]:
    """Names of the basis and potential files from ``dft`` or ``gaussian_param``, over the control file.

    Raises:
        InputError: no such file.
    """
    section, changes = root.need("FORCE_EVAL/DFT"), []
    for key in ("basis_set_file", "potential_file"):
        given = getattr(dft, key) or (dft.gaussian_param or {}).get(key)
        if given is None:
            continue
        if find_data_file(str(given), *_folders(dft)) is None:
            raise InputError("no such file, nor one of CP2K's own", given, f"dft.{key}")
        keyword = f"{key}_NAME".upper()
        changes += set_keyword(section, "FORCE_EVAL/DFT", keyword, str(given))
    return changes


def write_inputs(
    atoms: Atoms, directory: Path, dft: Dft, task: Task = Task.LABEL, reuse: Path | None = None
) -> list[str]:
    """Write ``cp2k.inp``, link the data files it names, and record every change made to the control file."""
    root = load(dft)
    check_motion(root, task, dft)
    spacing = kspacing(dft, root)
    elements = sorted(set(atoms.get_chemical_symbols()))
    changes = set_task(root, task, dft.stress)
    if task is Task.AIMD:
        changes += set_dynamics(root, dft)
    changes += apply_kinds(root, dft, elements)
    changes += apply_data_files(root, dft)
    if spacing is not None:
        changes += _apply_mesh(root, mesh(np.asarray(atoms.cell), spacing), spacing)
    changes += apply_structure(root, atoms)
    if task is Task.LABEL:
        changes += start_from(root, directory, dft, reuse)
    _link_files(root, directory, _folders(dft))
    (directory / INPUT).write_text(str(root))
    by_default = dft.input is None and not gaussian_kinds(dft)
    rules = {"kspacing": spacing, "kind": DEFAULT_KIND._asdict() if by_default else None}
    (directory / INPUTS_FILE).write_text(json.dumps({"changes": changes, "rules": rules}, indent=1))
    for change in changes:
        logger.info("%s: %s", directory / INPUT, change)
    return changes


def _folders(dft: Dft) -> list[Path]:
    return [Path(dft.input).parent] if dft.input else []


def _apply_mesh(root: Section, divisions: tuple[int, int, int], spacing: float) -> list[str]:
    """A Γ-only mesh stays without ``&KPOINTS``: same numbers, real instead of complex orbitals."""
    if divisions != (1, 1, 1):
        scheme = f"MONKHORST-PACK {' '.join(map(str, divisions))}"
        root.need("FORCE_EVAL/DFT/KPOINTS").set("SCHEME", scheme)
    return [f"FORCE_EVAL/DFT/KPOINTS: {' '.join(map(str, divisions))} from kspacing {spacing:g}/Å"]


def apply_structure(root: Section, atoms: Atoms) -> list[str]:
    """Cell and coordinates in the order and orientation of ``atoms``, with twelve decimals."""
    subsys = root.need("FORCE_EVAL/SUBSYS")
    replaced = [name for name in ("CELL", "COORD") if subsys.remove(name)]
    vectors = (" ".join(f"{x:.12f}" for x in vector) for vector in np.asarray(atoms.cell))
    cell = Section("CELL", keywords=[*zip("ABC", vectors, strict=True), ("PERIODIC", "XYZ")])
    rows = zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)
    coordinates = [(symbol, " ".join(f"{x:.12f}" for x in position)) for symbol, position in rows]
    subsys.sections[:0] = [cell, Section("COORD", keywords=coordinates)]
    return [f"FORCE_EVAL/SUBSYS/{name} replaced by the structure given" for name in replaced]


def _link_files(root: Section, directory: Path, folders: list[Path]) -> None:
    """Files of the user's that the input names lie next to it; CP2K's own are found by CP2K."""
    for section in root.walk():
        for index, (keyword, value) in enumerate(section.keywords):
            if not keyword.upper().endswith("FILE_NAME"):
                continue
            name = value.strip("\"'")
            places = (Path(name), *(folder / name for folder in folders))
            source = next((place.resolve() for place in places if place.is_file()), None)
            if source is None:
                continue
            link = directory / source.name
            if link.resolve() != source:
                link.unlink(missing_ok=True)
                link.symlink_to(source)
            section.keywords[index] = (keyword, source.name)
