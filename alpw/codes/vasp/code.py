"""VASP as a code for labels, relaxations and AIMD."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from custodian.custodian import ErrorHandler, Validator

from alpw.codes.corrections import Rules
from alpw.codes.protocol import Task
from alpw.codes.vasp import corrections, handlers, inputs, jobs, outputs, potcar, theory, validators
from alpw.errors import FailureKind
from alpw.structures.frame import Label
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from alpw.config import Dft


class Vasp:
    """DFT with VASP; the user's own binary and pseudopotentials."""

    name = "vasp"
    # VASP takes the drift of the forces off before it prints them, with six decimals.
    net_force_tolerance = 1e-2
    inputs: tuple[str, ...] = inputs.INPUTS
    rules: Rules = corrections.RULES
    kinds: Mapping[str, FailureKind] = handlers.KINDS
    alive: tuple[str, ...] = (jobs.OUTPUT, "OSZICAR", "OUTCAR")
    scratch: tuple[str, ...] = (
        "WAVECAR",
        "CHG",
        "CHGCAR",
        "AECCAR*",
        "LOCPOT",
        "ELFCAR",
        "PROCAR",
        "DOSCAR",
        "EIGENVAL",
        "TMPCAR",
        "TAUCAR",
        "WAVEDER",
        "error.*.tar.gz",
        "vaspout.h5",
        "vaspwave.h5",
    )

    def available(self) -> tuple[bool, str]:
        program = jobs.executable()
        if program is None:
            return False, "VASP is missing: it is licensed, see https://www.vasp.at; put vasp_std on PATH"
        return True, f"VASP ({program}), which tells its version when it runs"

    def check(self, dft: Dft, elements: Iterable[str], task: Task = Task.LABEL) -> None:
        inputs.check(dft, list(elements), task)

    def check_command(self, dft: Dft, command: str) -> None:
        """Any call will do."""

    def further_files(self, dft: Dft, elements: Iterable[str]) -> list[Path]:
        """The POTCARs that come from pymatgen's folder."""
        return (
            []
            if dft.pseudo
            else [found.file for found in potcar.choose(dft, dft.elements or elements).values()]
        )

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
        return inputs.write_inputs(atoms, directory, dft, task, reuse=reuse)

    def resume(self, atoms: Atoms, directory: Path, dft: Dft, task: Task, done: int) -> list[str]:
        return outputs.resume(atoms, directory, dft, task, done)

    def job(self, command: str | None, environment: Mapping[str, str] | None = None) -> jobs.VaspJob:
        return jobs.VaspJob(jobs.command_words(command), stdout=jobs.OUTPUT, environment=environment)

    def handlers(self, task: Task = Task.LABEL) -> list[ErrorHandler]:
        return handlers.handlers(task)

    def validators(self, task: Task = Task.LABEL) -> list[Validator]:
        return validators.validators(task)

    def settings_of_inputs(self, directory: Path) -> dict[str, str]:
        return corrections.settings_of_inputs(directory)

    def stop(self, directory: Path) -> bool:
        return jobs.stop(directory)

    def last_words(self, directory: Path) -> str:
        return outputs.last_words(directory)

    def read_label(self, directory: Path, atoms: Atoms, dft: Dft) -> Label:
        return outputs.read_label(directory, atoms, dft)

    def read_steps(self, directory: Path, atoms: Atoms, dft: Dft, task: Task) -> LabelledFrames | None:
        return outputs.read_steps(directory, atoms, dft, task)

    def frames_asked(self, dft: Dft) -> int:
        return inputs.load(dft).integer("NSW", 0)

    def complete(self, directory: Path, task: Task) -> bool:
        return outputs.complete(directory, task)

    def settings(self, directory: Path) -> dict[str, Any]:
        return theory.settings(directory)
