"""Labelled frames of files, taken into the data set with where they come from, each once.

A file is read to its end before its first frame is stored, so that one which is damaged leaves nothing. A
frame is stored under a key made of its structure and its level of theory: of two writers that bring the same
frame the second is told, and one that was killed is made good by doing the same again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo.database import Database
from pymongo.errors import BulkWriteError

from alpw.config.param import CAMPAIGN_NAME
from alpw.database import campaigns
from alpw.database.configurations import COLLECTION
from alpw.database.indexes import ensure_indexes
from alpw.dataset.duplicates import Kind, Known, Verdict
from alpw.dataset.incoming import Incoming, Terms, read_file
from alpw.errors import DatabaseError, InputError
from alpw.formats.convert import Progress
from alpw.formats.registry import FORMATS, Format, LabelledFormat

__all__ = ["FileReport", "Stored", "Terms", "import_files", "reading"]

FRAMES = 200
"""documents that are compared and stored at a time"""
BYTES = 8 * 1024 * 1024
"""and of which size at most, unless one alone is larger"""

_TAKEN = 11000
"""MongoDB's code for a key that is there already"""

Stored = Callable[[Path, int, int], object]
"""told a file, how many of its frames have been dealt with, and how many were new"""


@dataclass
class FileReport:
    """What came of one file; frames are counted.

    Attributes:
        file: its path.
        format: its format.
        frames: in the file.
        new: stored, or to be stored in a dry run.
        duplicates: left out, because structure and label are there.
        conflicts: left out, because the structure is there with another label at the same level of theory;
            each names both places.
        unconverged: left out, because their SCF did not converge.
        error: why nothing of the file was stored.
        further_systems: chemical systems that the data set did not have.
    """

    file: str
    format: str
    frames: int = 0
    new: int = 0
    duplicates: int = 0
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    unconverged: int = 0
    error: str | None = None
    further_systems: list[str] = field(default_factory=list)


def import_files(
    db: Database,
    inputs: Sequence[tuple[Path, Format]],
    terms: Terms,
    progress: Stored | None = None,
) -> list[FileReport]:
    """Store the frames of files in ``configurations``.

    A file with a fault is reported and left out as a whole; the others are stored.

    Args:
        db: the campaigns' database.
        inputs: files and their formats, see `alpw.formats.convert.find_inputs`.
        terms: how they are taken in.
        progress: told how far it is.

    Raises:
        InputError: a format without labels, or a name that is none or is that of a campaign.
        DatabaseError: the database refuses a document.
    """
    check_name(db, terms.to)
    for path, form in inputs:
        if not isinstance(form, LabelledFormat):
            names = ", ".join(other.name for other in FORMATS if other.labelled)
            raise InputError(f"is {form.name}, which has no energies and forces; these have: {names}", path)
    ensure_indexes(db)
    known = Known(db, {"campaign": terms.to} if terms.copies else {})
    reports = []
    for path, form in inputs:
        assert isinstance(form, LabelledFormat)
        report = FileReport(str(path), form.name)
        reports.append(report)
        with Incoming() as incoming:
            try:
                read_file(incoming, path, form, terms, reading(progress))
            except InputError as error:
                report.error = str(error)
                continue
            report.frames, report.unconverged = incoming.read, incoming.unconverged
            report.further_systems = _further(db, terms.to, incoming.chemical_systems)
            for documents in incoming.batches(FRAMES, BYTES):
                _store(db, known, documents, report, dry_run=terms.dry_run)
                if progress:
                    progress(path, report.new + report.duplicates + len(report.conflicts), report.new)
    return reports


def reading(progress: Stored | None) -> Progress | None:
    """Tells of frames that are read and not stored yet."""
    if progress is None:
        return None

    def told(path: Path, n_frames: int) -> None:
        progress(path, n_frames, 0)

    return told


def check_name(db: Database, name: str) -> None:
    """See that a data set may have this name.

    Raises:
        InputError: it is none, or that of a campaign.
    """
    if not re.fullmatch(CAMPAIGN_NAME, name):
        raise InputError(f"{name!r} is no name; letters, digits, '_', '.' and '-' make one", key="--to")
    if campaigns.find(db, name):
        raise InputError(
            f"'{name}' is a campaign, whose level of theory and data are its own; choose another name, and "
            "train on both",
            key="--to",
        )


def _further(db: Database, name: str, systems: set[str]) -> list[str]:
    """Chemical systems that a data set which is not empty lacks."""
    there = set(db[COLLECTION].distinct("chemical_system", {"campaign": name}))
    return sorted(systems - there) if there else []


def _store(
    db: Database, known: Known, documents: list[dict[str, Any]], report: FileReport, *, dry_run: bool
) -> None:
    fresh = _sorted_out(known.judge(documents), report)
    if dry_run:
        for document in fresh:
            known.promise(document)
        report.new += len(fresh)
        return
    if not fresh:
        return
    taken: list[dict[str, Any]] = []
    try:
        db[COLLECTION].insert_many(fresh, ordered=False)
    except BulkWriteError as error:
        failures = error.details["writeErrors"]
        if other := [failure for failure in failures if failure["code"] != _TAKEN]:
            raise DatabaseError(f"a frame of {report.file} is refused: {other[0]['errmsg']}") from error
        taken = [fresh[failure["index"]] for failure in failures]
    report.new += len(fresh) - len(taken)
    # Another writer brought them since they were looked for.
    if taken and (lost := _sorted_out(known.judge(taken), report)):
        raise DatabaseError(f"frame {lost[0]['source']['frame']} of {report.file} vanished; import it again")


def _sorted_out(verdicts: Any, report: FileReport) -> list[dict[str, Any]]:
    """Count duplicates and conflicts; the documents that are new."""
    fresh = []
    verdict: Verdict
    for verdict in verdicts:
        if verdict.kind is Kind.NEW:
            fresh.append(verdict.document)
        elif verdict.kind is Kind.DUPLICATE:
            report.duplicates += 1
        else:
            report.conflicts.append(_conflict(verdict))
    return fresh


def _conflict(verdict: Verdict) -> dict[str, Any]:
    document, other = verdict.document, verdict.other or {}
    source = other.get("source", {})
    place = f"{source['file']} frame {source['frame']}" if "file" in source else other.get("directory", "")
    return {
        "frame": document["source"]["frame"],
        "energy_per_atom": document["energy_per_atom"],
        "max_force": document["max_force"],
        "other": str(other["_id"]),
        "other_campaign": other["campaign"],
        "other_place": place,
        "other_state": other["state"],
        "other_energy_per_atom": other["energy_per_atom"],
        "other_max_force": other["max_force"],
    }
