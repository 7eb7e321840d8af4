"""PWmat as a code for labels, relaxations and AIMD."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from custodian.custodian import ErrorHandler, Validator

from alpw.codes.corrections import Rules
from alpw.codes.handlers import tail
from alpw.codes.process import TERMINATED
from alpw.codes.protocol import Task
from alpw.codes.pwmat import inputs, motion, outputs, resumption, theory
from alpw.codes.pwmat.corrections import RULES, STRUCTURE, settings_of
from alpw.codes.pwmat.etot import INPUT, read_etot
from alpw.codes.pwmat.handlers import (
    PwmatCrashHandler,
    PwmatOutputHandler,
    PwmatRelaxHandler,
    PwmatScfHandler,
)
from alpw.codes.pwmat.jobs import EXECUTABLE, OUTPUT, PwmatJob, command_words
from alpw.codes.pwmat.report import REPORT, read_report
from alpw.codes.pwmat.validators import PwmatValidator
from alpw.errors import FailureKind
from alpw.structures.frame import Label
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from alpw.config import Dft


class Pwmat:
    """DFT with PWmat in plane waves or in a Gaussian basis, and its DFTB."""

    name = "pwmat"
    # The real-space grid breaks translational invariance ("egghead"): some meV/Å with ECUT2 = 2 ECUT.
    net_force_tolerance = 2e-2
    inputs: tuple[str, ...] = (INPUT, STRUCTURE)
    rules: Rules = RULES
    kinds: Mapping[str, FailureKind] = {}
    alive: tuple[str, ...] = (REPORT, OUTPUT, "MDSTEPS", "RELAXSTEPS")
    scratch: tuple[str, ...] = ("OUT.WG*", "OUT.RHO*", "OUT.VR*", "OUT.HSEWR*", "OUT.EIGEN", "OUT.VATOM*")

    def available(self) -> tuple[bool, str]:
        program = shutil.which(EXECUTABLE)
        if program is None:
            return False, "PWmat is missing; it is a commercial program, load its module in module_list"
        return True, f"PWmat ({program})"

    def check(self, dft: Dft, elements: Iterable[str], task: Task = Task.LABEL) -> None:
        inputs.check(dft, elements, task)

    def check_command(self, dft: Dft, command: str) -> None:
        """Raise `InputError` if the command starts another number of ranks than the node grid needs."""
        inputs.check_command(dft, command)

    def further_files(self, dft: Dft, elements: Iterable[str]) -> list[Path]:
        """What the control file switches on and PWmat finds by name."""
        return list(inputs.companions(inputs.load(dft)).values())

    def check_structure(self, atoms: Atoms, dft: Dft, task: Task = Task.LABEL) -> None:
        inputs.check_structure(atoms, dft, task)

    def write_inputs(
        self,
        atoms: Atoms,
        directory: Path,
        dft: Dft,
        task: Task = Task.LABEL,
        *,
        reuse: Path | None = None,
    ) -> list[str]:
        """As the protocol says; ``reuse`` is ignored, a density of PWmat belongs to one FFT grid."""
        return inputs.write_inputs(atoms, directory, dft, task)

    def resume(self, atoms: Atoms, directory: Path, dft: Dft, task: Task, done: int) -> list[str]:
        return resumption.resume(atoms, directory, dft, task, done)

    def job(self, command: str | None, environment: Mapping[str, str] | None = None) -> PwmatJob:
        return PwmatJob(command_words(command), stdout=OUTPUT, environment=environment)

    def handlers(self, task: Task = Task.LABEL) -> list[ErrorHandler]:
        relaxation = [PwmatRelaxHandler()] if task is Task.RELAX else []
        return [
            PwmatScfHandler(task),
            PwmatCrashHandler(),
            PwmatOutputHandler(task),
            *relaxation,
        ]

    def validators(self, task: Task = Task.LABEL) -> list[Validator]:
        return [PwmatValidator(task)]

    def settings_of_inputs(self, directory: Path) -> dict[str, str]:
        structure = directory / STRUCTURE
        content = structure.read_text() if structure.is_file() else ""
        return {**settings_of(read_etot(directory / INPUT), read_report(directory)), STRUCTURE: content}

    def stop(self, directory: Path) -> bool:
        """False: PWmat looks for no file that would end it; at the limit it is killed, its steps are kept."""
        return False

    def last_words(self, directory: Path) -> str:
        for name in ("job.err", OUTPUT, REPORT):
            lines = [line.strip() for line in tail(directory / name, 2000).splitlines()]
            if words := next((line for line in reversed(lines) if line and line != TERMINATED), ""):
                return words
        return ""

    def read_label(self, directory: Path, atoms: Atoms, dft: Dft) -> Label:
        return outputs.read_label(directory, atoms)

    def read_steps(self, directory: Path, atoms: Atoms, dft: Dft, task: Task) -> LabelledFrames | None:
        return outputs.read_steps(directory, atoms, task)

    def frames_asked(self, dft: Dft) -> int:
        return motion.md_detail(inputs.load(dft))[1]

    def complete(self, directory: Path, task: Task) -> bool:
        return outputs.complete(directory, task)

    def settings(self, directory: Path) -> dict[str, Any]:
        return theory.settings(directory)
