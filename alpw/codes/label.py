"""Label one structure: write the inputs, run under custodian, read, and believe only what can be checked."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from custodian.custodian import Custodian, CustodianError, ValidationError

from alpw.codes.handlers import DeadlineHandler
from alpw.codes.process import ProcessJob, run_custodian
from alpw.codes.protocol import LabelResult, SinglePointCode, settings_hash
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.structures.frame import Label
from alpw.structures.sanity import defect

if TYPE_CHECKING:
    from alpw.config import Dft

logger = logging.getLogger(__name__)

REQUEST_FILE = "request.sha256"
"""Tells what the files in a folder were made for."""


def run_label(
    code: SinglePointCode,
    atoms: Atoms,
    directory: str | Path,
    dft: Dft,
    command: str | None = None,
    *,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
    max_errors: int = 6,
) -> LabelResult:
    """Energy, forces and virial of ``atoms`` from an external code, repaired where that is safe.

    A finished calculation of the same structure, settings and command that lies in ``directory`` already is
    read instead of being run again: its worker may have died before it could report.

    Args:
        code: from `alpw.codes.registry.single_point_code`.
        atoms: structure, positions and cell in Å.
        directory: where to run; created if missing. The working directory of this process is not changed.
        dft: the ``dft`` section of ``param.json``.
        command: the program call, such as ``mpirun -np 2 cp2k.psmp``; None or empty for the code's default.
        timeout: wall time in seconds for all attempts together; None for no limit.
        environment: variables for the program, on top of this process's own.
        max_errors: give up after this many corrections.

    Raises:
        CalculationError: no trustworthy label; ``kind`` says why, the text ends in the code's own words.
    """
    folder = Path(directory).resolve()
    started = time.monotonic()
    try:
        code.check(dft, sorted(set(atoms.get_chemical_symbols())))
    except InputError as error:
        raise CalculationError(str(error), FailureKind.INPUT, folder) from error
    if reason := defect(atoms):
        raise CalculationError(reason, FailureKind.GEOMETRY, folder)
    try:
        code.check_structure(atoms, dft)
    except InputError as error:
        raise CalculationError(str(error), FailureKind.GEOMETRY, folder) from error

    folder.mkdir(parents=True, exist_ok=True)
    if finished := _finished(code, atoms, folder, dft, command):
        return finished
    try:
        changes = code.write_inputs(atoms, folder, dft)
        (folder / REQUEST_FILE).write_text(_request(atoms, dft, command))
        job = code.job(command, environment)
        deadline = [DeadlineHandler(timeout)] if timeout is not None else []
        run_custodian(job, folder, [*deadline, *code.handlers()], code.validators(), max_errors=max_errors)
    except InputError as error:
        raise CalculationError(str(error), FailureKind.INPUT, folder) from error
    except CustodianError as error:
        raise _failure(error, code, atoms, folder, job) from error

    return _result(code, atoms, folder, time.monotonic() - started, changes)


def _result(
    code: SinglePointCode, atoms: Atoms, folder: Path, wall_time: float, changes: list[str]
) -> LabelResult:
    label = code.read_label(folder, atoms)
    check_label(label, atoms, code.net_force_tolerance, folder)
    settings = code.settings(folder)
    return LabelResult(
        label=label,
        settings=settings,
        settings_hash=settings_hash(settings),
        corrections=read_corrections(folder),
        wall_time=wall_time,
        directory=folder,
        changes=changes,
    )


def _request(atoms: Atoms, dft: Dft, command: str | None) -> str:
    """Hash of what was asked for: structure, ``dft`` section, control file's content, command."""
    digest = hashlib.sha256(f"{dft.model_dump_json()}{command}".encode())
    digest.update(dft.input.read_bytes() if dft.input else b"")
    for array in (atoms.numbers, atoms.pbc, atoms.positions, np.asarray(atoms.cell)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _finished(
    code: SinglePointCode, atoms: Atoms, folder: Path, dft: Dft, command: str | None
) -> LabelResult | None:
    """The label of a complete earlier run in ``folder`` that answers the same request, if there is one."""
    request = folder / REQUEST_FILE
    if not request.is_file() or request.read_text() != _request(atoms, dft, command):
        return None
    if any(validator.check(folder) for validator in code.validators()):
        return None
    newest = max(path.stat().st_mtime for path in folder.iterdir())
    try:
        found = _result(code, atoms, folder, newest - request.stat().st_mtime, [])
    except CalculationError as error:
        logger.info("%s: an earlier run is of no use: %s", folder, error)
        return None
    logger.info("%s: read the label of an earlier run", folder)
    return found


def check_label(label: Label, atoms: Atoms, net_force_tolerance: float, directory: Path) -> None:
    """Raise `CalculationError` of kind ``output`` unless the numbers can be a label of ``atoms``.

    Args:
        label: what the code gave.
        atoms: the structure.
        net_force_tolerance: largest norm of the mean force in eV/Å.
        directory: for the message.
    """
    shape = label.forces.shape
    if shape != (len(atoms), 3):
        raise CalculationError(
            f"forces of shape {shape} for {len(atoms)} atoms", FailureKind.OUTPUT, directory
        )
    virial = np.zeros((3, 3)) if label.virial is None else label.virial
    if virial.shape != (3, 3):
        raise CalculationError(f"virial of shape {virial.shape}", FailureKind.OUTPUT, directory)
    if not (np.isfinite(label.energy) and np.isfinite(label.forces).all() and np.isfinite(virial).all()):
        raise CalculationError(
            "energy, forces or virial are not finite numbers", FailureKind.OUTPUT, directory
        )
    net_force = float(np.linalg.norm(label.forces.mean(axis=0)))
    if net_force > net_force_tolerance:
        raise CalculationError(
            f"the mean force is {net_force:.2g} eV/Å where {net_force_tolerance:g} is credible: the forces "
            "do not belong together, or the integration grid is too coarse",
            FailureKind.OUTPUT,
            directory,
        )


def read_corrections(directory: Path) -> list[dict[str, Any]]:
    """What custodian repaired or tried to, in order, from its run log in ``directory``."""
    path = directory / Custodian.LOG_FILE
    if not path.is_file():
        return []
    corrections = [entry for job in json.loads(path.read_text()) for entry in job["corrections"]]
    return [entry | {"handler": entry["handler"]["@class"]} for entry in corrections]


def _failure(
    error: CustodianError, code: SinglePointCode, atoms: Atoms, directory: Path, job: ProcessJob
) -> CalculationError:
    """What custodian gave up on, in the terms of the handler that could not repair it."""
    if isinstance(error, ValidationError):
        try:
            code.read_label(directory, atoms)
        except CalculationError as reason:
            return reason
        return CalculationError(error.message, FailureKind.OUTPUT, directory)
    corrections = read_corrections(directory)
    hopeless = [entry for entry in corrections if not entry["actions"]]
    last = (hopeless or corrections)[-1:]
    kind = FailureKind(last[0]["kind"]) if last else FailureKind.CRASH
    reasons = [entry["errors"][0] for entry in last]
    status = job.returncode or 0
    if status and kind is FailureKind.CRASH:
        reasons.append(f"killed by signal {-status}" if status < 0 else f"exit status {status}")
    repairs = len(corrections) - len(hopeless)
    if repairs:
        reasons.append(f"after {repairs} correction{'s' * (repairs > 1)}")
    words = code.last_words(directory)
    if words and words not in reasons:
        reasons.append(words)
    return CalculationError("; ".join(reasons), kind, directory)
