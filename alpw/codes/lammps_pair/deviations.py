"""``model_devi.out`` of the pair styles, told apart by its header and the number of its columns.

| program | header | columns |
| --- | --- | --- |
| PWMLFF | none | counter, largest distance of a force from the mean, the same of an atomic energy |
| MatPL | step avg_devi_f min_devi_f max_devi_f avg_devi_e min_devi_e max_devi_e | seven |
| deepmd-kit | step max_devi_v min_devi_v avg_devi_v max_devi_f min_devi_f avg_devi_f | seven, or more |

PWMLFF's number is max over models w and atoms i of ``|F_wi - mean_w F_wi|`` (``legacy``), and its first
column counts records. deepmd-kit and MatPL 2026 give ``sqrt(mean_w |F_wi - mean_w F_wi|^2)`` (``dpgen``). The
column ``max_devi_f`` of MatPL 2025's style ``matpl`` is PWMLFF's number under the newer header; its
``avg_devi_f`` and ``min_devi_f`` are neither mean nor smallest value of it and are left out. Deviations of
single atomic energies have no counterpart here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alpw.errors import InputError
from alpw.uncertainty.definition import Definition

Array = NDArray[np.float64]

_FORCES = {"max_devi_f": "max_f", "avg_devi_f": "mean_f", "min_devi_f": "min_f"}
_VIRIALS = {"max_devi_v": "max_v", "avg_devi_v": "mean_v", "min_devi_v": "min_v"}


@dataclass(frozen=True)
class Layout:
    """One kind of table.

    Attributes:
        program: who writes it.
        names: of the first columns, as in the header.
        columns: what we call those that we keep.
        definition: of the deviation of a force.
        more: whether columns may follow.
        counted: whether the first column counts records instead of steps.
    """

    program: str
    names: tuple[str, ...]
    columns: dict[str, str]
    definition: Definition
    more: bool = False
    counted: bool = False


_MATPL = ("step", *(f"{which}_devi_{what}" for what in "fe" for which in ("avg", "min", "max")))
_DEEPMD = ("step", *(f"{which}_devi_{what}" for what in "vf" for which in ("max", "min", "avg")))

_PWMLFF = ("step", "max_devi_f", "max_devi_e")

PWMLFF = Layout("PWMLFF", _PWMLFF, {"max_devi_f": "max_f"}, "legacy", counted=True)
MATPL_2025 = Layout("MatPL 2025", _MATPL, {"max_devi_f": "max_f"}, "legacy")
MATPL = Layout("MatPL", _MATPL, _FORCES, "dpgen")
DEEPMD = Layout("deepmd-kit", _DEEPMD, _FORCES | _VIRIALS, "dpgen", more=True)

_WITH_HEADER = (MATPL, DEEPMD)


@dataclass(frozen=True)
class Deviations:
    """The deviations of a run.

    Attributes:
        layout: of the table.
        steps: ``(n,)`` time steps; record 0, 1, ... if the layout counts them.
        values: by our name, each ``(n,)``; eV/Å, virials eV/atom.
    """

    layout: Layout
    steps: NDArray[np.int64]
    values: dict[str, Array]

    def __len__(self) -> int:
        return len(self.steps)


def read_deviations(path: Path, style: str) -> Deviations:
    """The table at ``path``. A last line that is cut short is left out, as a killed run leaves one.

    Args:
        path: ``model_devi.out``.
        style: the pair style that wrote it.

    Raises:
        InputError: no such file, or a layout that is not known; shows the line.
    """
    if not path.is_file():
        raise InputError("no such file: the pair style has written no deviations", path)
    whole, _, _ = path.read_text(errors="replace").rpartition("\n")
    lines = [line for line in whole.split("\n") if line.strip()]
    headers = [line for line in lines if line.lstrip().startswith("#")]
    rows = [line for line in lines if not line.lstrip().startswith("#")]
    layout = _layout(headers[0] if headers else None, rows, style, path)
    width = len(rows[0].split()) if rows else len(layout.names)
    array = np.array([_numbers(line, width, path) for line in rows], dtype=float).reshape(len(rows), width)
    columns = {ours: array[:, layout.names.index(theirs)] for theirs, ours in layout.columns.items()}
    steps = np.arange(len(rows)) if layout.counted else array[:, 0].astype(np.int64)
    return Deviations(layout, steps, columns)


def _layout(header: str | None, rows: list[str], style: str, path: Path) -> Layout:
    width = len(rows[0].split()) if rows else None
    if header is None:
        if width in (None, len(PWMLFF.names)):
            return PWMLFF if style == "pwmlff" or rows else layout_of(style)
        raise _unknown(rows[0], path)
    names = tuple(header.lstrip(" #").split())
    for layout in _WITH_HEADER:
        n = len(layout.names)
        if names[:n] != layout.names or (len(names) > n and not layout.more):
            continue
        if width is not None and (width < n or (width > n and not layout.more)):
            raise _unknown(rows[0], path)
        return MATPL_2025 if layout is MATPL and style == "matpl" else layout
    raise _unknown(header, path)


def layout_of(style: str) -> Layout:
    """The layout that a pair style is expected to write."""
    return {"pwmlff": PWMLFF, "matpl": MATPL_2025, "matpl/dp": MATPL, "deepmd": DEEPMD}[style]


def _numbers(line: str, width: int, path: Path) -> list[float]:
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError:
        raise _unknown(line, path) from None
    if len(numbers) != width:
        raise _unknown(line, path)
    return numbers


def _unknown(line: str, path: Path) -> InputError:
    known = "; ".join(f"{layout.program}: {' '.join(layout.names)}" for layout in (PWMLFF, *_WITH_HEADER))
    return InputError(
        f"the layout of this line is not known: {line.strip()[:160]!r}; known are {known} (PWMLFF: no "
        "header)",
        path,
    )
