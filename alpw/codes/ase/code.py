"""Any ASE calculator, or a model of our own, as a code for labels, relaxations and MD."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ase import Atoms

from alpw.codes.ase import inputs
from alpw.codes.ase.calculators import PACKAGES
from alpw.codes.ase.corrections import INPUT, RULES
from alpw.codes.ase.driver import DriverCode
from alpw.codes.ase.outputs import described
from alpw.codes.corrections import Rules
from alpw.codes.protocol import Task

if TYPE_CHECKING:
    from alpw.config import Dft


class Ase(DriverCode):
    """A calculator by its import path, or a Deep Potential by its file.

    For pre-sampling with a universal force field, and for labels by it. Its labels are as good as the force
    field is; one data set holds those of one calculator, its version and its arguments.
    """

    name = "ase"
    # Forces that are a derivative sum to zero within rounding: 1e-4 eV/Å in single precision. Models that
    # predict forces directly leave a net force of about their error, 0.05 eV/Å; more tells a broken output.
    net_force_tolerance = 5e-2
    document: ClassVar[str] = INPUT
    driver: ClassVar[str] = "alpw.codes.ase.run"
    inputs: tuple[str, ...] = (INPUT,)
    rules: Rules = RULES

    def available(self) -> tuple[bool, str]:
        found = sorted(module for module in PACKAGES if find_spec(module) is not None)
        others = f", with {', '.join(found)}" if found else ""
        return True, f"ASE {importlib.metadata.version('ase')}{others}, and models of our own"

    def check(self, dft: Dft, elements: Iterable[str], task: Task = Task.LABEL) -> None:
        inputs.check(dft, elements, task)

    def further_files(self, dft: Dft, elements: Iterable[str]) -> list[Path]:
        """The model file, and the files among the arguments of the calculator."""
        return inputs.further_files(dft)

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
        return inputs.write_inputs(atoms, directory, dft, task)

    def settings(self, directory: Path) -> dict[str, Any]:
        """Level of theory as run: calculator, arguments, package and version, files by their content."""
        return {"code": "ase", **described(directory)["level"]}
