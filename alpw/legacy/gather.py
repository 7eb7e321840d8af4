"""All labels of a campaign as PWdata, from the directory of another program or from the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pymongo.database import Database

from alpw.database import campaigns
from alpw.database.configurations import COLLECTION, INITIAL, Role
from alpw.dataset import Dataset
from alpw.errors import AlpwError
from alpw.files import write_atomically
from alpw.formats.npy import open_npy
from alpw.formats.pwdata import data_sets, write_pwdata
from alpw.legacy.store import read_course
from alpw.structures.frame import LabelledFrame

FOLDER, LIST = "final_pwdata", "final_pwdata_list.txt"


@dataclass
class Part:
    """The labels of one iteration.

    Attributes:
        name: of the folder that they go to.
        train: frames to train on, streamed.
        valid: frames that were held out; None if there are none.
    """

    name: str
    train: Iterable[LabelledFrame]
    valid: Iterable[LabelledFrame] | None


@dataclass
class Gathered:
    """What was written.

    Attributes:
        folders: for ``init_data``, with their number of frames.
        list_file: the folders, quoted and with commas, as they stand in a param.json.
    """

    folders: dict[str, int]
    list_file: str


def in_directory(directory: Path) -> list[Part]:
    """What the iterations of a campaign of PWact or DP-GEN labelled; initial data stay where they are.

    Raises:
        InputError: it is none of theirs.
    """
    course = read_course(directory)
    parts = []
    for index in sorted({source.iteration for source in course.sources} - {INITIAL}):
        by_role = {
            role: [s for s in course.sources if s.iteration == index and s.role is role] for role in Role
        }
        train, valid = (
            (frame for source in by_role[role] for _, frame in source.frames())
            for role in (Role.TRAIN, Role.VALIDATION)
        )
        parts.append(Part(f"iter.{index:04d}", train, valid if by_role[Role.VALIDATION] else None))
    return parts


def in_database(db: Database, name: str) -> list[Part]:
    """What a campaign labelled; frames of the first data set that came from files are left out.

    Raises:
        InputError: there is no campaign of that name.
    """
    campaigns.get(db, name)
    own = {"campaign": name, "$or": [{"iteration": {"$gte": 0}}, {"source.file": {"$exists": False}}]}
    labelled = Dataset(db, own).labelled
    parts = []
    for index in sorted(db[COLLECTION].distinct("iteration", labelled.query)):
        train, valid = (
            labelled.where({"iteration": index, "role": role.value}) for role in (Role.TRAIN, Role.VALIDATION)
        )
        held_out = valid.frames() if valid.count() else None
        parts.append(Part("initial" if index < 0 else f"iter.{index:04d}", train.frames(), held_out))
    return parts


def write_parts(parts: Iterable[Part], folder: Path) -> Gathered:
    """Write each part as PWdata, a folder per composition, and the list of these folders.

    What an earlier call wrote is replaced.

    Raises:
        AlpwError: there is no label.
        InputError: a frame that PWdata cannot hold.
    """
    written = [path for part in parts for path in write_pwdata(folder / part.name, part.train, part.valid)]
    if not written:
        raise AlpwError("there is no label to gather")
    paths = {str(path.resolve()): _size(path) for path in written}
    target = folder / LIST
    write_atomically(target, "".join(f'"{path}",\n' for path in paths).encode())
    return Gathered(paths, str(target.resolve()))


def _size(folder: Path) -> int:
    """Number of frames of a data set."""
    return sum(len(open_npy(part / "energies.npy")) for part in data_sets(folder))
