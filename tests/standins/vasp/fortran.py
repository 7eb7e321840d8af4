"""Numbers as a Fortran program reads and writes them."""

from __future__ import annotations

import math
import re

INTEGER = re.compile(r"[+-]?\d+")
REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdDqQ][+-]?\d+)?")
LOGICAL = re.compile(r"(?i)\.?(t|f)(rue|alse)?\.?")


def read_real(text: str) -> float:
    """A real number, also with the exponent letter ``d``; raises ValueError."""
    if not REAL.fullmatch(text):
        raise ValueError(text)
    return float(re.sub("[dDqQ]", "e", text))


def read_integer(text: str) -> int:
    """An integer; unlike Python's own reading, 10.0 is none."""
    if not INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def read_logical(text: str) -> bool:
    """T, .TRUE., .F., False ...; raises ValueError."""
    found = LOGICAL.fullmatch(text)
    if not found:
        raise ValueError(text)
    return found[1] in "tT"


def expand(text: str) -> list[str]:
    """The words of a list, ``3*0.6 1.0`` written out."""
    words = []
    for word in text.split():
        count, star, value = word.partition("*")
        words += [value] * int(count) if star and count.isdigit() else [word]
    return words


def fixed(value: float, width: int, decimals: int) -> str:
    """Format Fw.d: stars if the number does not fit, as readers of large forces will see."""
    if not math.isfinite(value):
        return ("NaN" if math.isnan(value) else "Infinity").rjust(width)
    text = f"{value:{width}.{decimals}f}"
    return text if len(text) <= width else "*" * width


def fixed_row(values, width: int, decimals: int) -> str:
    return "".join(fixed(float(value), width, decimals) for value in values)


def exponent(value: float, width: int, digits: int) -> str:
    """Format Ew.d: ``-0.347E+02``, or ``-.347E+02`` if the width has no room for the zero."""
    if not math.isfinite(value):
        return ("NaN" if math.isnan(value) else "Infinity").rjust(width)
    mantissa, power = f"{abs(value):.{digits - 1}e}".split("e")
    shifted = int(power) + 1 if value else 0
    number = f".{mantissa.replace('.', '')}E{shifted:+03d}"
    sign = "-" if value < 0 else ""
    long = f"{sign}0{number}"
    return (long if len(long) <= width else f"{sign}{number}").rjust(width)
