"""The learning curve: one record per epoch, one line per record in ``learning_curve.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from alpw.errors import InputError
from alpw.files import write_atomically


@dataclass(frozen=True)
class EpochRecord:
    """What an epoch did.

    Attributes:
        epoch, step: counted from 1; the step is the epoch's last.
        learning_rate: of that step; None for a Kalman filter.
        kalman_lambda: forgetting factor after that step; None for Adam.
        loss: mean over the epoch's steps; for a Kalman filter, with the limit prefactors.
        train_force_rmse, train_energy_rmse: eV/Å and eV/atom, over the epoch's steps while the weights moved.
        valid_force_rmse, valid_energy_rmse: at the end of the epoch; None if it was not validated.
        seconds: wall time since training began.
    """

    epoch: int
    step: int
    learning_rate: float | None
    kalman_lambda: float | None
    loss: float
    train_force_rmse: float
    train_energy_rmse: float
    valid_force_rmse: float | None
    valid_energy_rmse: float | None
    seconds: float


COLUMNS = tuple(field.name for field in fields(EpochRecord))
_WHOLE = ("epoch", "step")


def write_curve(path: Path, records: Sequence[EpochRecord]) -> None:
    """A new file with a header and ``records``, in place of an old one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(record) for record in records)
    write_atomically(path, text.getvalue().encode())


def append_curve(path: Path, record: EpochRecord) -> None:
    """One more line."""
    with path.open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(_row(record))


def read_curve(path: str | Path) -> list[EpochRecord]:
    """The records in a file.

    Raises:
        InputError: no such file, or one that is no learning curve.
    """
    try:
        with Path(path).open(newline="") as file:
            header, *rows = csv.reader(file)
            if tuple(header) != COLUMNS:
                raise InputError(f"not a learning curve; its first line should be {','.join(COLUMNS)}", path)
            return [EpochRecord(**_values(row)) for row in rows]
    except OSError as error:
        raise InputError(f"cannot read the learning curve: {error.strerror}", path) from error
    except (ValueError, TypeError) as error:
        raise InputError(f"not a learning curve: {error}", path) from error


def _row(record: EpochRecord) -> list[str]:
    # repr keeps all digits of a float.
    return ["" if value is None else repr(value) for value in asdict(record).values()]


def _values(row: Sequence[str]) -> dict[str, Any]:
    pairs = zip(COLUMNS, row, strict=True)
    return {key: (int(text) if key in _WHOLE else float(text)) if text else None for key, text in pairs}
