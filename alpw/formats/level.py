"""Level of theory as far as an output file tells it, for labels whose inputs we do not have.

Settings that stand for "nothing unusual" are left out, so that versions which do not print them agree with
those that do. Two things are no part of it, because they depend on the structure, so that labels of one data
set would differ: the mesh of k-points and the potentials by element. The titles of the potentials are told
beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from alpw.formats.outcar import outcar_header
from alpw.formats.registry import Options
from alpw.formats.text import open_text
from alpw.formats.vasprun import vasprun_header


class Stated(NamedTuple):
    """What a file says about its labels.

    Attributes:
        code: which program, as in ``dft_style``.
        settings: level of theory; None where the file does not tell.
        potentials: titles of pseudopotentials, and of basis sets.
    """

    code: str
    settings: dict[str, Any] | None = None
    potentials: tuple[str, ...] = ()


VASP_TAGS: dict[str, str] = {
    "ENCUT": "",
    "PREC": "n",
    "GGA": "--",
    "METAGGA": "--",
    "LHFCALC": "f",
    "ISPIN": "1",
    "LNONCOLLINEAR": "f",
    "LSORBIT": "f",
    "ISMEAR": "",
    "SIGMA": "",
    "LREAL": "f",
    "LASPH": "f",
    "LDAU": "f",
    "LDAUTYPE": "2",
    "IVDW": "0",
    "LUSE_VDW": "f",
}
"""tag of VASP, one that OUTCAR and vasprun.xml both have -> the value that is not worth telling"""

HYBRID_TAGS = ("AEXX", "HFSCREEN")
"""those that mean something where LHFCALC is set"""

_SAME = {"METAGGA": {"f": "--", "none": "--"}, "LREAL": {"auto": "t", "a": "t", "on": "t", "o": "t"}}
_CP2K_HEAD = 20_000
"""lines in which CP2K describes the method; a long list of basis functions may stand before"""
_CP2K_LINE = re.compile(r"^ (DFT|FUNCTIONAL|vdW POTENTIAL|xTB|SE|DFTB|QS)\|\s*(\S.*?)\s*$")
_CP2K_VERSION = re.compile(r"CP2K\| version string:\s+CP2K version (\S+)")
_CP2K_POTENTIAL = re.compile(r"^ +(?:(\w+) Potential information for|Orbital Basis Set)\s+(\S+)")
_QS = ("Method", "Density cutoff", "Relative density cutoff")
"""what matters of the lines QS|"""


def stated_level(path: Path, name: str, options: Options) -> Stated | None:
    """What a file of a format says about its level of theory; None for a format that says nothing.

    Args:
        path: the file.
        name: of its format.
        options: with which it is read.

    Raises:
        InputError: the file cannot be read.
    """
    reader = _READERS.get(name)
    return reader(path, options) if reader else None


def _outcar(path: Path, options: Options) -> Stated:
    header = outcar_header(path)
    return _vasp(header.version, header.titel, header.parameters, options)


def _vasprun(path: Path, options: Options) -> Stated:
    header = vasprun_header(path)
    parameters = header.parameters | {"ENCUT": header.parameters.get("ENMAX", "")}
    return _vasp(header.version, header.titel, parameters, options)


def _vasp(version: str, titel: Sequence[str], parameters: Mapping[str, str], options: Options) -> Stated:
    tags = VASP_TAGS | (dict.fromkeys(HYBRID_TAGS, "") if _word(parameters, "LHFCALC") == "t" else {})
    found = {tag: _word(parameters, tag) for tag in tags}
    settings = {
        "code": "VASP",
        "version": version,
        "energy": options.energy,
        "potentials": sorted({title.split()[0] for title in titel if title}),
        "incar": {tag: word for tag, word in found.items() if word not in ("", tags[tag])},
    }
    return Stated("vasp", settings, tuple(titel))


def _word(parameters: Mapping[str, str], tag: str) -> str:
    """A value whatever the width of its field: small letters, numbers to the four digits of an OUTCAR."""
    text = parameters.get(tag, "").strip().strip(".").lower()
    try:
        return f"{float(text):.4g}"
    except ValueError:
        words = {"true": "t", "false": "f"} | _SAME.get(tag, {})
        return words.get(text, text[:1] if tag == "PREC" else text)


def _cp2k(path: Path, options: Options) -> Stated:
    version, lines, potentials = "", [], []
    with open_text(path) as file:
        for line in islice(file, _CP2K_HEAD):
            if "SCF WAVEFUNCTION OPTIMIZATION" in line:
                break
            if found := _CP2K_VERSION.search(line):
                version = found[1]
            elif found := _CP2K_LINE.match(line):
                if found[1] != "QS" or found[2].startswith(_QS):
                    lines.append(f"{found[1]}| {' '.join(found[2].split())}")
            elif found := _CP2K_POTENTIAL.match(line):
                potentials.append(" ".join(word for word in found.groups() if word))
    settings = {"code": "CP2K", "version": version, "log": lines} if lines else None
    return Stated("cp2k", settings, tuple(dict.fromkeys(potentials)))


_READERS: dict[str, Callable[[Path, Options], Stated]] = {
    "vasp/outcar": _outcar,
    "vasp/xml": _vasprun,
    "cp2k/scf": _cp2k,
    "cp2k/md": _cp2k,
    "pwmat/movement": lambda path, options: Stated("pwmat"),
}
