"""A campaign of another program as its directory tells it: what was labelled, iteration by iteration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from alpw.database.configurations import INITIAL, Role
from alpw.formats.load import read_labelled
from alpw.formats.pwdata import Part
from alpw.formats.registry import recognise
from alpw.legacy.recognise import PARAM, recognise_input
from alpw.structures.frame import LabelledFrame

STAGES = ("train", "explore", "label")


@dataclass(frozen=True)
class Source:
    """A file or folder with labelled frames.

    Attributes:
        path: of the data.
        part: of PWdata in the old layout.
        role: what its frames were for.
        iteration: that labelled them; -1 for the initial data.
        origins: what is known of each frame (``task``, ``temperature`` in K, ``pressure`` in bar), in order;
            heeded only if there are as many of them as frames, since they are not numbered otherwise.
        facts: the same for all frames.
    """

    path: Path
    part: Part = "all"
    role: Role = Role.TRAIN
    iteration: int = INITIAL
    origins: tuple[dict[str, Any], ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def count(self) -> int:
        """Number of frames with a label that can be trusted; reads them all.

        Raises:
            InputError: data that cannot be read; names file and frame.
        """
        return sum(int(batch.converged.sum()) for batch in read_labelled(self.path, self.part))

    def frames(self) -> Iterator[tuple[int, LabelledFrame]]:
        """Frames with a label that can be trusted, and their place in the data.

        Raises:
            InputError: data that cannot be read; names file and frame.
        """
        place = 0
        for batch in read_labelled(self.path, self.part):
            for k, frame in enumerate(batch):
                if batch.converged[k]:
                    yield place + k, frame
            place += len(batch)


@dataclass
class Iteration:
    """One iteration.

    Attributes:
        index: from 0.
        kind: ``explore``, or ``final`` for a training without exploration.
        stage: ``done``, or what it was doing.
        counts: frames by class (accurate, candidate, failed); None where the directory does not tell.
        thresholds: committee's interval by group, eV/Å; empty where not known.
    """

    index: int
    kind: str = "explore"
    stage: str = "done"
    counts: dict[str, int] | None = None
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)


class Ended(NamedTuple):
    """Whether a campaign had done all that it was asked to do, and how that is known."""

    completed: bool
    why: str


@dataclass
class Course:
    """A whole campaign.

    Attributes:
        family: ``pwact`` or ``dpgen``.
        directory: where it lies.
        param: its input, as it was written; empty if it is not there.
        code: that labelled it, by its ``dft_style``; None if not known.
        sources: of frames, the initial data first.
        iterations: in their order.
        ended: whether it is complete.
        notes: what the directory does not tell, or what is left in it.
    """

    family: str
    directory: Path
    param: dict[str, Any]
    code: str | None
    sources: list[Source]
    iterations: list[Iteration]
    ended: Ended
    notes: list[str]


def ended(record: list[tuple[int, int]], n_jobs: int | None, *, missing: str, step: str, last: int) -> Ended:
    """Whether a record reaches the last training.

    Args:
        record: (iteration, step) in the order in which they were done.
        n_jobs: iterations that were asked for; None if not known.
        missing: what is said of a record that is not there.
        step: what a step is called, and how they are numbered.
        last: step of the iteration after the jobs that ends a campaign.
    """
    if not record:
        return Ended(False, f"{missing} is not there, so that it is not known whether it had ended")
    index, done = record[-1]
    at = f"its record ends in iteration {index} with {step.format(done)}"
    if n_jobs is None:
        return Ended(False, f"{at}; without its param.json it is not known whether that was the end")
    if (n_jobs, last) in record:
        return Ended(True, f"it had done its {n_jobs} iterations and the last training")
    return Ended(False, f"{at}; {n_jobs} iterations were asked for")


def is_readable(path: Path, notes: list[str], what: str) -> bool:
    """Whether labelled data are in a format that is known; what is not is noted."""
    form = recognise(path)
    if form is None or not form.labelled:
        notes.append(f"{what}: {path} is in no format of labelled data that is known, and is left out")
        return False
    return True


def numbered(directory: Path, digits: int) -> dict[int, Path]:
    """Iterations' folders ``iter.NNNN`` by their number, in order."""
    found = directory.glob(f"iter.{'[0-9]' * digits}")
    return {int(path.suffix[1:]): path for path in sorted(found) if path.is_dir()}


def find_param(directory: Path, family: str, notes: list[str]) -> dict[str, Any]:
    """The param.json of a campaign, recognised by its content; empty if there is none."""
    found: dict[Path, dict[str, Any]] = {}
    for path in sorted(directory.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (ValueError, OSError):
            # Whatever else lies about in the folder is not meant.
            continue
        if isinstance(content, dict) and recognise_input(content) == (family, PARAM):
            found[path] = content
    if not found:
        notes.append("its param.json is not there: settings, thresholds and initial data are not known")
        return {}
    chosen = next((path for path in found if path.name == PARAM), min(found))
    if len(found) > 1:
        others = ", ".join(path.name for path in found if path != chosen)
        notes.append(f"{chosen.name} is taken for its input, and not {others}")
    return found[chosen]


def record_of(file: Path | None) -> list[tuple[int, int]]:
    """Lines ``iteration stage`` of a progress file; others are left out."""
    if file is None or not file.is_file():
        return []
    pairs = [line.split() for line in file.read_text(errors="replace").splitlines()]
    return [(int(pair[0]), int(pair[1])) for pair in pairs if len(pair) == 2 and all(map(str.isdigit, pair))]
