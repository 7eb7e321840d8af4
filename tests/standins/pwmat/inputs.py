"""etot.input: the node grid of the first line, then ``KEY = VALUE`` in any order and any case."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pwmat.fortran import number
from pwmat.keys import DONE_HERE, FUNCTIONALS, JOBS, WORDS, is_known


class Refused(Exception):
    """Input with which the run cannot start; the message goes to the screen."""


@dataclass(frozen=True)
class Settings:
    """The values of an etot.input, with upper-case keys."""

    nodes: tuple[int, int]
    values: Mapping[str, str]

    @property
    def job(self) -> str:
        """What to do: SCF, RELAX or MD."""
        return self.values["JOB"].upper()

    def text(self, key: str, default: str = "") -> str:
        """The value as it stands."""
        return self.values.get(key, default)

    def word(self, key: str, default: str = "") -> str:
        """The first word of a value, in upper case."""
        words = self.text(key, default).replace(",", " ").split()
        return words[0].strip("\"'").upper() if words else ""

    def flag(self, key: str, default: bool = False) -> bool:
        """``T``, ``.TRUE.`` or ``T, 1``."""
        word = self.word(key).strip(".")
        return word.startswith("T") if word else default

    def numbers(self, key: str, default: tuple[float, ...] = ()) -> tuple[float, ...]:
        """The numbers at the beginning of a value; words end them."""
        if key not in self.values:
            return default
        found = []
        for word in self.values[key].replace(",", " ").split():
            try:
                found.append(number(word))
            except ValueError:
                break
        if not found:
            raise Refused(f" error in reading {key} = {self.values[key]}, stop")
        return tuple(found)

    def first(self, key: str, default: float) -> float:
        """The first number of a value."""
        return self.numbers(key, (default,))[0]

    def numbered(self, stem: str) -> dict[int, str]:
        """The values of ``IN.PSP1``, ``IN.PSP2``, ... by number."""
        return {
            int(key.removeprefix(stem)): value
            for key, value in sorted(self.values.items())
            if key.startswith(stem) and key.removeprefix(stem).isdigit()
        }

    @property
    def method(self) -> str:
        """``dftb``, ``chardb`` (DFTB without Slater-Koster files), ``gaussian`` or ``plane waves``."""
        if self.flag("USE_DFTB"):
            return "chardb" if self.first("DFTB_DETAIL", 1) == 3 else "dftb"
        return "gaussian" if self.flag("USE_GAUSSIAN") else "plane waves"

    @property
    def kmesh(self) -> tuple[int, int, int]:
        """Monkhorst-Pack divisions."""
        n = self.numbers("MP_N123", (1.0, 1.0, 1.0))
        return int(n[0]), int(n[1]), int(n[2])

    @property
    def kshift(self) -> tuple[int, int, int]:
        """1 where the grid is displaced by half a division."""
        n = (*self.numbers("MP_N123", (1.0, 1.0, 1.0)), 0, 0, 0)
        return int(n[3]), int(n[4]), int(n[5])


def _strip_comment(line: str) -> str:
    return line.split("#")[0].split("!")[0].strip()


def read_settings(path: Path = Path("etot.input")) -> Settings:
    """Read and check an etot.input.

    Raises:
        Refused: no file, no node grid, a key that PWmat does not have or has twice, a value out of range.
    """
    if not path.is_file():
        raise Refused(f" file {path} does not exist, stop")
    lines = path.read_text().splitlines()
    words = _strip_comment(lines[0] if lines else "").replace(",", " ").split()
    if len(words) != 2 or not all(word.isdigit() and int(word) > 0 for word in words):
        raise Refused(" the first line of etot.input must be two positive integers: node1 node2, stop")
    values: dict[str, str] = {}
    for line in map(_strip_comment, lines[1:]):
        key, equals, value = line.partition("=")
        key = key.strip().upper()
        if not equals:
            continue
        if not is_known(key):
            raise Refused(f" unknown key in etot.input: {key}, stop")
        if key in values:
            raise Refused(f" {key} is given twice in etot.input, stop")
        values[key] = value.strip()
    settings = Settings((int(words[0]), int(words[1])), values)
    _check(settings)
    return settings


def ranks(environment: Mapping[str, str] = os.environ) -> int:
    """Number of MPI ranks of this run, as Open MPI, MPICH or srun tell it."""
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"):
        if environment.get(name, "").isdigit():
            return int(environment[name])
    return 1


def rank(environment: Mapping[str, str] = os.environ) -> int:
    """Number of this rank; only rank 0 works."""
    for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"):
        if environment.get(name, "").isdigit():
            return int(environment[name])
    return 0


def _check(settings: Settings) -> None:
    product, available = settings.nodes[0] * settings.nodes[1], ranks()
    if available > 1 and product != available:
        raise Refused(f" node1*node2 = {product} is not the number of processors = {available}, stop")
    if "JOB" not in settings.values:
        raise Refused(" JOB must be specified in etot.input, stop")
    if settings.job not in JOBS:
        raise Refused(f" JOB = {settings.job} is not recognized, stop")
    if settings.job not in DONE_HERE:
        raise Refused(f" JOB = {settings.job} is beyond this stand-in, stop")
    for key, allowed in WORDS.items():
        if key in settings.values and settings.word(key) not in allowed:
            raise Refused(f" {key} = {settings.text(key)} is not recognized, stop")
    functional = settings.word("XCFUNCTIONAL", "PBE")
    if functional not in FUNCTIONALS and not functional.startswith("XC_"):
        raise Refused(f" XCFUNCTIONAL = {functional} is not recognized, stop")
    for key in ("IN.WG", "IN.RHO", "IN.VR"):
        if settings.flag(key) and not Path(key).is_file():
            raise Refused(f" file {key} does not exist, stop")
    if any(n < 1 for n in settings.kmesh) or not set(settings.kshift) <= {0, 1}:
        raise Refused(f" error in reading MP_N123 = {settings.text('MP_N123')}, stop")
    if settings.job == "MD" and len(settings.numbers("MD_DETAIL")) < 5:
        raise Refused(" MD_DETAIL = MD, MSTEP, DT, TEMP1, TEMP2 must be specified when JOB = MD, stop")
