"""CP2K as a code for labels, relaxations and AIMD."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from custodian.custodian import ErrorHandler, Validator

from alpw.codes.corrections import Rules
from alpw.codes.cp2k import inputs, outputs, theory
from alpw.codes.cp2k.corrections import INPUT, RULES, settings_of_inputs
from alpw.codes.cp2k.data import executable
from alpw.codes.cp2k.handlers import Cp2kCrashHandler, Cp2kScfHandler, Cp2kSilentScfHandler
from alpw.codes.cp2k.jobs import OUTPUT, STOP_FILE, Cp2kJob, command_words
from alpw.codes.cp2k.resume import resume
from alpw.codes.cp2k.validators import Cp2kValidator
from alpw.codes.handlers import tail
from alpw.codes.protocol import Task
from alpw.errors import FailureKind
from alpw.structures.frame import Label
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from alpw.config import Dft


class Cp2k:
    """DFT with CP2K/Quickstep; also CP2K's own xTB, if the control file says so."""

    name = "cp2k"
    # The real-space grid breaks translational invariance: 120 Ry leaves 1e-3 eV/Å on average in silicon.
    net_force_tolerance = 2e-2
    inputs: tuple[str, ...] = (INPUT,)
    rules: Rules = RULES
    kinds: Mapping[str, FailureKind] = {}
    alive: tuple[str, ...] = (OUTPUT,)
    scratch: tuple[str, ...] = ("run-RESTART*", "start.wfn", "*.Hessian", "run-1.restart.bak-*")

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

    def check(self, dft: Dft, elements: Iterable[str], task: Task = Task.LABEL) -> None:
        inputs.check(dft, elements, task)

    def check_command(self, dft: Dft, command: str) -> None:
        """Any call will do."""

    def further_files(self, dft: Dft, elements: Iterable[str]) -> list[Path]:
        """None: the block names them all, and what the program brings along belongs to its version."""
        return []

    def check_structure(self, atoms: Atoms, dft: Dft, task: Task = Task.LABEL) -> None:
        inputs.check_structure(atoms, dft)

    def write_inputs(
        self,
        atoms: Atoms,
        directory: Path,
        dft: Dft,
        task: Task = Task.LABEL,
        *,
        reuse: Path | None = None,
    ) -> list[str]:
        return inputs.write_inputs(atoms, directory, dft, task, reuse)

    def resume(self, atoms: Atoms, directory: Path, dft: Dft, task: Task, done: int) -> list[str]:
        return resume(atoms, directory, dft, task)

    def job(self, command: str | None, environment: Mapping[str, str] | None = None) -> Cp2kJob:
        return Cp2kJob(command_words(command), stdout=OUTPUT, environment=environment)

    def handlers(self, task: Task = Task.LABEL) -> list[ErrorHandler]:
        return [Cp2kScfHandler(task), Cp2kCrashHandler(task), Cp2kSilentScfHandler()]

    def validators(self, task: Task = Task.LABEL) -> list[Validator]:
        return [Cp2kValidator(task)]

    def settings_of_inputs(self, directory: Path) -> dict[str, str]:
        return settings_of_inputs(directory)

    def stop(self, directory: Path) -> bool:
        (directory / STOP_FILE).touch()
        return True

    def last_words(self, directory: Path) -> str:
        if abort := outputs.read_output(directory).abort:
            return abort
        lines = tail(directory / "job.err", 2000).splitlines() + tail(directory / OUTPUT, 2000).splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def read_label(self, directory: Path, atoms: Atoms, dft: Dft) -> Label:
        return outputs.read_label(directory, atoms)

    def read_steps(self, directory: Path, atoms: Atoms, dft: Dft, task: Task) -> LabelledFrames | None:
        return outputs.without_start(outputs.read_steps(directory, atoms), directory)

    def frames_asked(self, dft: Dft) -> int:
        return int(inputs.load(dft).need("MOTION/MD").get("STEPS")) + 1

    def complete(self, directory: Path, task: Task) -> bool:
        if task is Task.AIMD:
            return outputs.md_is_complete(directory)
        return outputs.optimisation_is_complete(directory)

    def settings(self, directory: Path) -> dict[str, Any]:
        return theory.settings(directory)
