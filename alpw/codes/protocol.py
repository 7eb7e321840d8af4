"""What every single-point code gives: the same few methods, checked by the type checker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ase import Atoms
from custodian.custodian import ErrorHandler, Validator

from alpw.codes.process import ProcessJob
from alpw.structures.frame import Label

if TYPE_CHECKING:
    from alpw.config import Dft

INPUTS_FILE = "inputs.json"
"""Record of what the program changed in the user's control file, and by which rules."""


class SinglePointCode(Protocol):
    """A program that gives energy, forces and virial of one structure.

    Attributes:
        name: the ``dft_style`` of ``param.json``.
        net_force_tolerance: largest credible norm of the mean force in eV/Å. Forces sum to zero; what remains
            is the code's integration grid, more means a broken output.
    """

    name: str
    net_force_tolerance: float

    def available(self) -> tuple[bool, str]:
        """Whether the program can run here, and its version or what to install."""
        ...

    def check(self, dft: Dft, elements: Iterable[str]) -> None:
        """Raise `InputError` for whatever can be known to fail before anything is submitted."""
        ...

    def check_structure(self, atoms: Atoms, dft: Dft) -> None:
        """Raise `InputError` if this structure is outside what the code can label."""
        ...

    def write_inputs(self, atoms: Atoms, directory: Path, dft: Dft) -> list[str]:
        """Write the input files; returns each change made to the user's own settings, in words."""
        ...

    def job(self, command: str | None, environment: Mapping[str, str] | None = None) -> ProcessJob:
        """The custodian job; ``command`` is the user's, None for the code's default."""
        ...

    def handlers(self) -> Sequence[ErrorHandler]:
        """Fresh error handlers, in order of priority; none of them may change the physics of the label."""
        ...

    def validators(self) -> Sequence[Validator]:
        """Fresh validators: is the output complete?"""
        ...

    def last_words(self, directory: Path) -> str:
        """The code's own explanation of a failure, in one line; empty if it left none."""
        ...

    def read_label(self, directory: Path, atoms: Atoms) -> Label:
        """The label, in the atom order of ``atoms``.

        Raises:
            CalculationError: unconverged, incomplete, or computed for another structure than ``atoms``
                (species, positions or cell differ by more than 1e-4 Å).
        """
        ...

    def settings(self, directory: Path) -> dict[str, Any]:
        """The level of theory that really produced the label, read back from the run.

        It is a property of the method, not of the structure: two cells labelled at the same level give equal
        settings. Numerical-path keys (mixing, algorithm, number of SCF steps) are left out.
        """
        ...


@dataclass(frozen=True)
class LabelResult:
    """A label and where it comes from.

    Attributes:
        label: energy eV, forces eV/Å, virial eV.
        settings: level of theory as run.
        settings_hash: `settings_hash` of it; a data set admits one.
        corrections: what custodian repaired, in order: ``handler``, ``kind``, ``errors``, ``actions``,
            ``numerical``.
        wall_time: seconds, all attempts together.
        directory: where the files lie.
        changes: what was changed in the user's control file.
    """

    label: Label
    settings: dict[str, Any]
    settings_hash: str
    corrections: list[dict[str, Any]]
    wall_time: float
    directory: Path
    changes: list[str] = field(default_factory=list)


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of the settings as canonical JSON: sorted keys, no blanks, no NaN."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
