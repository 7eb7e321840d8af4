"""A model of our own as a calculator."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from alpw.errors import InputError
from alpw.potential.calculator import DeepPotentialCalculator
from alpw.potential.model import DeepPotential


def calculator_of(model: str | Path) -> DeepPotentialCalculator:
    """The calculator of a model file, on the GPU if there is one.

    Raises:
        InputError: no such file, or it holds no model.
    """
    return DeepPotentialCalculator(DeepPotential.load(model, "cuda" if torch.cuda.is_available() else "cpu"))


def check_elements(model: Path, elements: Iterable[str]) -> None:
    """Raise `InputError` if a model file cannot be read, or does not know an element."""
    known = DeepPotential.load(model).config.elements
    if missing := [symbol for symbol in elements if symbol not in known]:
        raise InputError(
            f"the model knows {', '.join(known)} and not {', '.join(missing)}; use one that does",
            model,
            "dft.model",
        )
