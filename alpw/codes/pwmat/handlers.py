"""What can go wrong in a PWmat run, and what may be done about it.

custodian has nothing for PWmat. Smearing, PRECISION, tolerances, cutoffs and k-points are never touched: they
change the physics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from custodian.custodian import ErrorHandler

from alpw.codes.failures import match
from alpw.codes.handlers import SYSTEM_PATTERNS, CrashHandler, FailurePattern, correction, tail
from alpw.codes.process import TERMINATED
from alpw.codes.protocol import Task
from alpw.codes.pwmat import outputs
from alpw.codes.pwmat.corrections import SCF_LINE, scf_lines
from alpw.codes.pwmat.etot import INPUT, Etot, read_etot
from alpw.codes.pwmat.jobs import OUTPUT
from alpw.codes.pwmat.keys import number
from alpw.codes.pwmat.pseudo import Mode, mode_of
from alpw.codes.pwmat.report import END_MARK, REPORT, Report, last_steps, read_report
from alpw.codes.pwmat.steps import MOVEMENT, read_frames
from alpw.errors import FailureKind

FILES = ("job.err", OUTPUT)

_INPUT_ERRORS = (
    r".*((does not|doesn't|not) exist|no such item|must be (specified|two)|is not recogni[sz]ed|unknown key|"
    r"is given twice|error in reading|set to a wrong value).*",
    r".*(etot\.input|JOB|XCFUNCTIONAL|first line).* should be.*",
    r".*(node1\s*\*\s*node2|number of processors|num_group|first line in).*",
    r".*(no pseudopotential|pseudopotential.*(missing|different|not in)|atom type of|atomic number from).*",
    r".*(keyword .* is needed|equivalent atom not found|not divisible|beyond this).*",
)

PATTERNS = (
    FailurePattern(r".*(CUDA|GPU|cpu)?\s*MEMORY INSUFFIC\w+.*", FailureKind.MEMORY, False),
    *SYSTEM_PATTERNS,
    *(FailurePattern(pattern, FailureKind.INPUT, False) for pattern in _INPUT_ERRORS),
)
"""Why PWmat stopped; its words for bad input are known from few samples, so that some are guessed broadly."""

LESS_MEMORY = {"NUM_BLOCKED_PSI": "T", "WF_STORE2DISK": "1"}
"""Wavefunctions in blocks on the accelerator, and on disk instead of in memory."""

MIXING_LADDER: tuple[dict[str, str], ...] = (
    {},
    {"KERK_AMIX": "0.2", "KERK_AMIN": "0.1"},
    {"KERK_AMIX": "0.05", "KERK_AMIN": "0.05", "KERK_BMIX": "1.0"},
)
STEPS_LADDER = ((200, 100), (300, 150), (500, 300))
"""Iterations of the first ionic step and of later ones."""

BAD_STEPS = 3
"""SCFs in a row that fail before a relaxation or AIMD is stopped."""


class PwmatScfHandler(ErrorHandler):
    """``ending_scf_reason = niter reached`` in REPORT, and the last iteration was not within the tolerances.

    A label is judged when it has ended. A relaxation or AIMD is stopped after three failures in a row; what
    was finished is kept, the failed steps are marked, and it goes on from the last step.

    Corrections, in order, all numerical:

    1. 200 SCF iterations (100 in later ionic steps);
    2. 300 (150), and the density mixed by KERK_AMIX = 0.2, KERK_AMIN = 0.1 in place of 0.4 and 0.3;
    3. 500 (300), KERK_AMIX = KERK_AMIN = 0.05 and KERK_BMIX = 1.0, for charge sloshing in large metallic
       cells.

    Then the label is given up. DFTB has none of these knobs: it is given up at once.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.is_monitor = task is not Task.LABEL

    def check(self, directory: str | Path = "./") -> bool:
        folder = Path(directory)
        if self.task is Task.LABEL:
            report = read_report(folder)
            return report.ended and _failed(report, folder, 1)
        if END_MARK in tail(folder / REPORT, 500):
            return False
        return _failed(last_steps(folder), folder, BAD_STEPS)

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        folder = Path(directory)
        report = read_report(folder)
        error = "the SCF did not converge"
        if report.steps:
            error += f": {report.steps[-1].reason}"
        etot = read_etot(folder / INPUT)
        rung = self.n_applied_corrections
        if rung >= len(MIXING_LADDER) or mode_of(etot) is Mode.DFTB:
            return correction(FailureKind.SCF, error, None)
        change = raise_steps(etot, report, *STEPS_LADDER[rung]) | MIXING_LADDER[rung]
        if "KERK_AMIX" in change and "KERK_AMIX_MAG" in etot:
            change["KERK_AMIX_MAG"] = change["KERK_AMIX"]
        for key, value in change.items():
            etot.set(key, value)
        (folder / INPUT).write_text(str(etot))
        return correction(FailureKind.SCF, error, [{"dict": INPUT, "action": {"_set": change}}])


def _failed(report: Report, directory: Path, in_a_row: int) -> bool:
    if not report.steps:
        return False
    verdicts = report.converged(read_etot(directory / INPUT))
    return len(verdicts) >= in_a_row and not any(verdicts[-in_a_row:])


