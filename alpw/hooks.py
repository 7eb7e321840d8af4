"""Functions of the user's that a campaign calls between two of its stages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from inspect import signature
from pathlib import Path
from typing import Any

from pymongo.database import Database

from alpw.config.param import Param
from alpw.errors import InputError


@dataclass(frozen=True)
class Stage:
    """What a function is given: where its campaign stands.

    Attributes:
        campaign: its name.
        iteration: its index; -1 for the labels of the preparation.
        after: the stage that has ended: ``train``, ``explore``, ``select`` or ``label``.
        directory: a folder of the function's own.
        database: of the campaign; the collections are those of `docs/campaigns.md`.
        param: the parameters with which the iteration began.
    """

    campaign: str
    iteration: int
    after: str
    directory: Path
    database: Database
    param: Param


def load(param: Param, index: int) -> Callable[..., Any]:
    """The function that an entry of ``hooks`` names; modules in the folder of param.json are found first.

    Raises:
        InputError: there is none, it cannot be imported, or it does not take the arguments.
    """
    hook, key = param.hooks[index], f"hooks[{index}]"
    module, _, name = hook.function.rpartition(".")
    try:
        with _importing(param.file.parent, module.partition(".")[0]):
            function = getattr(import_module(module), name)
    # Whatever a module of the user's does when it is imported.
    except Exception as error:
        text = f"{hook.function} cannot be imported: {type(error).__name__}: {error}"
        raise InputError(text, param.file, f"{key}.function") from error
    if not callable(function):
        text = f"{hook.function} is {function!r} and no function"
        raise InputError(text, param.file, f"{key}.function")
    if not _takes(function, hook.arguments):
        names = ", ".join(["a stage", *hook.arguments])
        text = f"{hook.function}{signature(function)} cannot be called with {names}"
        raise InputError(text, param.file, f"{key}.arguments")
    return function


def _takes(function: Callable[..., Any], arguments: dict[str, Any]) -> bool:
    try:
        signature(function).bind(None, **arguments)
    except TypeError:
        return False
    except ValueError:
        # Some functions in C do not say what they take.
        return True
    return True


@contextmanager
def _importing(folder: Path, package: str) -> Iterator[None]:
    """Look for modules in a folder first, also if another campaign's of that name have been imported."""
    known = getattr(sys.modules.get(package), "__file__", None)
    own = any((folder / name).is_file() for name in (f"{package}.py", f"{package}/__init__.py"))
    if known and own and not Path(known).is_relative_to(folder):
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
    # A file that was written within the last second may not be in the import system's memory of the folder.
    invalidate_caches()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
