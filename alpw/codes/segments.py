"""The finished steps of a calculation that may take several attempts, kept through crashes at any moment.

Every attempt has a number. Its steps are saved as ``steps.NNN.npz`` with the level of theory that made them,
before anything overwrites the program's outputs. ``attempt.json`` says which attempt the outputs belong to,
and how far its preparation is: saving the same outputs twice gives the same file.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from alpw.codes.attempt import has_objection
from alpw.codes.process import ProcessJob
from alpw.codes.protocol import Code, Task, settings_hash
from alpw.errors import CalculationError
from alpw.files import write_atomically
from alpw.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from alpw.config import Dft

logger = logging.getLogger(__name__)

ATTEMPT_FILE = "attempt.json"
PREPARED, RUNNING, RESUMING = "prepared", "running", "resuming"


class Segments:
    """The steps of one relaxation or AIMD in one folder.

    Args:
        code: the program.
        task: relaxation or AIMD.
        atoms: the structure that it began with.
        folder: where it runs.
        dft: settings.

    Attributes:
        number: of the latest attempt, from 1; 0 before the first.
        stalls: attempts in a row that gave no new step.
        changes: what was changed in the inputs to go on, in words.
    """

    def __init__(self, code: Code, task: Task, atoms: Atoms, folder: Path, dft: Dft) -> None:
        self.code, self.task, self.atoms, self.folder, self.dft = code, task, atoms, folder, dft
        marker = self._marker()
        self.number, self._state = int(marker["number"]), str(marker["state"])
        self._before, self._started = float(marker["seconds"]), time.monotonic()
        self._banked = False
        self._faulty = False
        self.stalls = 0
        self.changes: list[str] = []

    def clear(self) -> None:
        """Forget an earlier calculation that was made for something else."""
        for pattern in ("steps.*.npz", "steps.*.json", ATTEMPT_FILE):
            for path in self.folder.glob(pattern):
                path.unlink()
        self.number, self._state, self._before, self._banked = 0, PREPARED, 0.0, False

    @property
    def done(self) -> int:
        """Finished steps of all attempts."""
        return sum(map(LabelledFrames.count, self._files()))

    @property
    def seconds(self) -> float:
        """Wall time of all attempts."""
        return self._before + time.monotonic() - self._started

    @property
    def complete(self) -> bool:
        """Whether the latest attempt did all that was left to do."""
        if self._state != RUNNING or self._faulty or not self.done:
            return False
        return self.code.complete(self.folder, self.task)

    def judge(self) -> None:
        """Look at what an earlier call left: with an error in it, an attempt is not complete."""
        self._faulty = self._state == RUNNING and has_objection(self.code, self.task, self.folder)

    def bank(self) -> None:
        """Save the steps of the latest attempt, once, before anything is done about how it ended."""
        if self._state != RUNNING or self._banked:
            return
        found = self.code.read_steps(self.folder, self.atoms, self.dft, self.task)
        if found is not None and len(found):
            settings = self.code.settings(self.folder)
            write_atomically(self._file("json"), json.dumps(settings).encode())
            found.save(self._file("npz"))
        self.stalls = 0 if self._gained else self.stalls + 1
        self._banked = True
        logger.info("%s: attempt %d made %d steps", self.folder, self.number, len(found) if found else 0)

    def begin(self, job: ProcessJob) -> None:
        """Make the folder ready for the next attempt, which goes on where the latest one ended.

        Raises:
            CalculationError: the outputs do not hold what is needed to go on.
        """
        if self._gained:
            # From here on the inputs no longer tell what the outputs were made from.
            self._mark(RESUMING)
            self.changes += self.code.resume(self.atoms, self.folder, self.dft, self.task, self.done)
        if self._gained or self.number == 0:
            self.number += 1
        self._mark(PREPARED)
        job.remove_stale(self.folder)
        self._mark(RUNNING)
        self._banked = self._faulty = False

    def frames(self) -> LabelledFrames:
        """All finished steps, in order."""
        return LabelledFrames.join([LabelledFrames.load(path) for path in self._files()])

    def hashes(self) -> list[str]:
        """Level of theory of each step."""
        found = []
        for path in self._files():
            settings = json.loads(path.with_suffix(".json").read_text())
            found += [settings_hash(settings)] * LabelledFrames.count(path)
        return found

    def settings(self) -> dict[str, Any]:
        """Level of theory of the last step."""
        settings: dict[str, Any] = json.loads(self._files()[-1].with_suffix(".json").read_text())
        return settings

    @property
    def _gained(self) -> bool:
        return self.number > 0 and self._file("npz").is_file()

    def _file(self, suffix: str) -> Path:
        return self.folder / f"steps.{self.number:03d}.{suffix}"

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("steps.*.npz"))

    def _marker(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / ATTEMPT_FILE).read_text())
        except FileNotFoundError:
            return {"number": 0, "state": PREPARED, "seconds": 0.0}
        return found

    def _mark(self, state: str) -> None:
        self._state = state
        marker = {"number": self.number, "state": state, "seconds": self.seconds}
        write_atomically(self.folder / ATTEMPT_FILE, json.dumps(marker).encode())


def read_left_steps(segments: Segments) -> None:
    """Save what an earlier worker left behind; outputs that are of no use are no reason to stop."""
    try:
        segments.bank()
    except CalculationError as error:
        logger.warning("steps of an earlier attempt are lost: %s", error)
    segments.judge()