def raise_steps(etot: Etot, report: Report, first: int, later: int) -> dict[str, str]:
    """The settings that allow at least so many SCF iterations, keeping all else that the SCF lines hold.

    Args:
        etot: the input.
        report: of the last run, which may echo the lines that the input leaves to PWmat.
        first: iterations of the first ionic step.
        later: iterations of each later ionic step.
    """
    change = {}
    if "MAX_SCF_ITER" in etot:
        change["MAX_SCF_ITER"] = f"{max(first, int(etot.words('MAX_SCF_ITER')[0]))}"
        if not any(SCF_LINE.fullmatch(key) for key in etot):
            return change
    lines = scf_lines(etot, report)
    for stage, steps in (("SCF_ITER0_", first), ("SCF_ITER1_", later)):
        keys = [key for key in lines if key.startswith(stage)]
        for key in keys:
            words = list(lines[key])
            if key == keys[-1]:
                words[0] = f"{max(steps, int(number(words[0])))}"
            if key not in etot or key == keys[-1]:
                change[key] = " ".join(words)
    return change


class PwmatCrashHandler(CrashHandler):
    """The last line of REPORT does not tell the computation time: PWmat did not come to its end.

    Failures and corrections, in order, all numerical:

    1. The accelerator's memory is too small for the wavefunctions: NUM_BLOCKED_PSI = T and WF_STORE2DISK = 1,
       once, as PWmat's manual advises; not beside ENERGY_DECOMP = T, whose energies come out wrong then, and
       not without plane waves. The node grid stays: another one may change the FFT grid, and the numbers.
    2. It said why otherwise (bad input, a missing pseudopotential, a wrong node grid, no licence): given up
       where a rerun cannot help.
    3. It made ionic steps: given up; they are kept, and the calculation goes on from the last.
    4. Anything else (SIGKILL, GPU fault, lost node): run again, at most twice.
    """

    patterns: ClassVar[tuple[FailurePattern, ...]] = PATTERNS
    files: ClassVar[tuple[str, ...]] = FILES

    def finished(self, directory: Path) -> bool:
        return END_MARK in tail(directory / REPORT, 500)

    def steps_done(self, directory: Path) -> bool:
        return read_frames(directory / MOVEMENT) is not None

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        folder = Path(directory)
        etot = read_etot(folder / INPUT)
        found = match("\n".join(tail(folder / name) for name in FILES), PATTERNS)
        useless = etot.flag("ENERGY_DECOMP") or mode_of(etot) is not Mode.PLANE_WAVES
        if not found or found[0].kind is not FailureKind.MEMORY or useless:
            return super().correct(directory)
        if not [change for key, value in LESS_MEMORY.items() for change in etot.set(key, value)]:
            return correction(FailureKind.MEMORY, found[1], None)
        (folder / INPUT).write_text(str(etot))
        action = {"dict": INPUT, "action": {"_set": LESS_MEMORY}}
        return correction(FailureKind.MEMORY, found[1], [action])


class PwmatOutputHandler(ErrorHandler):
    """PWmat ended regularly, but a result is missing, cut short or not a number.

    Correction: run it again, at most twice; the machine lost or spoilt a file.
    """

    reruns: ClassVar[int] = 2

    def __init__(self, task: Task) -> None:
        self.task = task

    def check(self, directory: str | Path = "./") -> bool:
        folder = Path(directory)
        ended = END_MARK in tail(folder / REPORT, 500) and TERMINATED not in tail(folder / "job.err")
        return ended and bool(outputs.missing(folder, self.task))

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        folder = Path(directory)
        reason = outputs.missing(folder, self.task) or "incomplete output"
        rerun = self.n_applied_corrections + 1
        hopeless = rerun > self.reruns or (self.task is not Task.LABEL and _steps_made(folder))
        kind = FailureKind.UNKNOWN if outputs.NOT_FINITE in reason else FailureKind.NODE
        return correction(kind, reason, None if hopeless else [{"rerun": rerun}])


def _steps_made(directory: Path) -> bool:
    return read_frames(directory / MOVEMENT) is not None


class PwmatRelaxHandler(ErrorHandler):
    """A relaxation used up its steps without ``*END`` in RELAXSTEPS, and its energy does not fall any more.

    No correction: going on would change nothing. One that still falls is continued, a bounded number of
    times, without this handler.
    """

    steps: ClassVar[int] = 10
    """too few to judge"""
    fall: ClassVar[float] = 1e-6
    """eV per atom by which the energy must still fall in the second half of the steps"""

    def check(self, directory: str | Path = "./") -> bool:
        folder = Path(directory)
        if END_MARK not in tail(folder / REPORT, 500) or outputs.complete(folder, Task.RELAX):
            return False
        frames = read_frames(folder / MOVEMENT)
        if frames is None or len(frames) < self.steps:
            return False
        half = len(frames) // 2
        fall = frames.energies[:half].min() - frames.energies[half:].min()
        return bool(np.isfinite(fall) and fall < self.fall * len(frames.numbers))

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        frames = read_frames(Path(directory) / MOVEMENT)
        steps = len(frames) if frames is not None else 0
        largest = (
            float(np.linalg.norm(frames.forces[-1], axis=1).max()) if frames is not None else float("nan")
        )
        error = (
            f"the relaxation is stuck: the energy no longer falls after {steps} steps, the largest force is "
            f"{largest:.3g} eV/Å"
        )
        return correction(FailureKind.GEOMETRY, error, None)
