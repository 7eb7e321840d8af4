"""What can go wrong in a VASP run, and what may be done about it.

What VASP says is recognised by the words that custodian knows. What is done about it first is a ladder of
our own, numerical only and in the order of cost; when it is used up, custodian's correction is tried. Most of
those change the physics; they are admitted where `alpw.codes.corrections.GuardedHandler` lets them through:
never for a label.

Not used at all: `UnconvergedErrorHandler` and `PotimErrorHandler`, which turn AIMD into a relaxation;
`LargeSigmaHandler`, `IncorrectSmearingHandler`, `AliasingErrorHandler` and `DriftErrorHandler`, which replace
the user's smearing and precision; `WalltimeHandler`, for the engine stops a run itself.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from custodian.custodian import ErrorHandler
from custodian.vasp.handlers import AliasingErrorHandler, StdErrHandler, VaspErrorHandler

from alpw.codes.failures import MEMORY_PATTERNS, FailurePattern, match
from alpw.codes.handlers import SYSTEM_PATTERNS, CrashHandler, correction, tail
from alpw.codes.process import TERMINATED
from alpw.codes.protocol import Task
from alpw.codes.vasp.corrections import settings_of_inputs
from alpw.codes.vasp.incar import Incar
from alpw.codes.vasp.jobs import OUTPUT
from alpw.codes.vasp.ladders import LADDERS, apply, half_kpar, next_step, scf_ladder
from alpw.codes.vasp.messages import ERRORS_FILE, INPUT_PATTERNS, KINDS, WARNINGS, errors_in, said, words_of
from alpw.codes.vasp.progress import (
    has_steps,
    is_complete,
    is_positive,
    recent_electronic_steps,
    scf_failed,
)
from alpw.errors import FailureKind, InputError

__all__ = ["KINDS", "handlers"]

logger = logging.getLogger(__name__)

UNCONVERGED_STEPS = 5
"""Ionic steps in a row without SCF convergence before a relaxation or AIMD is stopped for it."""

FALLBACKS = 2
"""Times that custodian's correction of one error is tried after our own are used up."""


def handlers(task: Task) -> list[ErrorHandler]:
    """Fresh handlers for one run, in order of priority."""
    scf = VaspScfHandler() if task is Task.LABEL else VaspStepsScfHandler()
    energy = [VaspEnergyHandler()] if task is Task.LABEL else []
    return [
        VaspMemoryHandler(),
        VaspMessageHandler(),
        VaspWarningHandler(task),
        scf,
        *energy,
        VaspCrashHandler(task),
    ]


class VaspMessageHandler(ErrorHandler):
    """VASP reports an error, of those that custodian's `VaspErrorHandler` knows.

    Corrections: the error's ladder in `alpw.codes.vasp.ladders`, numerical only. When it is used up,
    custodian's correction, twice at most. It changes the physics in most cases (symmetry, smearing, k-points,
    precision, geometry), so that a label is given up there with the reason.
    """

    is_monitor = True

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.tried: Counter[str] = Counter()
        self.fallbacks: Counter[str] = Counter()
        self._custodian: dict[str, Any] = {}

    def check(self, directory: str | Path = "./") -> bool:
        self.errors = [name for name in errors_in(Path(directory)) if name not in WARNINGS]
        return bool(self.errors)

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        folder = Path(directory)
        incar = Incar.read(folder / "INCAR")
        for name in self.errors:
            if found := next_step(LADDERS.get(name, ()), incar, folder, self.tried[name]):
                self.tried[name], step = found
                return correction(_kind(name), words_of(name, folder), apply(step, folder))
        name = self.errors[0]
        self.fallbacks[name] += 1
        actions = self._ask_custodian(name, folder) if self.fallbacks[name] <= FALLBACKS else None
        return correction(_kind(name), words_of(name, folder), actions or None)

    def _ask_custodian(self, name: str, folder: Path) -> list[dict[str, Any]] | None:
        handler = self._custodian.setdefault(name, _custodian_handler(name))
        handler.errors = {name}
        before = settings_of_inputs(folder)
        try:
            actions: list[dict[str, Any]] | None = handler.correct(directory=str(folder))["actions"]
        # It raises anything on files that are missing or cut short (TypeError on EDDDAV before the first SCF
        # step); the error of VASP is what counts.
        except Exception as error:  # noqa: BLE001
            logger.warning("%s: custodian has no correction of %s: %r", folder, name, error)
            return None
        # The same input would fail in the same way.
        return actions if settings_of_inputs(folder) != before else None


class VaspWarningHandler(VaspMessageHandler):
    """VASP warned, and the run then ended before its time. Corrections: as for an error."""

    is_monitor = False

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def check(self, directory: str | Path = "./") -> bool:
        folder = Path(directory)
        if is_complete(folder, self.task) or TERMINATED in tail(folder / ERRORS_FILE):
            return False
        found = errors_in(folder)
        self.errors = found if WARNINGS.issuperset(found) else []
        return bool(self.errors)


