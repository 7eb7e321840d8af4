"""OUTCARs of other people, and our frames of them."""

from __future__ import annotations

import lzma
from pathlib import Path

from alpw.formats.outcar import read_outcar
from alpw.structures.frame import LabelledFrame
from alpw.structures.frames import LabelledFrames

DATA = Path(__file__).parent / "data"


def packed(name: str) -> Path:
    return DATA / f"{name}.OUTCAR.xz"


def text_of(name: str) -> str:
    return lzma.open(packed(name), "rt").read()


def unpacked(tmp_path: Path, name: str) -> Path:
    """For readers that take no packed files."""
    (tmp_path / "OUTCAR").write_text(text_of(name))
    return tmp_path / "OUTCAR"


def whole(path: Path, **options: object) -> LabelledFrames:
    return LabelledFrames.join(list(read_outcar(path, **options)))


def frames_of(path: Path) -> list[LabelledFrame]:
    return [frame for batch in read_outcar(path) for frame in batch]


RELAX = text_of("relax")
