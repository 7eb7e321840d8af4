"""GFN-xTB as a code for labels, relaxations and MD."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ase import Atoms
from custodian.custodian import ErrorHandler

from alpw.codes.ase.driver import DriverCode
from alpw.codes.ase.handlers import DriverCrashHandler
from alpw.codes.corrections import Rules
from alpw.codes.protocol import Task
from alpw.codes.xtb import inputs, outputs
from alpw.codes.xtb.corrections import INPUT, RULES
from alpw.codes.xtb.handlers import XtbRefusalHandler, XtbScfHandler

if TYPE_CHECKING:
    from alpw.config import Dft


class Xtb(DriverCode):
    """GFN1-xTB (or GFN2-xTB) through tblite, at the Γ point.

    Good for demonstrations and for pre-sampling at a fixed cell. Against DFT its forces in silicon are off by
    about 20 % and its pressure by several GPa, and metals are worse: do not publish from it, do not relax a
    cell with it.
    """

    name = "xtb"
    # Forces are analytic and translationally invariant; 1e-5 eV/Å is what the SCF threshold leaves.
    net_force_tolerance = 1e-5
    document: ClassVar[str] = INPUT
    driver: ClassVar[str] = "alpw.codes.xtb.run"
    inputs: tuple[str, ...] = (INPUT,)
    rules: Rules = RULES

    def available(self) -> tuple[bool, str]:
        try:
            # Its library needs others, which a slim container may lack.
            import_module("tblite.interface")
            return True, f"tblite {version('tblite')}"
        except ImportError as error:
            return False, f"tblite cannot be loaded; pip install tblite ({error.__cause__ or error})"

    def check(self, dft: Dft, elements: Iterable[str], task: Task = Task.LABEL) -> None:
        inputs.check(dft, elements, task)

    def further_files(self, dft: Dft, elements: Iterable[str]) -> list[Path]:
        """None: the block names them all, and what the program brings along belongs to its version."""
        return []

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

    def handlers(self, task: Task = Task.LABEL) -> list[ErrorHandler]:
        return [XtbScfHandler(), XtbRefusalHandler(), DriverCrashHandler()]

    def settings(self, directory: Path) -> dict[str, Any]:
        return outputs.settings(directory)
