"""How the level of theory changes the numbers of the stand-in.

Energy, forces and stress of the potential are multiplied by one factor near 1, so that they stay derivatives
of each other. The factor depends on what changes the physics of a VASP calculation, and on nothing else: a
label computed with another cutoff, mesh, smearing, precision, functional, U or pseudopotential than asked for
is measurably another number, and one computed with another mixing, ALGO, NELM or KPAR is not.
"""

from __future__ import annotations

import math
import zlib

from vasp.fortran import expand, read_real
from vasp.inputs import LOGICALS, Incar

CHOICES = {
    "": "GGA METAGGA IVDW LUSE_VDW LHFCALC LDAU LREAL ADDGRID LASPH ISMEAR ISPIN LSORBIT LNONCOLLINEAR",
    "LHFCALC": "AEXX HFSCREEN",
    "LDAU": "LDAUTYPE LDAUU LDAUJ LDAUL",
}
"""Tags whose value is a choice, not a parameter that converges, by the switch that makes VASP read them."""

NEUTRAL = {"ISMEAR": "1", "ISPIN": "1", "METAGGA": "NONE", "IVDW": "0", "GGA": "PE", "LDAUTYPE": "2"}
"""Values that say what is the default anyway; for the logical tags and LREAL that is F."""

PRECISION = {"l": 2e-3, "m": 1e-3, "n": 5e-4, "s": 8e-4, "a": 0.0, "h": 1e-4}
"""By the first letter of PREC."""


def level_factor(incar: Incar, cutoff: float, sampling: float, charge: float, titles: list[str]) -> float:
    """The factor on energy, forces and stress.

    Args:
        incar: tags of the run.
        cutoff: ENCUT in force, eV.
        sampling: length of the k-point sampling, cube root of mesh points times volume, Å.
        charge: electrons more than in the neutral cell.
        titles: TITEL of the pseudopotentials.
    """
    factor = 1.0 + 0.05 * math.exp(-cutoff / 100.0) + 0.01 * math.exp(-sampling / 5.0) + 1e-4 * charge
    factor += PRECISION[incar.word("PREC", "Normal")[0].lower()]
    if incar.integer("ISMEAR", 1) > -4:
        factor -= 0.02 * incar.real("SIGMA", 0.2) ** 2
    for switch, tags in CHOICES.items():
        if switch and not incar.logical(switch, False):
            continue
        for tag in tags.split():
            value = _canonical(tag, incar.get(tag, ""))
            if value:
                factor += _fingerprint(f"{tag}={value}")
    for title in titles:
        label = title.split()[1]
        if "_" in label:
            factor += _fingerprint(label)
    return factor


def _canonical(tag: str, value: str) -> str:
    """One text for all ways to write a value, empty for the default."""
    if tag in LOGICALS or tag == "LREAL":
        letter = value.strip().strip(".")[:1].upper()
        return "" if letter == "F" else letter
    words = expand(value.upper())
    try:
        words = [f"{read_real(word):g}" for word in words]
    except ValueError:
        words = words[:1]
    text = " ".join(words)
    return "" if text == NEUTRAL.get(tag) else text


def _fingerprint(text: str) -> float:
    """A number between 1e-4 and 1e-3 that belongs to the text."""
    return 1e-4 + 9e-4 * (zlib.crc32(text.encode()) % 10_000) / 10_000
