"""Libraries that only some formats need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from alpw.errors import AlpwError


def library(name: str, form: str) -> Any:
    """The module of that name, which the format ``form`` needs.

    Imported late, as it is not among what every installation has.

    Raises:
        AlpwError: it is not installed; says how to install it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise AlpwError(f"{form} needs {name}, which is missing: pip install 'alpw[formats]'") from error
