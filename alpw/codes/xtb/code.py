"""GFN-xTB as a single-point code."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from custodian.custodian import ErrorHandler, Validator

from alpw.codes.handlers import tail
from alpw.codes.process import split_command
from alpw.codes.xtb import inputs, outputs
from alpw.codes.xtb.handlers import XtbCrashHandler, XtbRefusalHandler, XtbScfHandler
from alpw.codes.xtb.jobs import DEFAULT_COMMAND, XtbJob
from alpw.codes.xtb.validators import XtbValidator
from alpw.structures.frame import Label

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

    def available(self) -> tuple[bool, str]:
        try:
            return True, f"tblite {importlib.metadata.version('tblite')}"
        except importlib.metadata.PackageNotFoundError:
            return False, "tblite is missing; pip install tblite"

    def check(self, dft: Dft, elements: Iterable[str]) -> None:
        inputs.check(dft, elements)

    def check_structure(self, atoms: Atoms, dft: Dft) -> None:
        inputs.check_structure(atoms, dft)

    def write_inputs(self, atoms: Atoms, directory: Path, dft: Dft) -> list[str]:
        return inputs.write_inputs(atoms, directory, dft)

    def job(self, command: str | None, environment: Mapping[str, str] | None = None) -> XtbJob:
        return XtbJob(split_command(command) if command else DEFAULT_COMMAND, environment=environment)

    def handlers(self) -> list[ErrorHandler]:
        return [XtbScfHandler(), XtbRefusalHandler(), XtbCrashHandler()]

    def validators(self) -> list[Validator]:
        return [XtbValidator()]

    def last_words(self, directory: Path) -> str:
        result = outputs.read_result(directory)
        if result and result["error"]:
            return str(result["error"])
        return " ".join(tail(directory / "job.err", 300).splitlines()[-1:])

    def read_label(self, directory: Path, atoms: Atoms) -> Label:
        return outputs.read_label(directory, atoms)

    def settings(self, directory: Path) -> dict[str, Any]:
        return outputs.settings(directory)
