"""Reading files of any size piece by piece, and collecting parsed frames into batches.

The readers of DFT codes share this: a file is cut at a mark that every ionic step has, one piece is in memory
at a time, and whoever parses a piece works on bytes. Numbers are converted by NumPy, a table at once.
"""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from lzma import LZMAError
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monty.io import zopen
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.formats.omissions import left_out
from alpw.structures.frames import LabelledFrames

logger = logging.getLogger(__name__)

CHUNK = 1 << 17
"""bytes read at a time; a piece may be larger, the memory needed is that of the largest piece"""

_PLAIN = b"0123456789 -.\n"
_LARGE = 1 << 62
_MANY = 16
_WORD = re.compile(rb"\S+")
_STUCK = re.compile(rb"(?<=[\d.])-(?=[\d.])")
_BARE_EXPONENT = re.compile(rb"(?<=\d)(?=[+-]\d{3}(?!\d))")


class Unreadable(ValueError):
    """A frame holds something that is not a finite number; the message says what."""


class Piece(NamedTuple):
    """A part of a file.

    Attributes:
        text: the lines.
        closed: whether a mark follows, at which the file was cut.
        last_mark: offset of the last mark in the text, accepted or not; -1 without one.
    """

    text: bytes
    closed: bool
    last_mark: int = -1


@dataclass(frozen=True)
class ParsedFrame:
    """One frame as read, in the units of :class:`LabelledFrames`.

    Attributes:
        scalars: numbers for ``extras`` by name.
        velocities: Å/ps, ``(n_atoms, 3)``.
    """

    numbers: NDArray[np.int64]
    cell: NDArray[np.float64]
    positions: NDArray[np.float64]
    energy: float
    forces: NDArray[np.float64]
    virial: NDArray[np.float64] | None = None
    converged: bool = True
    scalars: Mapping[str, float] = field(default_factory=dict)
    velocities: NDArray[np.float64] | None = None


def begins_with(path: str | Path, signature: bytes) -> bool:
    """Whether there is a file whose first bytes are these."""
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(signature)) == signature


def open_any(path: str | Path) -> Any:
    """A file opened for bytes, unpacked if its name ends in .gz, .xz, .lzma or .bz2.

    Raises:
        InputError: no such file.
    """
    if not Path(path).is_file():
        raise InputError("no such file", path)
    return zopen(path, mode="rb")


def pieces(
    path: str | Path, mark: bytes, accept: re.Pattern[bytes] | None = None, chunk: int = CHUNK
) -> Iterator[Piece]:
    """The file cut before every line that holds ``mark``; the first piece may be empty.

    A packed file that ends too early is read as far as it goes.

    Args:
        path: the file.
        mark: characters that are rare in tables of numbers are found fastest.
        accept: what must stand in the line from ``mark`` on, if not every mark is meant.
        chunk: bytes read at a time.

    Raises:
        InputError: no such file, or not the packed file that its name promises.
    """
    buffer, searched, ended, last = b"", 0, False, -1
    with open_any(path) as file:
        while not ended:
            data = read_some(file, chunk, path)
            ended = not data
            buffer += data
            start = 0
            while (found := buffer.find(mark, searched)) >= 0:
                line_end = buffer.find(b"\n", found)
                if line_end < 0 and not ended:
                    break
                searched = line_end if line_end >= 0 else len(buffer)
                if accept is None or accept.match(buffer, found):
                    line_start = buffer.rfind(b"\n", start, found) + 1 or start
                    yield Piece(buffer[start:line_start], True, last - start if last >= 0 else -1)
                    start = line_start
                last = found
            # Back over a mark that the end of the chunk may have cut.
            searched = (found if found >= 0 else max(searched, len(buffer) - len(mark) + 1)) - start
            buffer = buffer[start:]
            searched, last = max(searched, 0), last - start if last >= 0 else -1
    yield Piece(buffer, False, last)


def read_some(file: Any, size: int, path: str | Path) -> bytes:
    """Up to ``size`` bytes of what :func:`open_any` opened; none at its end, or where a packed file is cut.

    Raises:
        InputError: it cannot be unpacked.
    """
    try:
        # read would lose what comes before the place where a packed file is cut.
        data: bytes = file.read1(size)
    except EOFError:
        left_out(path, "the packed file ends too early; the rest is missing", level=logging.WARNING)
        return b""
    except (OSError, zlib.error, LZMAError) as error:
        raise InputError(f"cannot be unpacked: {error}", path) from error
    return data


def rows(text: bytes, start: int, count: int) -> bytes:
    """``count`` lines of ``text`` from the offset ``start``.

    Raises:
        Unreadable: fewer lines.
    """
    # Fortran writes tables with lines of equal length: then the end is known without looking at every line.
    length = text.find(b"\n", start) + 1 - start
    block = text[start : start + length * count]
    if length > 0 and block.endswith(b"\n") and block.count(b"\n") == count:
        return block
    lines = text[start:].split(b"\n", count)
    if len(lines) <= count:
        raise Unreadable(f"a table of {count} lines is cut short")
    return b"\n".join(lines[:count])


