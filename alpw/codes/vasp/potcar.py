"""POTCAR: one dataset per element, in the order in which the elements come in POSCAR.

VASP's datasets are licensed to whoever bought VASP. They are read from the user's files and copied into the
run folder; what is recorded of them is title and hash, never their content.
"""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ase.data import atomic_numbers
from monty.io import zopen
from monty.os.path import zpath
from pymatgen.core import SETTINGS
from pymatgen.io.vasp import PotcarSingle

from alpw.errors import InputError
from alpw.files import write_atomically

if TYPE_CHECKING:
    from alpw.config import Dft

POTCAR = "POTCAR"
_DATASET = re.compile(r".*?End of Dataset[^\n]*(?:\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Dataset:
    """A pseudopotential.

    Attributes:
        element: symbol.
        titel: such as ``PAW_PBE Si_pv 05Jan2001``.
        sha256: of the content without the lines SHA256 and COPYR, as VASP itself records it.
        enmax: cutoff in eV that VASP takes by default.
        functional: letters of LEXCH, such as PE.
        file: where it was found.
        text: content.
    """

    element: str
    titel: str
    sha256: str
    enmax: float
    functional: str
    file: Path
    text: str = field(repr=False)


def datasets(path: str | Path) -> list[Dataset]:
    """The datasets of a file, in its order; compressed files too.

    Raises:
        InputError: no such file, or one that holds something else.
    """
    path = Path(path)
    try:
        entry = path.stat()
        return list(_datasets(path, entry.st_mtime_ns, entry.st_size))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path, "dft.pseudo") from error


@functools.lru_cache(maxsize=128)
def _datasets(path: Path, _modified: int, _size: int) -> tuple[Dataset, ...]:
    with zopen(path, "rt", encoding="utf-8", errors="replace") as file:
        text = str(file.read())
    found = tuple(_dataset(piece.strip("\n") + "\n", path) for piece in _DATASET.findall(text))
    if not found:
        raise InputError("is no POTCAR: nothing ends with 'End of Dataset'", path, "dft.pseudo")
    return found


def _dataset(text: str, path: Path) -> Dataset:
    try:
        with warnings.catch_warnings():
            # pymatgen warns of each dataset that is not in its list of known hashes.
            warnings.simplefilter("ignore")
            single = PotcarSingle(text)
        titel = str(single.keywords["TITEL"])
        words = titel.split()
        name = words[1] if len(words) > 1 else words[0]
        element = re.match(r"[A-Z][a-z]?", name)
        if element is None or element[0] not in atomic_numbers:
            raise InputError(f"TITEL {titel!r} names no element", path, "dft.pseudo")
        return Dataset(
            element[0],
            titel,
            single.sha256_computed_file_hash,
            float(single.keywords["ENMAX"]),
            str(single.keywords["LEXCH"]).strip().upper(),
            path,
            text,
        )
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"holds a dataset that cannot be read ({error!r})", path, "dft.pseudo") from error


def choose(dft: Dft, elements: Iterable[str]) -> dict[str, Dataset]:
    """One dataset for each element: from ``dft.pseudo``, without it from pymatgen's folder of POTCARs.

    Raises:
        InputError: none or several for an element, or datasets of different functionals.
    """
    if dft.pseudo:
        found = _from_files(dft.pseudo, elements)
    else:
        found = {element: _from_library(element) for element in elements}
    functionals = {dataset.functional: dataset for dataset in found.values()}
    if len(functionals) > 1:
        told = ", ".join(f"{name} in {dataset.titel}" for name, dataset in functionals.items())
        raise InputError(f"datasets of different functionals: {told}", key="dft.pseudo")
    return found


def _from_files(files: Sequence[Path], elements: Iterable[str]) -> dict[str, Dataset]:
    offered: dict[str, Dataset] = {}
    for file in files:
        for dataset in datasets(file):
            other = offered.setdefault(dataset.element, dataset)
            if other.sha256 != dataset.sha256:
                raise InputError(
                    f"two datasets for {dataset.element}: {other.titel} in {other.file} and {dataset.titel} "
                    f"in {dataset.file}; keep one",
                    key="dft.pseudo",
                )
    wanted = list(elements)
    if missing := [element for element in wanted if element not in offered]:
        raise InputError(
            f"no dataset for {', '.join(missing)}; the files hold {', '.join(offered)}", key="dft.pseudo"
        )
    return {element: offered[element] for element in wanted}


def _from_library(element: str) -> Dataset:
    """``POTCAR.Si`` or ``Si/POTCAR`` of the folder that pymatgen uses (PMG_VASP_PSP_DIR)."""
    folder = os.environ.get("PMG_VASP_PSP_DIR") or SETTINGS.get("PMG_VASP_PSP_DIR")
    if not folder:
        raise InputError(
            f"no dataset for {element}; name the POTCAR files here, or set PMG_VASP_PSP_DIR as for pymatgen",
            key="dft.pseudo",
        )
    functional = os.environ.get("PMG_DEFAULT_FUNCTIONAL") or SETTINGS.get("PMG_DEFAULT_FUNCTIONAL", "PBE")
    by_user = SETTINGS.get("PMG_VASP_PSP_SUB_DIRS", {})
    name = by_user.get(functional) or PotcarSingle.functional_dir.get(functional)
    if name is None:
        known = ", ".join(PotcarSingle.functional_dir)
        raise InputError(f"{functional!r} is none of {known}", key="PMG_DEFAULT_FUNCTIONAL")
    base = Path(folder).expanduser() / name
    places = (base / f"POTCAR.{element}", base / element / "POTCAR")
    for place in places:
        if (path := Path(zpath(str(place)))).is_file():
            return _from_files([path], [element])[element]
    raise InputError(
        f"no dataset for {element}: neither {places[0]} nor {places[1]}; name its POTCAR here, such as that "
        f"of {element}_pv",
        key="dft.pseudo",
    )


def write(path: Path, chosen: Sequence[Dataset]) -> None:
    """Put the datasets into one file, in the order given."""
    write_atomically(path, "".join(dataset.text for dataset in chosen).encode())


def record(chosen: Mapping[str, Dataset]) -> dict[str, dict[str, str]]:
    """What may be told of the datasets: title and hash by element."""
    return {
        element: {"titel": dataset.titel, "sha256": dataset.sha256}
        for element, dataset in sorted(chosen.items())
    }
