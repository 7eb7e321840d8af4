"""What codes that run in a driver of ours have in common: xtb, and any ASE calculator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ase import Atoms
from custodian.custodian import ErrorHandler, Validator

from alpw.codes.ase import outputs
from alpw.codes.ase.control import read_control
from alpw.codes.ase.corrections import settings_of_document
from alpw.codes.ase.documents import STEPS, STOP_FILE
from alpw.codes.ase.handlers import DriverCrashHandler, RefusalHandler
from alpw.codes.ase.jobs import DriverJob, driver_command
from alpw.codes.ase.validators import ResultValidator
from alpw.codes.handlers import tail
from alpw.codes.process import split_command
from alpw.codes.protocol import Task
from alpw.errors import FailureKind
from alpw.structures.frame import Label
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from alpw.config import Dft


class DriverCode:
    """The part of `alpw.codes.protocol.Code` that follows from the files of a driver.

    Attributes:
        document: name of the driver's input file.
        driver: the module that is the driver.
    """

    document: ClassVar[str]
    driver: ClassVar[str]
    kinds: Mapping[str, FailureKind] = {}
    alive: tuple[str, ...] = ("job.out", STEPS)
    scratch: tuple[str, ...] = ()

    def check_command(self, dft: Dft, command: str) -> None:
        """Any call will do."""

    def resume(self, atoms: Atoms, directory: Path, dft: Dft, task: Task, done: int) -> list[str]:
        return outputs.resume(directory, self.document)

    def job(self, command: str | None, environment: Mapping[str, str] | None = None) -> DriverJob:
        words = split_command(command) if command else driver_command(self.driver)
        return DriverJob(words, environment=environment)

    def handlers(self, task: Task = Task.LABEL) -> list[ErrorHandler]:
        return [RefusalHandler(), DriverCrashHandler()]

    def validators(self, task: Task = Task.LABEL) -> list[Validator]:
        return [ResultValidator(task)]

    def frames_asked(self, dft: Dft) -> int:
        control = read_control(dft, Task.AIMD)
        return int(control["steps"]) // int(control["stride"]) + 1

    def settings_of_inputs(self, directory: Path) -> dict[str, str]:
        return settings_of_document(directory, self.document)

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
