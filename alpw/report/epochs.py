"""How far a training is, for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from rich import box
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from alpw.potential import EpochRecord

#: Epochs that the table shows at a time.
MOST_ROWS = 12

Epoch = Sequence[EpochRecord]
"""The records of one epoch, one per member of a committee."""


def epoch_table(epochs: Sequence[Epoch]) -> Table:
    """The last epochs: loss, errors while the weights moved, errors on held-out frames.

    Args:
        epochs: in order; for a committee the numbers are means over its members.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    headings = ("epoch", "loss", "force RMSE\neV/Å", "held out\neV/Å", "energy RMSE\nmeV/atom")
    for name in (*headings, "held out\nmeV/atom", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for records in epochs[-MOST_ROWS:]:
        table.add_row(
            str(records[0].epoch),
            f"{_mean(records, lambda r: r.loss):.3g}",
            _number(_mean(records, lambda r: r.train_force_rmse), 1, 3),
            _number(_mean(records, lambda r: r.valid_force_rmse), 1, 3),
            _number(_mean(records, lambda r: r.train_energy_rmse), 1e3, 1),
            _number(_mean(records, lambda r: r.valid_energy_rmse), 1e3, 1),
            str(timedelta(seconds=round(max(record.seconds for record in records)))),
        )
    return table


def live_view(epochs: Sequence[Epoch], n_epochs: int) -> RenderableType:
    """A bar above the table of the last epochs."""
    done = epochs[-1][0].epoch if epochs else 0
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(total=n_epochs, completed=done, width=40), Text(f"{done} of {n_epochs} epochs"))
    return Group(bar, epoch_table(epochs)) if epochs else bar


def epoch_line(records: Epoch, n_epochs: int) -> str:
    """One epoch in one line, for logs."""
    parts = [f"epoch {records[0].epoch} of {n_epochs}", f"loss {_mean(records, lambda r: r.loss):.3g}"]
    held_out = _mean(records, lambda r: r.valid_force_rmse)
    force = _mean(records, lambda r: r.train_force_rmse)
    parts.append(f"force RMSE {_number(force, 1, 3)} eV/Å")
    if held_out is not None:
        energy = _number(_mean(records, lambda r: r.valid_energy_rmse), 1e3, 1)
        parts.append(f"held out {_number(held_out, 1, 3)} eV/Å, {energy} meV/atom")
    return "  ".join(parts)


def _mean(records: Epoch, value: Callable[[EpochRecord], float | None]) -> float | None:
    known = [number for number in map(value, records) if number is not None]
    return sum(known) / len(known) if known else None


def _number(value: float | None, scale: float, digits: int) -> str:
    return "-" if value is None else f"{scale * value:.{digits}f}"
