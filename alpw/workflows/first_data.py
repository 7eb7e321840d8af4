"""The labelled frames that a campaign begins with: of files, and of the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pymongo.database import Database

from alpw.config.param import Param
from alpw.config.section import is_stored
from alpw.database import configurations
from alpw.database.configurations import Role
from alpw.dataset import lending
from alpw.errors import InputError
from alpw.formats.load import load_frames
from alpw.formats.pwdata import Part


def freeze_data(db: Database, param: Param) -> list[dict[str, str]]:
    """What the entries of the data that are in the database select now: ``entry`` and ``snapshot`` of each.

    Raises:
        InputError: nothing, or elements that the network does not know.
    """
    frozen = []
    for key in ("init_data", "valid_data"):
        for entry in filter(is_stored, getattr(param, key)):
            try:
                snapshot = lending.freeze(db, str(entry), param.train.atom_type)
            except InputError as error:
                raise InputError(error.message, param.file, key) from error
            frozen.append({"entry": str(entry), "snapshot": snapshot})
    return frozen


def import_data(db: Database, param: Param, stored: Iterable[Mapping[str, str]]) -> None:
    """Add the user's labelled frames; the valid/ half of an old PWdata folder is never trained on.

    Args:
        db: the campaign's database.
        param: the parameters.
        stored: of :func:`freeze_data`.
    """
    snapshot = {found["entry"]: found["snapshot"] for found in stored}
    # A frame that both name is held out.
    for entries, role in ((param.valid_data, Role.VALIDATION), (param.init_data, Role.TRAIN)):
        for entry in filter(is_stored, entries):
            lending.lend(db, param.campaign, snapshot[str(entry)], role)
    init, valid = (
        [Path(path) for path in paths if not is_stored(path)] for paths in (param.init_data, param.valid_data)
    )
    sources: list[tuple[Path, Part, Role]] = [(path, "train", Role.TRAIN) for path in init]
    sources += [(path, "valid", Role.VALIDATION) for path in init]
    sources += [(path, "all", Role.VALIDATION) for path in valid]
    for path, part, role in sources:
        configurations.import_frames(
            db, param.campaign, load_frames(path, part), role, f"{path}:{part}", "imported"
        )
