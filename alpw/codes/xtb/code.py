"""GFN-xTB as a code for labels, relaxations and MD."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from custodian.custodian import ErrorHandler, Validator

from alpw.codes.corrections import Rules
from alpw.codes.handlers import tail
from alpw.codes.process import split_command
from alpw.codes.protocol import Task
from alpw.codes.xtb import inputs, outputs
from alpw.codes.xtb.corrections import INPUT, RULES, settings_of_inputs
from alpw.codes.xtb.handlers import XtbCrashHandler, XtbRefusalHandler, XtbScfHandler
from alpw.codes.xtb.jobs import DEFAULT_COMMAND, STEPS, STOP_FILE, XtbJob
from alpw.codes.xtb.validators import XtbValidator
from alpw.errors import FailureKind
from alpw.structures.frame import Label
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from alpw.config import Dft


class Xtb:
    """GFN1-xTB (or GFN2-xTB) through tblite, at the Γ point.

    Good for demonstrations and for pre-sampling at a fixed cell. Against DFT its forces in silicon are off by
    about 20 % and its pressure by several GPa, and metals are worse: do not publish from it, do not relax a
    cell with it.
    """

    name = "xtb"
    # Forces are analytic and translationally invariant; 1e-5 eV/Å is what the SCF threshold leaves.
    net_force_tolerance = 1e-5
    inputs: tuple[str, ...] = (INPUT,)
    rules: Rules = RULES
    kinds: Mapping[str, FailureKind] = {}
    alive: tuple[str, ...] = ("job.out", STEPS)
    scratch: tuple[str, ...] = ()

    def available(self) -> tuple[bool, str]:
        try:
            return True, f"tblite {importlib.metadata.version('tblite')}"
        except importlib.metadata.PackageNotFoundError:
            return False, "tblite is missing; pip install tblite"

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
        return inputs.write_inputs(atoms, directory, dft, task)

    def resume(self, atoms: Atoms, directory: Path, dft: Dft, task: Task, done: int) -> list[str]:
        return outputs.resume(directory)

    def job(self, command: str | None, environment: Mapping[str, str] | None = None) -> XtbJob:
        return XtbJob(split_command(command) if command else DEFAULT_COMMAND, environment=environment)

    def handlers(self, task: Task = Task.LABEL) -> list[ErrorHandler]:
        return [XtbScfHandler(), XtbRefusalHandler(), XtbCrashHandler()]

    def validators(self, task: Task = Task.LABEL) -> list[Validator]:
        return [XtbValidator(task)]

    def settings_of_inputs(self, directory: Path) -> dict[str, str]:
        return settings_of_inputs(directory)

    def stop(self, directory: Path) -> bool:
        (directory / STOP_FILE).touch()
        return True

    def last_words(self, directory: Path) -> str:
        result = outputs.read_result(directory)
        if result and result["error"]:
            return str(result["error"])
        return " ".join(tail(directory / "job.err", 300).splitlines()[-1:])

    def read_label(self, directory: Path, atoms: Atoms, dft: Dft) -> Label:
        return outputs.read_label(directory, atoms)

    def read_steps(self, directory: Path, atoms: Atoms, dft: Dft, task: Task) -> LabelledFrames | None:
        return outputs.read_steps(directory, atoms)

    def complete(self, directory: Path, task: Task) -> bool:
        result = outputs.read_result(directory)
        return result is not None and bool(result.get("complete"))

    def settings(self, directory: Path) -> dict[str, Any]:
        return outputs.settings(directory)
