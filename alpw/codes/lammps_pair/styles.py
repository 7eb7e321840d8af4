"""The pair styles of deepmd-kit, PWMLFF and MatPL: how LAMMPS is told of the models.

| style | program | models | atoms named by |
| --- | --- | --- | --- |
| deepmd | deepmd-kit | m0.pb m1.pb ... | symbol |
| pwmlff | Lammps_for_PWMLFF, until 2025.02 | number of models, m0.pt m1.pt ... | atomic number |
| matpl | MatPL 2025.03 | m0.pt m1.pt ... | atomic number |
| matpl/dp | MatPL 2026 | m0.pt m1.pt ... | atomic number |

All take ``out_freq`` and ``out_file``; the first model drives, the others are evaluated on output steps.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ase.data import atomic_numbers

from alpw.codes.process import split_command
from alpw.errors import InputError

TABLE_FILE = "model_devi.out"
_INPUT_FLAGS = ("-in", "-i", "-log", "-l")


@dataclass(frozen=True)
class PairStyle:
    """One pair style.

    Attributes:
        name: as LAMMPS knows it.
        counted: whether the number of models goes before their names.
        symbols: whether atom types are named by symbol in ``pair_coeff``, else by atomic number.
    """

    name: str
    counted: bool = False
    symbols: bool = False

    def commands(self, models: Sequence[str], elements: Sequence[str], stride: int) -> Iterator[str]:
        """The lines ``pair_style`` and ``pair_coeff``.

        Args:
            models: files, the driving one first.
            elements: symbols of atom types 1, 2, ....
            stride: steps between lines of the deviation.
        """
        words = [self.name, *([str(len(models))] if self.counted else []), *models]
        if len(models) > 1:
            words += ["out_freq", str(stride), "out_file", TABLE_FILE]
        yield f"pair_style {' '.join(words)}"
        kinds = elements if self.symbols else [str(atomic_numbers[symbol]) for symbol in elements]
        yield f"pair_coeff * * {' '.join(kinds)}"


STYLES = {
    style.name: style
    for style in (
        PairStyle("deepmd", symbols=True),
        PairStyle("pwmlff", counted=True),
        PairStyle("matpl"),
        PairStyle("matpl/dp"),
    )
}
"""All styles by name."""


def lammps_words(command: str) -> list[str]:
    """The words of a LAMMPS command, without an input or a log that the user named: these are ours.

    Raises:
        InputError: what `split_command` refuses.
    """
    words = split_command(command)
    kept: list[str] = []
    while words:
        word = words.pop(0)
        if word in _INPUT_FLAGS:
            words = words[1:]
        else:
            kept.append(word)
    return kept


def compiled_styles(command: str, timeout: float = 120.0) -> set[str]:
    """The pair styles that a LAMMPS binary has, as its ``-h`` lists them.

    Args:
        command: how LAMMPS is called.
        timeout: s.

    Raises:
        InputError: the command cannot be run, or does not list any.
    """
    words = [*lammps_words(command), "-h"]
    try:
        text = subprocess.run(
            words, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"cannot run {' '.join(words)!r}: {error}", key="explore.command") from error
    found = re.search(r"\* Pair styles:?\s*\n(.*?)(?:\n\*|\Z)", text, re.DOTALL)
    if found is None:
        raise InputError(
            f"{' '.join(words)!r} lists no pair styles; give the command of a LAMMPS binary",
            key="explore.command",
        )
    return set(found[1].split())
