"""How all plots of models look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from alpw.files import replacing

#: Colours that remain distinct for colour-blind readers (Okabe and Ito's palette).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#888888"

DPI = 150

#: What a plot may be written as.
SUFFIXES = (".png", ".pdf", ".svg", ".eps", ".jpg")


@contextmanager
def drawing(file: Path, width: float, height: float, title: str = "", dpi: int = DPI) -> Iterator[Figure]:
    """A figure to draw on, written to ``file`` in one step at the end.

    Args:
        file: to write, with one of `SUFFIXES`.
        width: in inches.
        height: in inches.
        title: above all panels.
        dpi: dots per inch of a picture made of dots.

    Raises:
        OSError: it cannot be written; names ``file``, of which an older version stays.
    """
    settings = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        if title:
            figure.suptitle(title, fontsize=11)
        with replacing(file) as target:
            figure.savefig(target, format=file.suffix[1:].lower(), dpi=dpi)


def logarithmic(*axes: Axis) -> None:
    """Label logarithmic axes with plain numbers, few enough to stay apart; call it with the limits set."""
    for axis in axes:
        decades = float(np.log10(np.divide(*axis.get_view_interval()[::-1])))
        digits: Sequence[float] = (1.0,)
        if decades < 2:
            digits = (1.0, 2.0, 5.0) if decades > 0.7 else range(1, 10)
        axis.set_major_locator(LogLocator(subs=digits))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
