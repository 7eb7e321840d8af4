"""Reading labelled data, whatever format it has."""

from __future__ import annotations

from pathlib import Path

from alpw.errors import InputError
from alpw.formats.extxyz import looks_like_extxyz, read_extxyz
from alpw.formats.pwdata import Part, is_pwdata, read_pwdata
from alpw.structures.frame import LabelledFrame


def load_frames(path: str | Path, part: Part = "all") -> list[LabelledFrame]:
    """The labelled frames of an extended XYZ file or a PWdata folder, recognised by content.

    Args:
        path: file or folder.
        part: of PWdata in the old layout, read its ``train``, its ``valid`` folders or both. A file or a flat
            folder is all ``"train"``.

    Raises:
        InputError: no data, an unknown format, or a frame without a complete label; names file and frame.
    """
    path = Path(path)
    if path.is_dir() and is_pwdata(path):
        frames = read_pwdata(path, part)
    elif path.is_file() and looks_like_extxyz(_head(path)):
        frames = read_extxyz(path) if part != "valid" else []
    elif path.exists():
        raise InputError("neither an extended XYZ file nor a PWdata folder (image_type.npy)", path)
    else:
        raise InputError("no such file or folder", path)
    if not frames and part == "all":
        raise InputError("holds no frames", path)
    return frames


def _head(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(4096)
