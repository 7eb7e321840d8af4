"""Reading labelled data, whatever format it has."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from alpw.errors import InputError
from alpw.formats.pwdata import Part, is_pwdata, read_pwdata
from alpw.formats.registry import FORMATS, NOTHING_SAID, recognise
from alpw.structures.frame import LabelledFrame
from alpw.structures.frames import LabelledFrames, single_frames

logger = logging.getLogger(__name__)


def load_frames(path: str | Path, part: Part = "all") -> list[LabelledFrame]:
    """The labelled frames of a file or folder in any labelled format, recognised by content.

    Frames whose SCF did not converge are left out, with a warning.

    Args:
        path: file or folder.
        part: of PWdata in the old layout, read its ``train``, its ``valid`` folders or both. Everything else
            is all ``"train"``.

    Raises:
        InputError: no data, an unknown format, or a frame without a complete label; names file and frame.
    """
    path = Path(path)
    frames = list(single_frames(_converged(read_labelled(path, part), path)))
    if not frames and part == "all":
        raise InputError("holds no frames", path)
    return frames


def read_labelled(path: Path, part: Part = "all") -> Iterator[LabelledFrames]:
    """The same a few frames at a time, with those whose SCF did not converge.

    Raises:
        InputError: no data, an unknown format, or a frame without a complete label; names file and frame.
    """
    form = recognise(path)
    if form is None or not form.labelled:
        known = ", ".join(known.name for known in FORMATS if known.labelled)
        found = f"{form.name}, which has no labels" if form else "an unknown format"
        raise InputError(f"found {found}; labelled data are {known}", path)
    if path.is_dir() and is_pwdata(path):
        return read_pwdata(path, part)
    return form.read(path, NOTHING_SAID) if part != "valid" else iter(())


def _converged(batches: Iterator[LabelledFrames], path: Path) -> Iterator[LabelledFrames]:
    n_dropped = 0
    for batch in batches:
        n_dropped += int((~batch.converged).sum())
        yield batch if batch.converged.all() else batch.select(batch.converged)
    if n_dropped:
        logger.warning("%s: %d frames without a converged SCF are left out", path, n_dropped)
