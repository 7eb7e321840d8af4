"""Where CP2K's basis sets and pseudopotentials lie, and what they hold."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from collections import defaultdict
from pathlib import Path

from ase.data import atomic_numbers

EXECUTABLES = ("cp2k.psmp", "cp2k.popt", "cp2k")


def executable() -> str | None:
    """The first CP2K found on PATH."""
    return next((path for name in EXECUTABLES if (path := shutil.which(name))), None)


def data_directories() -> list[Path]:
    """Folders in which CP2K looks for a bare file name, as far as they can be known from outside."""
    folders = [Path(os.environ[name]) for name in ("CP2K_DATA_DIR",) if name in os.environ]
    if program := executable():
        home = Path(program).resolve().parent.parent
        folders += [
            home / "share" / "cp2k",
            home / "share" / "cp2k" / "data",
            home / "data",
            home.parent / "data",
        ]
    return [folder for folder in folders if folder.is_dir()]


def find_data_file(name: str, *folders: Path) -> Path | None:
    """A basis or potential file: a path, a file in one of ``folders``, or one of CP2K's own."""
    candidates = [Path(name).expanduser(), *(folder / name for folder in (*folders, *data_directories()))]
    return next((path.resolve() for path in candidates if path.is_file()), None)


@functools.lru_cache(maxsize=32)
def names_by_element(path: Path) -> dict[str, frozenset[str]]:
    """Basis or potential names that a CP2K data file offers for each element, upper case.

    An entry opens with a line ``Si DZVP-MOLOPT-SR-GTH DZVP-MOLOPT-SR-GTH-q4``: element, name, aliases.
    """
    names: dict[str, set[str]] = defaultdict(set)
    for line in path.read_text(errors="replace").splitlines():
        words = line.split("#")[0].split()
        if (
            len(words) > 1
            and (symbol := words[0].capitalize()) in atomic_numbers
            and not _is_number(words[1])
        ):
            names[symbol] |= {word.upper() for word in words[1:]}
    return {symbol: frozenset(found) for symbol, found in names.items()}


@functools.lru_cache(maxsize=32)
def file_hash(path: Path) -> str:
    """SHA-256 of a data file's content: its name says nothing about what a site has put into it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
