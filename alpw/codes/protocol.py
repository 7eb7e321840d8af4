"""What every code gives: the same methods for labels, relaxations and AIMD, checked by the type checker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ase import Atoms
from custodian.custodian import ErrorHandler, Validator

from alpw.codes.corrections import Rules
from alpw.codes.process import ProcessJob
from alpw.errors import FailureKind
from alpw.structures.frame import Label
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from alpw.config import Dft

INPUTS_FILE = "inputs.json"
"""Record of what the program changed in the user's control file, and by which rules."""


class Task(str, Enum):
    """What a code is asked to do with a structure."""

    LABEL = "label"
    RELAX = "relax"
    AIMD = "aimd"


class Code(Protocol):
    """A program that gives energies, forces and virials.

    Attributes:
        name: the ``dft_style`` of ``param.json``.
        net_force_tolerance: largest credible norm of the mean force in eV/Å. Forces sum to zero; what remains
            is the code's integration grid, more means a broken output.
        inputs: names of the input files that an error handler may rewrite; what it did to them is compared
            with ``rules``, and undone where it is not allowed.
        rules: which input setting is numerical and which one changes the physics.
        kinds: failure class by a word in the error that a handler names, for handlers that give no class.
        alive: files that a healthy run keeps writing; silence in all of them for `dft.max_silence` is a hang.
        scratch: patterns of large files that neither a rerun nor an audit needs (wavefunctions, charge
            densities); removed after success unless the user keeps them.
    """

    name: str
    net_force_tolerance: float
    inputs: tuple[str, ...]
    rules: Rules
    kinds: Mapping[str, FailureKind]
    alive: tuple[str, ...]
    scratch: tuple[str, ...]

    def available(self) -> tuple[bool, str]:
        """Whether the program can run here, and its version or what to install."""
        ...

    def check(self, dft: Dft, elements: Iterable[str], task: Task = Task.LABEL) -> None:
        """Raise `InputError` for whatever can be known to fail before anything is submitted."""
        ...

    def check_command(self, dft: Dft, command: str) -> None:
        """Raise `InputError` if the program cannot be called so with this control file."""
        ...

    def further_files(self, dft: Dft, elements: Iterable[str]) -> list[Path]:
        """Files that decide a result although the block ``dft`` does not name them."""
        ...

    def check_structure(self, atoms: Atoms, dft: Dft, task: Task = Task.LABEL) -> None:
        """Raise `InputError` if this structure is outside what the code can do."""
        ...

    def write_inputs(
        self,
        atoms: Atoms,
        directory: Path,
        dft: Dft,
        task: Task = Task.LABEL,
        *,
        reuse: Path | None = None,
    ) -> list[str]:
        """Write the input files; returns each change made to the user's own settings, in words.

        Args:
            atoms: the structure, in any order of atoms.
            directory: an existing folder, which may hold an earlier run.
            dft: settings; ``dft.input`` is the user's control file.
            task: what to do.
            reuse: folder of a finished label of a structure with the same atoms, whose wavefunction may serve
                as a start. Ignored by codes that cannot, and where it could lead to another state.
        """
        ...

    def resume(self, atoms: Atoms, directory: Path, dft: Dft, task: Task, done: int) -> list[str]:
        """Rewrite the inputs in ``directory`` so that the next attempt goes on where the last one ended.

        Called with the outputs of the last attempt still in place, for relaxations and AIMD only. A
        relaxation starts from the last complete geometry; AIMD from the last complete step, velocities
        included. ``done`` counts the finished steps of all attempts: what is left to do is what ``dft.input``
        asks for minus ``done``, so that calling it twice does no harm. What error handlers have changed in
        the inputs stays. Returns what it did, in words.

        Raises:
            CalculationError: the outputs do not hold what is needed to go on.
        """
        ...

    def job(self, command: str | None, environment: Mapping[str, str] | None = None) -> ProcessJob:
        """The custodian job; ``command`` is the user's, None for the code's default."""
        ...

    def handlers(self, task: Task = Task.LABEL) -> Sequence[ErrorHandler]:
        """Fresh error handlers, in order of priority."""
        ...

    def validators(self, task: Task = Task.LABEL) -> Sequence[Validator]:
        """Fresh validators: is the output complete?"""
        ...

    def settings_of_inputs(self, directory: Path) -> dict[str, str]:
        """Every setting in the input files as ``"FILE/KEY": value``, for comparing before and after.

        Structure files appear as one entry, ``"POSCAR": <content>``.
        """
        ...

    def stop(self, directory: Path) -> bool:
        """Ask the running program to end after its present ionic step; False if it has no such way."""
        ...

    def last_words(self, directory: Path) -> str:
        """The code's own explanation of a failure, in one line; empty if it left none."""
        ...

    def read_label(self, directory: Path, atoms: Atoms, dft: Dft) -> Label:
        """The label, in the atom order of ``atoms``.

        Raises:
            CalculationError: unconverged, incomplete, or computed for another structure than ``atoms``
                (species, positions or cell differ by more than 1e-4 Å).
        """
        ...

    def read_steps(self, directory: Path, atoms: Atoms, dft: Dft, task: Task) -> LabelledFrames | None:
        """The complete ionic steps of the last attempt, in the atom order of ``atoms``; None without any.

        A step that was being written when the program died is left out, an unconverged one is marked.

        Raises:
            CalculationError: they belong to other atoms.
        """
        ...

    def frames_asked(self, dft: Dft) -> int:
        """How many frames AIMD with this control file gives; the first structure counts where it is written.

        Raises:
            InputError: the control file does not say.
        """
        ...

    def complete(self, directory: Path, task: Task) -> bool:
        """Whether the last attempt did all it was asked to do: ionic convergence reached, all steps made."""
        ...

    def settings(self, directory: Path) -> dict[str, Any]:
        """The level of theory that really ran, read back from the run.

        It is a property of the method, not of the structure or the task: two cells labelled at the same level
        give equal settings. What ``rules`` calls numerical is left out.
        """
        ...


@dataclass(frozen=True)
class Record:
    """Where a result comes from.

    Attributes:
        settings: level of theory as run.
        settings_hash: `settings_hash` of it; a data set admits one.
        corrections: what custodian repaired, in order: ``handler``, ``kind``, ``errors``, ``actions``,
            ``changed`` (settings).
        wall_time: seconds, all attempts together.
        directory: where the files lie.
        changes: what was changed in the user's control file.
    """

    settings: dict[str, Any]
    settings_hash: str
    corrections: list[dict[str, Any]]
    wall_time: float
    directory: Path
    changes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LabelResult(Record):
    """A label and where it comes from; ``label`` is in eV, eV/Å and eV."""

    label: Label = field(kw_only=True)


@dataclass(frozen=True)
class Steps(Record):
    """The ionic steps of a relaxation or of AIMD, and where they come from.

    Attributes:
        frames: every finished step of all attempts, in order; unconverged ones are marked.
        hashes: level of theory of each step; more than one only where the user allowed physics-changing
            corrections.
        complete: whether it did all that was asked; otherwise the time ran out, and running it again in the
            same folder goes on.
        rejected: steps that can be no label by reason: their SCF did not converge, their numbers are not
            credible. They are marked as unconverged in ``frames``.
    """

    frames: LabelledFrames = field(kw_only=True)
    hashes: list[str] = field(kw_only=True)
    complete: bool = field(kw_only=True)
    rejected: dict[str, int] = field(kw_only=True, default_factory=dict)

    @property
    def structure(self) -> Atoms:
        """The last geometry."""
        return self.frames[-1].atoms


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of the settings as canonical JSON: sorted keys, no blanks, no NaN."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