def table(block: bytes, count: int, width: int | None = None, keep: int | None = None) -> NDArray[np.float64]:
    """Numbers of ``count`` lines of ``width`` words each, or of equally many if the width is not known.

    Numbers that stick together, ``10.0-20.0``, are taken apart where the width tells that there are some.

    Args:
        block: the lines.
        count: how many lines they are.
        width: words in a line.
        keep: how many columns are wanted; the others need not be numbers.

    Raises:
        Unreadable: the words cannot be divided among the lines, or are no finite numbers.
    """
    fast = _fixed_point(block, count) if count >= _MANY else None
    if fast is not None and width in (None, fast.shape[1]):
        return fast[:, :keep]
    words = block.split()
    if width is not None and len(words) != count * width:
        words = _STUCK.sub(b" -", block).split()
    if not words or len(words) % count or width not in (None, len(words) // count):
        raise Unreadable("a table has lines of different lengths")
    width = len(words) // count
    if keep is not None and keep < width:
        words = [word for k in range(0, len(words), width) for word in words[k : k + keep]]
    return floats(words).reshape(count, -1)


def _fixed_point(block: bytes, count: int) -> NDArray[np.float64] | None:
    """The same for a table of Fortran's F and I fields, whose decimals stand below each other; else None.

    Without their points the numbers are integers, which are converted two to three times as fast. They are
    rounded as usual up to 2^53, beyond that the last bit may differ.
    """
    line = block[: block.find(b"\n") + 1]
    if not line or len(block) != count * len(line) or block.translate(None, _PLAIN):
        return None
    points, decimals, n_words = [], [], 0
    for word in _WORD.finditer(line):
        begin, end = word.span()
        point = line.find(b".", begin, end)
        decimals.append(end - point - 1 if point >= 0 else 0)
        n_words += 1
        if point >= 0:
            points.append((point, end))
    # Columns of characters: points, last digits, and what follows a number.
    length, dots = len(line), b"." * count
    digits = block.translate(None, b".")
    if len(block) - len(digits) != len(points) * count:
        return None
    for point, end in points:
        follows = block[end::length]
        if block[point::length] != dots or not block[end - 1 :: length].isdigit():
            return None
        if not (follows.isspace() or not follows.translate(None, b" -\n")):
            return None
    try:
        integers = np.fromstring(digits, dtype=np.int64, sep=" ")
    except ValueError:
        return None
    if len(integers) != count * n_words or not -_LARGE < integers.min() <= integers.max() < _LARGE:
        return None
    return integers.reshape(count, n_words) / _powers(tuple(decimals))


@cache
def _powers(decimals: tuple[int, ...]) -> NDArray[np.float64]:
    return np.array([10.0**n for n in decimals])


def floats(words: list[bytes]) -> NDArray[np.float64]:
    """Fortran numbers: ``1.0D+00`` and ``1.0-101`` are numbers, ``****`` is none.

    Raises:
        Unreadable: a word that is no finite number.
    """
    if len(words) < _MANY:
        return np.array([number(word) for word in words])
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        values = np.array([number(word) for word in words])
    if not np.isfinite(values).all():
        raise Unreadable("a number is not finite")
    return values


def number(word: bytes) -> float:
    """One finite Fortran number; raises :class:`Unreadable`."""
    try:
        value = float(word)
    except ValueError:
        try:
            value = float(_BARE_EXPONENT.sub(b"E", word.upper().replace(b"D", b"E")))
        except ValueError as error:
            raise Unreadable(str(error)) from error
    if not isfinite(value):
        raise Unreadable("a number is not finite")
    return value


def batches(frames: Iterable[ParsedFrame], size: int) -> Iterator[LabelledFrames]:
    """Frames collected into batches of at most ``size``; other atoms or another order begin a new batch.

    A scalar that a frame lacks is NaN where others have it; velocities are kept if all have them.

    Raises:
        ValueError: ``size`` is not positive.
    """
    if size < 1:
        raise ValueError(f"a batch of {size} frames; at least one is needed")
    waiting: list[ParsedFrame] = []
    for frame in frames:
        if waiting and (len(waiting) == size or not np.array_equal(frame.numbers, waiting[0].numbers)):
            yield _batch(waiting)
            waiting = []
        waiting.append(frame)
    if waiting:
        yield _batch(waiting)


def _batch(frames: list[ParsedFrame]) -> LabelledFrames:
    missing = np.full((3, 3), np.nan)
    virials = None
    if any(frame.virial is not None for frame in frames):
        virials = np.array([missing if frame.virial is None else frame.virial for frame in frames])
    names = sorted({name for frame in frames for name in frame.scalars})
    extras = {name: np.array([frame.scalars.get(name, np.nan) for frame in frames]) for name in names}
    velocities = [frame.velocities for frame in frames if frame.velocities is not None]
    if len(velocities) == len(frames):
        extras["velocities"] = np.array(velocities)
    return LabelledFrames(
        numbers=frames[0].numbers,
        cells=np.array([frame.cell for frame in frames]),
        positions=np.array([frame.positions for frame in frames]),
        energies=np.array([frame.energy for frame in frames]),
        forces=np.array([frame.forces for frame in frames]),
        virials=virials,
        converged=np.array([frame.converged for frame in frames], dtype=bool),
        extras=extras,
    )
