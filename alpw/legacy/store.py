"""A campaign of another program into the database: its labels, its iterations, and what is not known of it.

Everything is read once before anything is written, so that a broken file leaves no half of a campaign behind.
Each frame has a key that its place in the directory makes, so that an import may be repeated or go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pymongo.database import Database
from pymongo.errors import BulkWriteError

from alpw import __version__
from alpw.config.param import CAMPAIGN_NAME
from alpw.database import campaigns, configurations, iterations
from alpw.database.campaigns import IMPORTED, CampaignState, now
from alpw.database.documents import label_document, structure_document
from alpw.database.indexes import ensure_indexes
from alpw.errors import InputError
from alpw.legacy.course import Course, Source
from alpw.legacy.dpgen_run import is_dpgen, read_dpgen
from alpw.legacy.pwact_run import is_pwact, read_pwact
from alpw.structures.frame import LabelledFrame

NAMES = {"pwact": "PWact", "dpgen": "DP-GEN"}

LEVEL = "imported"
"""``settings_hash`` of labels whose settings are not read back"""

CHUNK = 200
"""frames that are written at a time"""

DUPLICATE_KEY = 11000

READERS: dict[str, tuple[Callable[[Path], bool], Callable[[Path], Course]]] = {
    "dpgen": (is_dpgen, read_dpgen),
    "pwact": (is_pwact, read_pwact),
}

Progress = Callable[[Path, int], None]
"""is told of a source and of its number of frames"""


@dataclass(frozen=True)
class Report:
    """What came of an import.

    Attributes:
        campaign: its name.
        family: ``pwact`` or ``dpgen``.
        directory: where it lies.
        state: of the campaign.
        reason: why it has that state.
        new: frames that are new in the database.
        there: frames that an earlier import brought.
        duplicates: frames that the campaign has already with the same label, and that are left out.
        n_iterations: of the campaign.
        notes: what is not known or was left in the directory.
    """

    campaign: str
    family: str
    directory: str
    state: str
    reason: str
    new: int
    there: int
    duplicates: int
    n_iterations: int
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        return asdict(self)


def recognise(directory: str | Path) -> str | None:
    """Whose campaign a directory is, ``pwact`` or ``dpgen``; None for neither."""
    path = Path(directory)
    return next((family for family, (known, _) in READERS.items() if path.is_dir() and known(path)), None)


def read_course(directory: str | Path) -> Course:
    """What the directory of a campaign tells.

    Raises:
        InputError: it is none of PWact or DP-GEN.
    """
    path = Path(directory).resolve()
    family = recognise(path)
    if family is None:
        raise InputError("is no directory of a campaign of PWact or DP-GEN (iter.0000, iter.000000)", path)
    return READERS[family][1](path)


def import_directory(
    db: Database, directory: str | Path, name: str | None = None, progress: Progress | None = None
) -> Report:
    """Bring a campaign of PWact or DP-GEN into the database; may be repeated, and goes on after a crash.

    Args:
        db: the campaigns' database.
        directory: of the campaign.
        name: for the campaign; None for that of the directory.
        progress: see :data:`Progress`.

    Raises:
        InputError: another directory, a name that is taken, or data that cannot be read, of which nothing is
            written then; names file and frame.
    """
    course = read_course(directory)
    name = name or re.sub(r"[^A-Za-z0-9_.-]", "_", course.directory.name)
    if not re.match(CAMPAIGN_NAME, name):
        raise InputError(f"{name!r} is no name; letters, digits, '_', '.' and '-' make one", key="--to")
    _check_name(db, name, course)
    _check_data(course, progress)
    ensure_indexes(db)
    campaigns.create(db, name, _document(course))
    _check_name(db, name, course)
    new = there = duplicates = 0
    for source in course.sources:
        frames = _documents(name, course, source)
        while chunk := list(islice(frames, CHUNK)):
            counts = _add(db, name, chunk)
            new, there, duplicates = new + counts[0], there + counts[1], duplicates + counts[2]
    for found in course.iterations:
        known = {"frames": sum(found.counts.values()), "counts": found.counts} if found.counts else {}
        levels = {"thresholds": {"committee": found.thresholds}} if found.thresholds else {}
        document = {"kind": found.kind, "stage": found.stage, "started": None, **known, **levels}
        if not iterations.create(db, name, found.index, document):
            # It may have gone on since it was imported before.
            iterations.update(db, name, found.index, **document)
    state = CampaignState.COMPLETED if course.ended.completed else CampaignState.STOPPED
    reason = f"imported from the {NAMES[course.family]} directory {course.directory}; {course.ended.why}"
    fields = {"state": state.value, "verdict": reason, "notes": course.notes, "param": course.param}
    campaigns.update(db, name, **fields)
    return Report(
        campaign=name,
        family=course.family,
        directory=str(course.directory),
        state=state.value,
        reason=reason,
        new=new,
        there=there,
        duplicates=duplicates,
        n_iterations=len(course.iterations),
        notes=course.notes,
    )


def _check_name(db: Database, name: str, course: Course) -> None:
    campaign = campaigns.find(db, name)
    if campaign is None:
        if configurations.is_data_set(db, name):
            raise InputError(f"'{name}' is a data set that was imported; give this another name", key="--to")
        return
    if campaigns.kind(campaign) != IMPORTED or campaign["work_dir"] != str(course.directory):
        text = f"campaign '{name}' is another one, in {campaign['work_dir']}; give this one another name"
        raise InputError(text, key="--to")


def _check_data(course: Course, progress: Progress | None) -> None:
    """Read every frame once."""
    for source in course.sources:
        n_frames = source.count()
        if progress:
            progress(source.path, n_frames)


def _document(course: Course) -> dict[str, Any]:
    return {
        "kind": IMPORTED,
        "state": CampaignState.STOPPED.value,
        "verdict": f"its import from {course.directory} was cut short; give it again",
        "work_dir": str(course.directory),
        "alpw_version": __version__,
        "imported": {"family": course.family, "directory": str(course.directory)},
        "settings_hash": LEVEL,
        # As it was written; nothing of it is resolved to settings of ours. Queues and hosts stay out.
        "param": course.param,
        "resource": {},
        "resolved": {"param": {}, "resource": {}},
        "notes": course.notes,
    }


def _documents(name: str, course: Course, source: Source) -> Iterator[dict[str, Any]]:
    place = source.path.relative_to(course.directory) if _below(source, course) else source.path
    label = place.as_posix() + (f":{source.part}" if source.part != "all" else "")
    frames = source.frames()
    # Labels are not numbered; only if none is missing the k-th one is that of the k-th task.
    numbered = bool(source.origins) and source.count() == len(source.origins)
    computed = {"code": course.code} if course.code and source.iteration >= 0 else {}
    for index, frame in frames:
        known = source.origins[index] if numbered else {}
        yield {
            "campaign": name,
            "key": f"{label}#{index}",
            "iteration": source.iteration,
            "role": source.role.value,
            "state": configurations.State.LABELLED.value,
            "attempts": 0,
            "source": {"file": str(source.path), "frame": index, **source.facts, **known},
            "settings_hash": LEVEL,
            "created": now(),
            "alpw_version": __version__,
            **computed,
            **_arrays(frame),
        }


def _below(source: Source, course: Course) -> bool:
    return source.path.is_relative_to(course.directory)


def _arrays(frame: LabelledFrame) -> dict[str, Any]:
    return {**structure_document(frame.atoms), **label_document(frame.atoms, frame.label)}


def _add(db: Database, name: str, documents: list[dict[str, Any]]) -> tuple[int, int, int]:
    """Insert what is not there yet; returns numbers of new, known and repeated frames."""
    collection = db[configurations.COLLECTION]
    keys = {"campaign": name, "key": {"$in": [document["key"] for document in documents]}}
    there = {document["key"] for document in collection.find(keys, {"key": 1})}
    waiting = [document for document in documents if document["key"] not in there]
    hashes = {"campaign": name, "label_hash": {"$in": [document["label_hash"] for document in waiting]}}
    seen = {document["label_hash"] for document in collection.find(hashes, {"label_hash": 1})}
    fresh: dict[str, dict[str, Any]] = {}
    for document in waiting:
        if document["label_hash"] not in seen:
            fresh.setdefault(document["label_hash"], document)
    n_new = len(fresh)
    if fresh:
        try:
            collection.insert_many(list(fresh.values()), ordered=False)
        except BulkWriteError as error:
            # Another import of the same directory was faster with some of them.
            lost = error.details["writeErrors"]
            if any(problem["code"] != DUPLICATE_KEY for problem in lost):
                raise
            n_new -= len(lost)
    return n_new, len(there), len(waiting) - len(fresh)
