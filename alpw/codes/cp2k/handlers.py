"""What can go wrong in a CP2K run, and what may be done about it.

custodian's own handlers for CP2K are not used: they change smearing and ADDED_MOS, hence the physics, write a
keyword beside its alias, which CP2K refuses, and end jobs by ``killall``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from custodian.custodian import ErrorHandler

from alpw.codes.cp2k.corrections import INPUT
from alpw.codes.cp2k.jobs import OUTPUT
from alpw.codes.cp2k.outputs import POSITIONS, md_is_complete, read_output
from alpw.codes.cp2k.sections import Section, read
from alpw.codes.handlers import MEMORY_PATTERNS, SYSTEM_PATTERNS, CrashHandler, FailurePattern, correction
from alpw.codes.protocol import Task
from alpw.errors import FailureKind
from alpw.formats.cp2k_log import CONVERGED, STOPPED, UNCONVERGED

UNCONVERGED_SHARE = 0.2
"""Largest part of the steps of a relaxation or AIMD whose SCF may fail. They are marked and no labels; more
of
them, and the trajectory itself is not to be trusted."""

FEWEST_STEPS = 5
"""While it runs, that share is judged from so many SCFs on."""

RECENT = 300_000
"""bytes at the end of the output in which the SCFs are counted while it runs."""


class Keyword(NamedTuple):
    """One keyword of the ``&SCF`` section or of a section below it."""

    section: str
    name: str
    value: str
    aliases: tuple[str, ...] = ()


_BROYDEN_ALIASES = ("NBUFFER", "NPULAY", "NMULTISECANT")

DIAGONALIZATION_LADDER = (
    (Keyword("", "MAX_SCF", "150"),),
    (
        Keyword("MIXING", "METHOD", "BROYDEN_MIXING"),
        Keyword("MIXING", "ALPHA", "0.1"),
        Keyword("MIXING", "NBROYDEN", "16", _BROYDEN_ALIASES),
    ),
    (Keyword("", "MAX_SCF", "500"), Keyword("MIXING", "ALPHA", "0.03"), Keyword("MIXING", "BETA", "1.5")),
)

ORBITAL_TRANSFORMATION_LADDER = (
    (Keyword("", "MAX_SCF", "150"),),
    (Keyword("OT", "MINIMIZER", "CG"), Keyword("OT", "LINESEARCH", "3PNT")),
)


class Cp2kScfHandler(ErrorHandler):
    """``SCF run NOT converged``: CP2K 2023.1 warns, goes on and exits with 0; newer versions abort.

    Corrections, in order, all numerical:

    1. MAX_SCF 150;
    2. Broyden mixing with ALPHA 0.1 and NBROYDEN 16 (orbital transformation: conjugate gradients with a
       three-point line search, and then it is given up);
    3. MAX_SCF 500 with ALPHA 0.03 and BETA 1.5, for charge sloshing in large metallic cells.

    Then it is given up. Smearing, ADDED_MOS, cutoffs and EPS_SCF are never touched: they change the physics.

    In a relaxation or AIMD single unconverged steps are no error. As soon as more than a fifth of the last
    steps (of five at least) failed, or CP2K aborted, it is stopped and goes on from its last finished step.
    """

    def __init__(self, task: Task = Task.LABEL) -> None:
        self.task = task
        self.is_monitor = task is not Task.LABEL

    def check(self, directory: str | Path = "./") -> bool:
        if self.task is Task.LABEL:
            return read_output(Path(directory)).unconverged
        recent = read_output(Path(directory), RECENT)
        failed = recent.text.count(UNCONVERGED) - recent.text.count(STOPPED)
        converged = recent.text.count(CONVERGED)
        if UNCONVERGED in recent.abort:
            return True
        enough = recent.ended or failed + converged >= FEWEST_STEPS
        return failed > 0 and enough and failed > UNCONVERGED_SHARE * (failed + converged)

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        path = Path(directory) / INPUT
        root = read(path)
        scf = root.need("FORCE_EVAL/DFT/SCF")
        ladder = ORBITAL_TRANSFORMATION_LADDER if _uses_ot(scf) else DIAGONALIZATION_LADDER
        error = "SCF run NOT converged"
        nothing_left = self.task is Task.AIMD and md_is_complete(Path(directory))
        if self.n_applied_corrections >= len(ladder) or nothing_left:
            return correction(FailureKind.SCF, error, None)
        step = ladder[self.n_applied_corrections]
        for section, name, value, aliases in step:
            (scf.need(section) if section else scf).set(name, value, aliases=aliases)
        path.write_text(str(root))
        change = {"/".join(filter(None, ("SCF", section, name))): value for section, name, value, _ in step}
        return correction(FailureKind.SCF, error, [{"dict": INPUT, "action": {"_set": change}}])


def _uses_ot(scf: Section) -> bool:
    section = scf.find("OT")
    return section is not None and section.argument.upper() not in {"OFF", "F", "FALSE", ".FALSE."}


class Cp2kCrashHandler(CrashHandler):
    """CP2K did not reach ``PROGRAM ENDED AT``, for another reason than its SCF.

    Failures and corrections, in order:

    1. The ``[ABORT]`` box names an input that cannot work, or memory is short: give up, a rerun cannot help.
    2. A relaxation or AIMD has finished steps: give up; it goes on from the last of them.
    3. Anything else (SIGKILL, segmentation fault, lost node, truncated output): run it again, at most twice.

    Numerical only: the input is not touched.
    """

    files: ClassVar[tuple[str, ...]] = ("job.err", OUTPUT)
    patterns: ClassVar[tuple[FailurePattern, ...]] = (
        *MEMORY_PATTERNS,
        FailurePattern(
            r"overlapping atoms|atoms are too close|very small distance", FailureKind.GEOMETRY, False
        ),
        FailurePattern(r"\[ABORT\]", FailureKind.INPUT, False),
        *SYSTEM_PATTERNS,
    )

    def __init__(self, task: Task = Task.LABEL) -> None:
        self.task = task

    def finished(self, directory: Path) -> bool:
        if self.task is Task.LABEL:
            output = read_output(directory)
            return output.ended or output.unconverged
        recent = read_output(directory, RECENT)
        return recent.ended or UNCONVERGED in recent.abort

    def steps_done(self, directory: Path) -> bool:
        return self.task is not Task.LABEL and (directory / POSITIONS).is_file()


class Cp2kSilentScfHandler(ErrorHandler):
    """The run ended regularly but reports no SCF at all: the input asks for something else.

    No correction.
    """

    def check(self, directory: str | Path = "./") -> bool:
        output = read_output(Path(directory))
        return output.ended and UNCONVERGED not in output.text and not output.converged

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        return correction(FailureKind.INPUT, "the run ended without a converged SCF", None)
