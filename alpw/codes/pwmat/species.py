"""Settings of single elements, which etot.input gives by the number of the pseudopotential.

``LDAU_PSP1`` belongs to the element of ``IN.PSP1``. Each structure has its own order of elements, so these
settings are taken by element from the user's file and numbered anew for every structure; otherwise one
structure would get the U of iron on its oxygen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ase.data import atomic_numbers

from alpw.codes.pwmat.etot import Etot
from alpw.codes.pwmat.pseudo import upf_element
from alpw.errors import InputError

if TYPE_CHECKING:
    from alpw.config import Dft

PER_ELEMENT = ("LDAU_PSP", "LDAU_RCUT_PSP", "HSEMASK_PSP", "IN.PSP_RCUT", "LONDON_C6")
"""Keys that end in the number of a pseudopotential."""

_NUMBER = re.compile(r"\(?(\d+)\)?$")


def split_number(key: str) -> tuple[str, int] | None:
    """``("LDAU_PSP", 1)`` of ``LDAU_PSP1``; None for a key that belongs to no element."""
    found = _NUMBER.search(key)
    stem = key[: found.start()] if found else ""
    return (stem, int(found[1])) if found and stem in PER_ELEMENT else None


def values_by_element(etot: Etot, dft: Dft) -> dict[str, dict[str, str]]:
    """The settings of single elements in the user's file: key without number -> element -> value.

    Raises:
        InputError: the file does not say which element a number stands for.
    """
    found: dict[str, dict[str, str]] = {}
    for key in etot:
        if (parts := split_number(key)) is None:
            continue
        stem, number = parts
        element = _element(etot, dft, number)
        if element is None:
            raise InputError(
                f"{key} belongs to one element; say which by IN.PSP{number} = <its pseudopotential>",
                etot.file,
                key,
            )
        found.setdefault(stem, {})[element] = etot.get(key)
    return found


def renumber(etot: Etot, by_element: dict[str, dict[str, str]], elements: Sequence[str]) -> list[str]:
    """Give the settings of single elements the numbers of this structure; returns the changes in words.

    Args:
        etot: the input, in which IN.PSP has been numbered already.
        by_element: from `values_by_element`.
        elements: of the structure, in the order of IN.PSP.
    """
    before = {key: etot.get(key) for key in etot if split_number(key)}
    wanted = {
        f"{stem}({number})" if stem == "LONDON_C6" else f"{stem}{number}": values[element]
        for stem, values in by_element.items()
        for number, element in enumerate(elements, start=1)
        if element in values
    }
    for key in before.keys() - wanted.keys():
        etot.remove(key)
    for key, value in wanted.items():
        etot.set(key, value)
    return [
        f"{key}: {before.get(key) or 'none'} -> {wanted.get(key) or 'none'} (order of the elements)"
        for key in sorted({*before, *wanted})
        if before.get(key) != wanted.get(key)
    ]


def _element(etot: Etot, dft: Dft, number: int) -> str | None:
    """The element for which IN.PSP<number> of the user's file stands."""
    words = etot.words(f"IN.PSP{number}")
    if not words:
        return None
    if words[0] in atomic_numbers:
        return words[0]
    return _element_of_file(words[0], map(Path, dft.pseudo))


def _element_of_file(name: str, pseudo: Iterable[Path]) -> str | None:
    for path in pseudo:
        if path.name == Path(name).name and path.is_file():
            return upf_element(path)
    symbol = Path(name).name.split(".")[0].capitalize()
    return symbol if symbol in atomic_numbers else None