class VaspMemoryHandler(ErrorHandler):
    """The memory is too small. Correction, numerical only: half as many groups of k-points (KPAR), once."""

    patterns: ClassVar[tuple[FailurePattern, ...]] = (
        *MEMORY_PATTERNS,
        *(
            FailurePattern(rf".*{w}.*", FailureKind.MEMORY, False)
            for w in StdErrHandler.error_msgs["out_of_memory"]
        ),
    )
    is_monitor = True

    def check(self, directory: str | Path = "./") -> bool:
        return match(said(Path(directory)), self.patterns) is not None

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        folder = Path(directory)
        found = match(said(folder), self.patterns)
        step = half_kpar(Incar.read(folder / "INCAR"), folder) if self.n_applied_corrections == 0 else None
        words = found[1] if found else "out of memory"
        return correction(FailureKind.MEMORY, words, apply(step, folder) if step else None)


class VaspScfHandler(ErrorHandler):
    """The self-consistency loop of a label ended at NELM. VASP goes on and exits with 0.

    Corrections, numerical only, in order: NELM 200 with blocked Davidson; ALGO = All; linear mixing; mixing
    for charge sloshing. Hybrids and meta-GGAs: ALGO = All; ALGO = Damped. See
    `alpw.codes.vasp.ladders.scf_ladder`.
    """

    is_monitor = False

    def __init__(self) -> None:
        self.tried = 0

    def check(self, directory: str | Path = "./") -> bool:
        return scf_failed(Path(directory))

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        folder = Path(directory)
        incar = Incar.read(folder / "INCAR")
        found = next_step(scf_ladder(incar), incar, folder, self.tried)
        actions = None
        if found:
            self.tried, step = found
            actions = apply(step, folder)
        return correction(FailureKind.SCF, self.words, actions)

    words: ClassVar[str] = "the SCF did not converge within NELM steps"


class VaspStepsScfHandler(VaspScfHandler):
    """Five ionic steps in a row of a relaxation or AIMD ended at NELM. Corrections: those of a label.

    Single unconverged steps are no failure: they are left out of the data.
    """

    is_monitor = True
    words: ClassVar[str] = f"the SCF did not converge in {UNCONVERGED_STEPS} ionic steps in a row"

    def check(self, directory: str | Path = "./") -> bool:
        folder = Path(directory)
        try:
            limit = Incar.read(folder / "INCAR").integer("NELM", 60)
        except InputError:
            return False
        steps = recent_electronic_steps(folder)[-UNCONVERGED_STEPS:]
        return len(steps) == UNCONVERGED_STEPS and min(steps) >= limit


class VaspEnergyHandler(ErrorHandler):
    """The total energy is positive: an SCF that went astray with RMM-DIIS, or atoms far too close.

    Correction, numerical only: ALGO = Normal. Then the label is given up.
    """

    is_monitor = False

    def check(self, directory: str | Path = "./") -> bool:
        folder = Path(directory)
        return not scf_failed(folder) and is_positive(folder)

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        folder = Path(directory)
        incar = Incar.read(folder / "INCAR")
        found = next_step(LADDERS["eddrmm"][:1], incar, folder, 0)
        return correction(
            FailureKind.SCF, "positive total energy", apply(found[1], folder) if found else None
        )


class VaspCrashHandler(CrashHandler):
    """VASP did not come to its regular end, for no reason that it gave.

    Failures and corrections, in order:

    1. The input cannot work (unreadable tag, no POTCAR, no such program): give up, a rerun cannot help.
    2. A relaxation or AIMD made steps: give up; they are kept, and it goes on from the last.
    3. Anything else (SIGKILL, segmentation fault, lost node, OUTCAR or vasprun.xml cut short): run it again,
       at most twice.

    Numerical only: the input is not touched.
    """

    files: ClassVar[tuple[str, ...]] = (ERRORS_FILE, OUTPUT)
    patterns: ClassVar[tuple[FailurePattern, ...]] = (*INPUT_PATTERNS, *SYSTEM_PATTERNS)

    def __init__(self, task: Task) -> None:
        self.task = task

    def finished(self, directory: Path) -> bool:
        """Regularly, or for a reason that another handler knows."""
        if is_complete(directory, self.task):
            return True
        return bool(errors_in(directory)) or match(said(directory), VaspMemoryHandler.patterns) is not None

    def steps_done(self, directory: Path) -> bool:
        return self.task is not Task.LABEL and has_steps(directory)


def _kind(name: str) -> FailureKind:
    return KINDS.get(name, FailureKind.UNKNOWN)


def _custodian_handler(name: str) -> ErrorHandler:
    if name == "aliasing_incar":
        return AliasingErrorHandler(OUTPUT)
    if name not in VaspErrorHandler.error_msgs:
        return StdErrHandler(ERRORS_FILE)
    return VaspErrorHandler(OUTPUT, errors_subset_to_catch=[name])
