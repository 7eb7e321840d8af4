"""Files of a campaign's folder that its documents name, and where they are put back."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from alpw.database.launchpad import FILE_NAME
from alpw.database.secrets import holds_credentials
from alpw.errors import AlpwError

PRIVATE = frozenset({FILE_NAME, str(Path(FILE_NAME).with_suffix(".yml")), "my_launchpad.json"})
"""Names of files that may hold the password of a database."""

TEXT = 1 << 16
"""bytes; larger files are what calculations leave, and nobody writes a password into them"""


def named_files(
    work_dir: Path, paths: Collection[str], private: Collection[Path] = ()
) -> Iterator[tuple[Path, str]]:
    """Each file that documents name, in a folder or by itself, and its path in the campaign's folder.

    Links are not followed. What holds the address of a database with a password is left out.

    Args:
        work_dir: the campaign's folder.
        paths: absolute ones below it; those that are gone are passed over.
        private: files that are left out too.
    """
    last = ""
    for text in sorted(paths, key=lambda path: Path(path).parts):
        # The files of a folder are there already when one of them is named too.
        if last and (text == last or text.startswith(f"{last}/")):
            continue
        path = Path(text)
        if _leads_elsewhere(work_dir, path):
            continue
        last = text
        for file in _below(path):
            if not _is_private(file, private):
                yield file, file.relative_to(work_dir).as_posix()


def _leads_elsewhere(work_dir: Path, path: Path) -> bool:
    between = path.relative_to(work_dir).parts
    return ".." in between or any(
        work_dir.joinpath(*between[: n + 1]).is_symlink() for n in range(len(between))
    )


def _below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for folder, names, files in os.walk(path):
        names.sort()
        for name in sorted(files):
            file = Path(folder, name)
            if file.is_file() and not file.is_symlink():
                yield file


def _is_private(file: Path, private: Collection[Path]) -> bool:
    if file.name in PRIVATE or any(other.exists() and file.samefile(other) for other in private):
        return True
    if file.stat().st_size > TEXT:
        return False
    return holds_credentials(file.read_bytes().decode(errors="replace"))


def place_of(work_dir: Path, relative: PurePosixPath) -> Path:
    """Where a file of an archive belongs; raises :class:`AlpwError` if a link leads out of the folder."""
    place = work_dir.joinpath(relative)
    if not place.resolve().is_relative_to(work_dir.resolve()):
        raise AlpwError(f"{place}: a link leads out of {work_dir}; nothing is written there")
    return place
