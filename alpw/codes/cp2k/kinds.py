"""Basis set and pseudopotential of each element: from the control file, ``gaussian_param`` or the default."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ase.data import atomic_numbers, chemical_symbols

from alpw.codes.cp2k.data import find_data_file, names_by_element
from alpw.codes.cp2k.sections import Section
from alpw.errors import InputError

if TYPE_CHECKING:
    from alpw.config import Dft


class Kind(NamedTuple):
    """Names of basis set and pseudopotential as CP2K's data files give them."""

    basis_set: str
    potential: str


DEFAULT_KIND = Kind("DZVP-MOLOPT-SR-GTH", "GTH-PBE")


def gaussian_kinds(dft: Dft) -> dict[str, Kind]:
    """The kinds in ``gaussian_param``: parallel ``atom_list``, ``basis_set_list`` and ``potential_list``.

    Raises:
        InputError: lists of different lengths, or an unknown element.
    """
    param = dft.gaussian_param or {}
    keys = ("atom_list", "basis_set_list", "potential_list")
    columns = [param.get(key) or [] for key in keys]
    if len({len(column) for column in columns}) > 1:
        counts = ", ".join(f"{key} {len(column)}" for key, column in zip(keys, columns, strict=True))
        raise InputError(f"lists of equal length wanted, found {counts}", key="dft.gaussian_param")
    return {_symbol(atom): Kind(basis, potential) for atom, basis, potential in zip(*columns, strict=True)}


def _symbol(atom: object) -> str:
    text = str(atom).strip()
    symbol = chemical_symbols[int(text)] if text.isdigit() and int(text) < len(chemical_symbols) else text
    if symbol not in atomic_numbers:
        raise InputError(f"{atom!r} is no element", key="dft.gaussian_param.atom_list")
    return symbol


def kind_section(subsys: Section, symbol: str) -> Section | None:
    """The ``&KIND`` of an element; CP2K matches the name in any case."""
    return next((kind for kind in subsys.all("KIND") if kind.argument.capitalize() == symbol), None)


def set_kind(subsys: Section, symbol: str, kind: Kind) -> list[str]:
    """Write one element's names into its ``&KIND``, keeping what else stands there; returns the changes."""
    section = kind_section(subsys, symbol)
    if section is None:
        section = Section("KIND", symbol)
        subsys.sections.append(section)
    found = _kind_of(section)
    section.set("BASIS_SET", kind.basis_set)
    section.set("POTENTIAL", kind.potential, aliases=("POT",))
    if found == kind:
        return []
    before = f"{found.basis_set} / {found.potential}" if any(found) else "none"
    return [f"KIND {symbol}: {before} -> {kind.basis_set} / {kind.potential}"]


def _kind_of(section: Section) -> Kind:
    """Last words of ``BASIS_SET [ORB] name`` and ``POTENTIAL [GTH] name``; empty where absent."""
    basis = section.get("BASIS_SET").split()
    potential = (section.get("POTENTIAL") or section.get("POT")).split()
    return Kind(basis[-1] if basis else "", potential[-1] if potential else "")


def check_kinds(root: Section, elements: Iterable[str], *folders: Path, file: Path | None = None) -> None:
    """Every element has a basis set and a pseudopotential, and the named files hold them.

    Files that are not found on this machine are not judged: a compute node may have its own.

    Args:
        root: the complete input.
        elements: chemical symbols.
        folders: where relative file names may lie.
        file: the user's control file, for messages.

    Raises:
        InputError: names the element, what was asked for and what the file offers.
    """
    dft, subsys = root.need("FORCE_EVAL/DFT"), root.need("FORCE_EVAL/SUBSYS")
    for symbol in elements:
        section = kind_section(subsys, symbol)
        if section is None:
            raise InputError(
                f"no &KIND {symbol} in the control file and no {symbol} in gaussian_param.atom_list",
                file,
                "dft",
            )
        kind = _kind_of(section)
        for keyword, name, file_keyword in (
            ("BASIS_SET", kind.basis_set, "BASIS_SET_FILE_NAME"),
            ("POTENTIAL", kind.potential, "POTENTIAL_FILE_NAME"),
        ):
            written_out = section.find(keyword.removesuffix("_SET")) is not None
            if written_out or name.upper() == "ALL":
                continue
            if not name:
                raise InputError(f"&KIND {symbol} has no {keyword}", file, "dft")
            _check_offered(
                symbol, name, section.values(file_keyword) or dft.values(file_keyword), folders, file
            )


def _check_offered(
    symbol: str, name: str, file_names: list[str], folders: tuple[Path, ...], file: Path | None
) -> None:
    paths = [find_data_file(file_name.strip("\"'"), *folders) for file_name in file_names]
    found = [path for path in paths if path]
    if len(found) < len(paths) or not found:
        return
    offered = frozenset[str]().union(*(names_by_element(path).get(symbol, frozenset()) for path in found))
    if name.upper() not in offered:
        where = ", ".join(path.name for path in found)
        choice = ", ".join(sorted(offered)) or "nothing"
        raise InputError(f"{where} has no {name} for {symbol}; it offers {choice}", file, "dft")
