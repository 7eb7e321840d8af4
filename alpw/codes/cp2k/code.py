"""CP2K as a single-point code."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from custodian.custodian import ErrorHandler, Validator

from alpw.codes.cp2k import inputs, outputs, theory
from alpw.codes.cp2k.data import executable
from alpw.codes.cp2k.handlers import Cp2kCrashHandler, Cp2kScfHandler, Cp2kSilentScfHandler
from alpw.codes.cp2k.jobs import OUTPUT, Cp2kJob, command_words
from alpw.codes.cp2k.validators import Cp2kValidator
from alpw.codes.handlers import SilenceHandler, tail
from alpw.structures.frame import Label

if TYPE_CHECKING:
    from alpw.config import Dft

SILENCE = 3600.0
"""Seconds without a new line of output: longer than one SCF step of any cell worth labelling."""


class Cp2k:
    """DFT with CP2K/Quickstep; also CP2K's own xTB, if the control file says so."""

    name = "cp2k"
    # The real-space grid breaks translational invariance: 120 Ry leaves 1e-3 eV/Å on average in silicon.
    net_force_tolerance = 2e-2

    def available(self) -> tuple[bool, str]:
        program = executable()
        if program is None:
            return (
                False,
                "CP2K is missing; Debian: apt-get install cp2k, conda: conda install -c conda-forge cp2k",
            )
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            answer = subprocess.run(
                [program, "--version"],
                capture_output=True,
                text=True,
                env=environment,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return False, f"{program} does not answer: {error}"
        version = re.search(r"CP2K version (\S+)", answer.stdout)
        return (True, f"CP2K {version[1]} ({program})") if version else (False, f"{program} is no CP2K")

    def check(self, dft: Dft, elements: Iterable[str]) -> None:
        inputs.check(dft, elements)

    def check_structure(self, atoms: Atoms, dft: Dft) -> None:
        inputs.check_structure(atoms, dft)

    def write_inputs(self, atoms: Atoms, directory: Path, dft: Dft) -> list[str]:
        return inputs.write_inputs(atoms, directory, dft)

    def job(self, command: str | None, environment: Mapping[str, str] | None = None) -> Cp2kJob:
        return Cp2kJob(command_words(command), stdout=OUTPUT, environment=environment)

    def handlers(self) -> list[ErrorHandler]:
        silence = SilenceHandler([OUTPUT], SILENCE)
        return [silence, Cp2kScfHandler(), Cp2kCrashHandler(), Cp2kSilentScfHandler()]

    def validators(self) -> list[Validator]:
        return [Cp2kValidator()]

    def last_words(self, directory: Path) -> str:
        if abort := outputs.read_output(directory).abort:
            return abort
        lines = tail(directory / "job.err", 2000).splitlines() + tail(directory / OUTPUT, 2000).splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def read_label(self, directory: Path, atoms: Atoms) -> Label:
        return outputs.read_label(directory, atoms)

    def settings(self, directory: Path) -> dict[str, Any]:
        return theory.settings(directory)
