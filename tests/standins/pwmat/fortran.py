"""Numbers as Fortran writes and reads them: mantissa below one, stars when a field is too narrow."""

import math


def scientific(value: float, digits: int) -> str:
    """``-0.8343E+03``; exponents of three digits lose their E, as in ``0.14-320``."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity"
    if value == 0:
        return f"0.{'0' * digits}E+00"
    mantissa, exponent = f"{abs(value):.{digits - 1}e}".split("e")
    power = int(exponent) + 1
    letter = "E" if abs(power) < 100 else ""
    return f"{'-' if value < 0 else ''}0.{mantissa.replace('.', '')}{letter}{power:+03d}"


def e(value: float, width: int, digits: int) -> str:
    """Edit descriptor ``Ew.d``: right-aligned, or stars if it does not fit."""
    text = scientific(value, digits)
    return text.rjust(width) if len(text) <= width else "*" * width


def f(value: float, width: int, digits: int) -> str:
    """Edit descriptor ``Fw.d``."""
    text = f"{value:.{digits}f}" if math.isfinite(value) else "NaN"
    return text.rjust(width) if len(text) <= width else "*" * width


def compact(value: float, digits: int) -> str:
    """``-.8343E+03``: the form of REPORT, whose fields leave no room for a zero behind a minus."""
    return scientific(value, digits).replace("-0.", "-.")


def tolerance(value: float) -> str:
    """``5.000000000000000E-005``: list-directed output of a double."""
    mantissa, exponent = f"{value:.15e}".split("e")
    return f"{mantissa}E{int(exponent):+04d}"


def number(text: str) -> float:
    """A number with any of Fortran's exponents: ``1.E-5``, ``1.d-5``, ``5``."""
    return float(text.lower().replace("d", "e"))
