"""Pseudopotentials, Slater-Koster files and Gaussian basis sets: which file belongs to which element."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ase.data import atomic_numbers

from alpw.codes.cp2k.data import find_data_file, names_by_element
from alpw.codes.cp2k.kinds import gaussian_kinds
from alpw.codes.pwmat.etot import Etot
from alpw.errors import InputError

if TYPE_CHECKING:
    from alpw.config import Dft

SKF_FOLDER = "in_skf"
CHARDB = 3
"""First number of ``DFTB_DETAIL`` for the charge-density tight binding that needs no Slater-Koster files."""

_HEADER_BYTES = 400_000
_ELEMENT_V2 = re.compile(r"<PP_HEADER\b[^>]*?\belement\s*=\s*[\"']\s*([A-Za-z]{1,2})\s*[\"']", re.DOTALL)
_ELEMENT_V1 = re.compile(r"<PP_HEADER>.*?^\s*([A-Za-z]{1,2})\s+Element", re.DOTALL | re.MULTILINE)


class Mode(str, Enum):
    """How PWmat computes energies; the value is what the level of theory says."""

    PLANE_WAVES = "plane waves"
    DFTB = "DFTB"
    GAUSSIAN = "Gaussian basis"


class Potential(NamedTuple):
    """What stands for one element: words of its IN.PSP and IN.BASIS lines, and the files they name."""

    psp: str
    basis: str
    files: tuple[Path, ...]


def mode_of(etot: Etot) -> Mode:
    """DFTB wins over a Gaussian basis, a switch that is off is as good as none."""
    if etot.flag("USE_DFTB"):
        return Mode.DFTB
    return Mode.GAUSSIAN if etot.flag("USE_GAUSSIAN") else Mode.PLANE_WAVES


def needs_skf(etot: Etot) -> bool:
    """Whether DFTB reads Slater-Koster files."""
    detail = etot.numbers("DFTB_DETAIL")
    return mode_of(etot) is Mode.DFTB and not (detail and detail[0] == CHARDB)


def skf_files(dft: Dft, elements: Iterable[str]) -> dict[str, Path]:
    """``A-B.skf`` of every ordered pair of elements.

    Raises:
        InputError: no folder, or pairs without file.
    """
    if dft.in_skf is None:
        raise InputError(
            "USE_DFTB = T needs the folder of the Slater-Koster files (DFTB_DETAIL = 3 does without)",
            dft.input,
            "dft.in_skf",
        )
    folder = Path(dft.in_skf)
    wanted = {f"{a}-{b}.skf" for a, b in product(sorted(set(elements)), repeat=2)}
    if missing := sorted(name for name in wanted if not (folder / name).is_file()):
        raise InputError(f"no {', '.join(missing)} in this folder", folder, "dft.in_skf")
    return {name: folder / name for name in sorted(wanted)}


def upf_element(path: Path) -> str:
    """The element of a UPF file: its name up to the first dot, which must agree with its header.

    Raises:
        InputError: neither tells the element, or they contradict each other.
    """
    named = path.name.split(".")[0]
    from_name = named.capitalize() if named.capitalize() in atomic_numbers else ""
    from_header = _header_element(path)
    if from_name and from_header and from_name != from_header:
        raise InputError(f"named for {from_name}, but its header says {from_header}", path, "dft.pseudo")
    if not (from_name or from_header):
        raise InputError(
            "the element of this pseudopotential is unknown; name it like Si.SG15.PBE.UPF", path, "dft.pseudo"
        )
    return from_name or from_header


def _header_element(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES).decode(errors="replace")
    found = _ELEMENT_V2.search(head) or _ELEMENT_V1.search(head)
    symbol = found[1].capitalize() if found else ""
    return symbol if symbol in atomic_numbers else ""


def upf_potentials(dft: Dft, elements: Sequence[str]) -> dict[str, Potential]:
    """The file of ``dft.pseudo`` for each element.

    Raises:
        InputError: an element without file, or with two.
    """
    by_element: dict[str, list[Path]] = {}
    for path in map(Path, dft.pseudo):
        if not path.is_file():
            raise InputError("no such file", path, "dft.pseudo")
        by_element.setdefault(upf_element(path), []).append(path)
    for element, paths in by_element.items():
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            raise InputError(f"two pseudopotentials for {element}: {names}", dft.input, "dft.pseudo")
    if missing := [element for element in elements if element not in by_element]:
        found = ", ".join(by_element) or "none"
        raise InputError(
            f"no pseudopotential for {', '.join(missing)}; there is one for: {found}", dft.input, "dft.pseudo"
        )
    return {
        element: Potential(by_element[element][0].name, "", (by_element[element][0],)) for element in elements
    }


def gaussian_potentials(dft: Dft, elements: Sequence[str]) -> dict[str, Potential]:
    """Names of basis set and potential from ``gaussian_param`` for each element, and the files that hold
    them.

    Raises:
        InputError: an element or a file is missing, or a file does not offer what is named.
    """
    param = dft.gaussian_param or {}
    files = {}
    for key in ("basis_set_file", "potential_file"):
        name = param.get(key) or getattr(dft, key)
        if not name:
            raise InputError("USE_GAUSSIAN = T needs this file", dft.input, f"dft.gaussian_param.{key}")
        folders = [Path(dft.input).parent] if dft.input else []
        found = find_data_file(str(name), *folders)
        if found is None:
            raise InputError("no such file", str(name), f"dft.gaussian_param.{key}")
        files[key] = found
    basis_file, potential_file = files["basis_set_file"], files["potential_file"]
    if basis_file.name == potential_file.name and basis_file != potential_file:
        raise InputError(
            f"basis set file and potential file are both called {basis_file.name}; rename one",
            dft.input,
            "dft.gaussian_param",
        )
    kinds = gaussian_kinds(dft)
    if missing := [element for element in elements if element not in kinds]:
        raise InputError(
            f"{', '.join(missing)} is not in the list: {', '.join(kinds) or 'empty'}",
            dft.input,
            "dft.gaussian_param.atom_list",
        )
    potentials = {}
    for element in elements:
        kind = kinds[element]
        for path, name in ((basis_file, kind.basis_set), (potential_file, kind.potential)):
            offered = names_by_element(path).get(element, frozenset())
            if name.upper() not in offered:
                choice = ", ".join(sorted(offered)) or "nothing"
                raise InputError(
                    f"has no {name} for {element}; it offers {choice}", path, "dft.gaussian_param"
                )
        potentials[element] = Potential(
            f"{element} {kind.potential} {potential_file.name}",
            f"{element} {kind.basis_set} {basis_file.name}",
            (potential_file, basis_file),
        )
    return potentials


def fingerprint(path: Path) -> dict[str, str]:
    """Name and SHA-256 of a file: its name alone says nothing about what a site has put into it."""
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def potentials_of(etot: Etot, dft: Dft, elements: Sequence[str]) -> dict[str, dict[str, str]]:
    """What stands for the elements in the level of theory: names and SHA-256 by element or pair.

    Raises:
        InputError: something is missing.
    """
    mode = mode_of(etot)
    if mode is Mode.DFTB:
        files = skf_files(dft, elements) if needs_skf(etot) else {}
        return {name.removesuffix(".skf"): fingerprint(path) for name, path in files.items()}
    if mode is Mode.PLANE_WAVES:
        found = upf_potentials(dft, elements)
        return {element: fingerprint(potential.files[0]) for element, potential in found.items()}
    gaussian = gaussian_potentials(dft, elements)
    return {
        element: {
            "potential": potential.psp,
            "potential_sha256": fingerprint(potential.files[0])["sha256"],
            "basis": potential.basis,
            "basis_sha256": fingerprint(potential.files[1])["sha256"],
        }
        for element, potential in gaussian.items()
    }
