"""The frames of one file as documents, checked to the last one and put aside before any is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import bson
import numpy as np
from ase.data import chemical_symbols
from bson import ObjectId

from alpw import __version__
from alpw.database.campaigns import now
from alpw.database.configurations import INITIAL, Role, State
from alpw.database.documents import label_document, structure_document
from alpw.dataset.level import Level, level_of
from alpw.errors import InputError
from alpw.formats.convert import Progress, at_zero_smearing
from alpw.formats.omissions import Incomplete, whole_files
from alpw.formats.pwdata import read_pwdata
from alpw.formats.registry import NOTHING_SAID, LabelledFormat, Options
from alpw.structures.frames import LabelledFrames

LARGEST = 16 * 1024 * 1024
"""bytes of a document that MongoDB takes"""

IN_MEMORY = 64 * 1024 * 1024
"""bytes of documents put aside before they go to a temporary file"""


@dataclass(frozen=True)
class Terms:
    """How frames are taken in.

    Attributes:
        to: name of the data set.
        role: what they are for; None leaves it to the file: the ``valid`` folders of PWdata validate,
            everything else is for training.
        tag: a tag for those that are new.
        level: level of theory in the user's words, or a ``settings_hash``; None for what the file tells.
        options: what the files leave open.
        elements: that frames may hold; any if empty.
        keep_unconverged: take frames whose SCF did not converge.
        partial: take what is whole of a file that is cut short or damaged.
        copies: take frames that other data sets and campaigns have.
        dry_run: store nothing.
    """

    to: str = "imported"
    role: Role | None = None
    tag: str | None = None
    level: str | None = None
    options: Options = NOTHING_SAID
    elements: tuple[str, ...] = ()
    keep_unconverged: bool = False
    partial: bool = False
    copies: bool = False
    dry_run: bool = False


@dataclass
class Incoming:
    """Documents put aside, in memory while they are few; a context manager that forgets them at its end.

    Attributes:
        read: frames in the file.
        unconverged: frames that were left out because their SCF did not converge.
        chemical_systems: of the documents.
    """

    read: int = 0
    unconverged: int = 0
    chemical_systems: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY, prefix="alpw-import-")  # noqa: SIM115

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, document: dict[str, Any]) -> None:
        """Add a document; raises ValueError with its size in bytes if MongoDB would not take it."""
        data = bson.encode(document)
        if len(data) > LARGEST:
            raise ValueError(len(data))
        self._file.write(data)
        self.chemical_systems.add(document["chemical_system"])

    def batches(self, frames: int, size: int) -> Iterator[list[dict[str, Any]]]:
        """The documents in their order, up to so many, or up to so many bytes, at a time."""
        self._file.seek(0)
        gathered: list[dict[str, Any]] = []
        n_bytes = 0
        while head := self._file.read(4):
            length = int.from_bytes(head, "little")
            gathered.append(bson.decode(head + self._file.read(length - 4)))
            n_bytes += length
            if len(gathered) == frames or n_bytes >= size:
                yield gathered
                gathered, n_bytes = [], 0
        if gathered:
            yield gathered


def read_file(
    incoming: Incoming, path: Path, form: LabelledFormat, terms: Terms, progress: Progress | None = None
) -> None:
    """Read a file or data set to its end and put the documents of its frames aside.

    Args:
        incoming: gets them.
        path: file or folder.
        form: its format.
        terms: how frames are taken in.
        progress: told how many frames have been read.

    Raises:
        InputError: no frames, something missing or damaged, a number that is not finite, an element that is
            not allowed, a frame that is too large for a document; names file and frame.
    """
    if terms.partial:
        _read(incoming, path, form, terms, progress)
        return
    try:
        with whole_files():
            _read(incoming, path, form, terms, progress)
    except Incomplete as error:
        message = f"{error.message}; --partial takes the frames that are whole"
        raise InputError(message, error.file, error.key) from error


def _read(
    incoming: Incoming, path: Path, form: LabelledFormat, terms: Terms, progress: Progress | None
) -> None:
    level = level_of(path, form.name, terms.level, terms.options)
    source: dict[str, Any] = {"file": str(path.resolve()), "format": form.name, "sha256": content_hash(path)}
    if level.potentials:
        source["potentials"] = list(level.potentials)
    for batch, role in _parts(path, form, terms):
        _check(batch, path, incoming.read, terms)
        wanted = np.ones(len(batch), dtype=bool) if terms.keep_unconverged else batch.converged
        incoming.unconverged += int((~wanted).sum())
        for k in np.flatnonzero(wanted).tolist():
            number = incoming.read + k
            document = _document(batch, k, role, {**source, "frame": number}, level, terms)
            try:
                incoming.append(document)
            except ValueError as error:
                raise InputError(
                    f"{len(batch.numbers)} atoms make a document of {error.args[0] / 1e6:.1f} MB, and "
                    f"MongoDB takes {LARGEST / 1e6:.1f} MB; leave the frame out, or cut a smaller cell",
                    path,
                    f"frame {number}",
                ) from error
        incoming.read += len(batch)
        if progress:
            progress(path, incoming.read)
    if not incoming.read:
        raise InputError("holds no frames", path)


def _parts(path: Path, form: LabelledFormat, terms: Terms) -> Iterator[tuple[LabelledFrames, Role]]:
    """Batches, and what each is for."""
    if form.name == "pwmlff/npy" and terms.role is None:
        yield from ((batch, Role.TRAIN) for batch in read_pwdata(path, "train"))
        yield from ((batch, Role.VALIDATION) for batch in read_pwdata(path, "valid"))
        return
    for batch in form.read(path, terms.options):
        taken = at_zero_smearing(batch, path) if terms.options.energy == "sigma0" else batch
        yield taken, terms.role or Role.TRAIN


def _check(batch: LabelledFrames, path: Path, first: int, terms: Terms) -> None:
    """See that every frame of a batch can be stored; readers have checked most of it already."""
    virials = batch.filled_virials()
    # A virial that is missing is all NaN.
    absent = np.asarray(np.isnan(virials).all(axis=(1, 2)))
    arrays = {
        "cell": batch.cells,
        "positions": batch.positions,
        "energy": batch.energies,
        "forces": batch.forces,
        "virial": np.where(absent[:, None, None], 0.0, virials),
    }
    for name, array in arrays.items():
        if bad := np.flatnonzero(~np.isfinite(array).reshape(len(batch), -1).all(axis=1)).tolist():
            raise InputError(f"the {name} has a number that is not finite", path, f"frame {first + bad[0]}")
    if not len(batch.numbers):
        raise InputError("has no atoms", path, f"frame {first}")
    if any(batch.pbc):
        ranks = np.asarray(np.linalg.matrix_rank(batch.cells[:, list(batch.pbc)]))
        if bad := np.flatnonzero(ranks < sum(batch.pbc)).tolist():
            raise InputError("is periodic, but its cell has no volume", path, f"frame {first + bad[0]}")
    symbols = {chemical_symbols[number] for number in batch.numbers}
    if terms.elements and (others := sorted(symbols - set(terms.elements))):
        raise InputError(
            f"holds {', '.join(others)}; --elements allows {', '.join(terms.elements)}",
            path,
            f"frame {first}",
        )


def _document(
    batch: LabelledFrames, k: int, role: Role, source: dict[str, Any], level: Level, terms: Terms
) -> dict[str, Any]:
    frame = batch[k]
    structure = structure_document(frame.atoms)
    moment = now()
    document = {
        "_id": ObjectId(),
        "campaign": terms.to,
        "key": f"{structure['structure_hash']}:{level.hash}",
        "iteration": INITIAL,
        "role": role.value,
        "state": State.LABELLED.value,
        "attempts": 0,
        "source": source,
        "created": moment,
        "labelled": moment,
        "alpw_version": __version__,
        "settings_hash": level.hash,
        **level.record,
        **structure,
        **label_document(frame.atoms, frame.label),
    }
    return document | ({"tags": [terms.tag]} if terms.tag else {})


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files of a data set."""
    digest = hashlib.sha256()
    if path.is_file():
        with path.open("rb") as content:
            while data := content.read(1 << 20):
                digest.update(data)
        return digest.hexdigest()
    for file in sorted(found for found in path.rglob("*") if found.is_file()):
        digest.update(f"{file.relative_to(path)} {content_hash(file)}\n".encode())
    return digest.hexdigest()
