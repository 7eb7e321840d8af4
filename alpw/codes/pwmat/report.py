"""Reader of REPORT: the settings that PWmat echoes, and how each SCF ended."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from alpw.codes.pwmat.etot import Etot
from alpw.codes.pwmat.keys import number

REPORT = "REPORT"

END_MARK = "total computation time"

_ECHO_END = re.compile(r"end of etot.input report")
_ECHO = re.compile(r"^\s*([A-Za-z][\w.()]*)\s*=\s*(.*?)\s*$")
_VERSION = re.compile(r"version\s*[:=]?\s*v?([\w.+-]*\d[\w.+-]*)", re.IGNORECASE)
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][-+]?\d+)?|[-+]?nan|\*+)"
_REASON = re.compile(r"ending_scf_reason\s*=\s*(.*)")
_ENERGY = re.compile(rf"^\s*E_tot\(eV\)\s*=\s*{_NUMBER}\s+{_NUMBER}", re.IGNORECASE)
_DENSITY = re.compile(rf"^\s*dv_ave, drho_tot\s*=\s*{_NUMBER}\s+{_NUMBER}", re.IGNORECASE)


@dataclass(frozen=True)
class Scf:
    """How the SCF of one ionic step ended.

    Attributes:
        reason: PWmat's own words, ``tol Rho_err  1.0E-05`` or ``niter reached``.
        energy: total energy in eV; NaN if unknown.
        energy_change: of the last iteration, eV; NaN if unknown.
        density_change: of the last iteration; NaN if unknown.
    """

    reason: str
    energy: float = math.nan
    energy_change: float = math.nan
    density_change: float = math.nan

    @property
    def by_tolerance(self) -> bool:
        """PWmat itself calls it converged."""
        return self.reason.lower().startswith("tol")


@dataclass(frozen=True)
class Report:
    """The content of one REPORT.

    Attributes:
        settings: what PWmat echoes of its input, defaults included, keys in upper case.
        version: of PWmat; empty if REPORT does not tell.
        steps: one entry for each SCF that came to its end.
        ended: whether PWmat came to its regular end.
    """

    settings: dict[str, str] = field(default_factory=dict)
    version: str = ""
    steps: tuple[Scf, ...] = ()
    ended: bool = False

    def converged(self, etot: Etot) -> list[bool]:
        """Whether each SCF converged.

        PWmat stops at the first of its tolerances that is reached, or after the last iteration
        (``niter reached``). In the latter case the step counts as converged nevertheless if the last
        iteration changed the energy by no more than E_ERROR or the density by no more than RHO_ERROR: those
        are the tolerances, and a tolerance of 0 is switched off. (PWact judges in the same way.)
        """
        limits = [self._limit("E_ERROR", etot), self._limit("RHO_ERROR", etot)]
        return [scf.by_tolerance or _within(scf, *limits) for scf in self.steps]

    def _limit(self, key: str, etot: Etot) -> float:
        """The tolerance as PWmat used it, 0 if it is not told."""
        word = self.settings.get(key) or etot.get(key)
        try:
            return number(word.split()[0]) if word else 0.0
        except ValueError:
            return 0.0


def _within(scf: Scf, energy: float, density: float) -> bool:
    return (energy > 0 and abs(scf.energy_change) <= energy) or (
        density > 0 and scf.density_change <= density
    )


def read_report(directory: Path) -> Report:
    """The REPORT of a run, which may still be written; an empty one if there is none."""
    path = directory / REPORT
    if not path.is_file():
        return Report()
    with path.open(encoding="utf-8", errors="replace") as lines:
        return _parse(lines)


def _parse(lines: Iterable[str]) -> Report:
    settings: dict[str, str] = {}
    version = ""
    steps: list[Scf] = []
    in_echo, ended = True, False
    open_end = False  # the final energy of an SCF stands below the reason for its end
    energy = change = density = math.nan
    for line in lines:
        if in_echo:
            if _ECHO_END.search(line) or "total number of K-point" in line:
                in_echo = False
            elif found := _ECHO.match(line):
                settings.setdefault(found[1].upper(), found[2])
        if not version and (found := _VERSION.search(line)):
            version = found[1]
        if found := _ENERGY.match(line):
            energy, change = _value(found[1]), _value(found[2])
            if open_end:
                steps[-1], open_end = replace(steps[-1], energy=energy), False
        elif found := _DENSITY.match(line):
            density = _value(found[2])
        elif found := _REASON.search(line):
            steps.append(Scf(found[1].strip(), energy, change, density))
            energy = change = density = math.nan
            open_end = True
        ended = ended or END_MARK in line
    return Report(settings, version, tuple(steps), ended)


def _value(word: str) -> float:
    try:
        return number(word)
    except ValueError:
        return math.nan


def last_steps(directory: Path, size: int = 200_000) -> Report:
    """What the end of REPORT tells of the latest SCFs: enough for a monitor that looks every second."""
    path = directory / REPORT
    if not path.is_file():
        return Report()
    with path.open("rb") as file:
        head = file.read(min(size, 20_000)).decode(errors="replace")
        length = file.seek(0, 2)
        file.seek(max(0, length - size))
        end = file.read().decode(errors="replace")
    echo = _parse(head.splitlines())
    return replace(_parse(end.splitlines()), settings=echo.settings, version=echo.version)
