"""Pseudopotential, Slater-Koster and basis files: only what makes a run refuse to start is read from them."""

import re
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

from potentials import valence

from pwmat.inputs import Refused, Settings


def check_species(settings: Settings, symbols: Sequence[str]) -> float | None:
    """Check that the files of every element are there and belong to the structure.

    Returns:
        The largest recommended cutoff of the pseudopotentials (Ry), the default of ECUT, or None.

    Raises:
        Refused: a file is missing, has another element, or an element has none.
    """
    elements = list(dict.fromkeys(symbols))
    if settings.method == "chardb":
        return None
    if settings.method == "dftb":
        _check_slater_koster(Path(settings.text("IN.SKF", ".")), elements)
        return None
    if settings.method == "gaussian":
        for stem in ("IN.PSP", "IN.BASIS"):
            _check_gaussian(stem, settings.numbered(stem), elements)
        return None
    found: dict[str, float | None] = {}
    for number, name in settings.numbered("IN.PSP").items():
        path = Path(name.split()[-1] if name else "")
        if not path.is_file():
            raise Refused(f" pseudopotential file IN.PSP{number} = {name} does not exist, stop")
        symbol, cutoff = read_upf(path)
        if symbol not in elements:
            raise Refused(f" atom type of IN.PSP{number} = {name} is not in the structure: {symbol}, stop")
        if symbol in found:
            raise Refused(f" two pseudopotentials for {symbol}, stop")
        found[symbol] = cutoff
    if missing := [symbol for symbol in elements if symbol not in found]:
        raise Refused(f" no pseudopotential IN.PSP for atom type {' '.join(missing)}, stop")
    return max((cutoff for cutoff in found.values() if cutoff), default=None)


def read_upf(path: Path) -> tuple[str, float | None]:
    """Element and recommended cutoff (Ry) of a UPF file of version 1 or 2."""
    text = path.read_text(errors="replace")
    symbol = re.search(r"element\s*=\s*\"\s*([A-Za-z]{1,2})\s*\"", text) or re.search(
        r"^\s*([A-Z][a-z]?)\s+Element", text, re.MULTILINE
    )
    if not symbol:
        raise Refused(f" error in reading the header of {path}, stop")
    cutoff = re.search(r"wfc_cutoff\s*=\s*\"\s*([0-9.EeDd+-]+)\s*\"", text)
    value = float(cutoff[1].replace("D", "E").replace("d", "e")) if cutoff else 0.0
    return symbol[1].capitalize(), value or None


def _check_slater_koster(folder: Path, elements: list[str]) -> None:
    for a, b in product(elements, repeat=2):
        if not (folder / f"{a}-{b}.skf").is_file():
            raise Refused(f" Slater-Koster file {folder / f'{a}-{b}.skf'} does not exist, stop")


def _check_gaussian(stem: str, entries: dict[int, str], elements: list[str]) -> None:
    """Entries are ``El name file``; the file must have a line that begins with ``El name``."""
    found = set()
    for number, entry in entries.items():
        words = entry.split()
        if len(words) != 3:
            raise Refused(f" {stem}{number} = {entry} must be: element, name, file, stop")
        symbol, name, path = words[0], words[1], Path(words[2])
        if not path.is_file():
            raise Refused(f" file of {stem}{number} = {entry} does not exist, stop")
        if not any(
            name in line.split() for line in path.read_text().splitlines() if line.split()[:1] == [symbol]
        ):
            raise Refused(f" {name} of {symbol} is not in the file {path}, stop")
        if symbol not in elements:
            raise Refused(f" atom type of {stem}{number} is not in the structure: {symbol}, stop")
        found.add(symbol)
    if missing := [symbol for symbol in elements if symbol not in found]:
        raise Refused(f" no {stem} for atom type {' '.join(missing)}, stop")


_UPF = """<UPF version="2.0.1">
  <PP_INFO>
    Header only, for the stand-in of PWmat: no pseudopotential.
  </PP_INFO>
  <PP_HEADER element="{symbol}" pseudo_type="NC" relativistic="scalar" functional="PBE"
    z_valence="{valence:.8E}"{cutoff} l_max="1" mesh_size="0" number_of_wfc="0" number_of_proj="0"/>
</UPF>
"""


def write_upf(folder: str | Path, symbols: Iterable[str], ecut: float | None = None) -> dict[str, Path]:
    """Write a UPF file without data for each element.

    Args:
        folder: where to.
        symbols: chemical symbols; repetitions do not matter.
        ecut: recommended cutoff (Ry), which PWmat takes where etot.input has no ECUT; none by default.

    Returns:
        The files, such as ``Si.SG15.PBE.UPF``, by symbol.
    """
    cutoff = f' wfc_cutoff="{ecut:.8E}"' if ecut else ""
    files = {}
    for symbol in dict.fromkeys(symbols):
        files[symbol] = Path(folder) / f"{symbol}.SG15.PBE.UPF"
        files[symbol].write_text(_UPF.format(symbol=symbol, valence=valence(symbol), cutoff=cutoff))
    return files


def write_skf(folder: str | Path, symbols: Iterable[str]) -> list[Path]:
    """Write Slater-Koster files ``A-B.skf`` without data for every ordered pair of elements."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = []
    for a, b in product(dict.fromkeys(symbols), repeat=2):
        files.append(Path(folder) / f"{a}-{b}.skf")
        files[-1].write_text(f"0.02, 0   header only, for the stand-in of PWmat: {a}-{b}\n")
    return files
