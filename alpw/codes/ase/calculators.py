"""Calculators by import path: found, built, and described so that the same text means the same potential."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ase.calculators import calculator as ase_errors

from alpw.codes.failures import MEMORY_PATTERNS, match
from alpw.errors import CalculationError, FailureKind, InputError

PACKAGES = {
    "chgnet": "chgnet",
    "deepmd": "deepmd-kit",
    "dftd3": "dftd3",
    "fairchem": "fairchem-core",
    "mace": "mace-torch",
    "matgl": "matgl",
    "mattersim": "mattersim",
    "nequip": "nequip",
    "orb_models": "orb-models",
    "sevenn": "sevenn",
    "tblite": "tblite",
    "upet": "upet",
}
"""module -> what to install for it, where the names differ or are often asked for"""

PLACES = frozenset({"device"})
"""Arguments that say where a calculator computes and not what; no part of the level of theory."""

_KINDS: tuple[tuple[tuple[type[BaseException], ...], FailureKind], ...] = (
    ((ase_errors.SCFError,), FailureKind.SCF),
    ((MemoryError,), FailureKind.MEMORY),
    ((ase_errors.CalculatorSetupError, ase_errors.InputError), FailureKind.INPUT),
    ((NotImplementedError, ImportError), FailureKind.INPUT),
    # A model that is fetched when it is first used.
    ((ConnectionError, TimeoutError), FailureKind.NODE),
)


def resolve(path: str) -> Callable[..., Any]:
    """The class or function of an import path, ``package.module.name`` or ``package.module:name``.

    Its module is imported; nothing is called.

    Raises:
        InputError: no such module or name, or it cannot be called; names ``dft.calculator`` and what to
            install.
    """
    module_name, _, name = path.replace(":", ".").rpartition(".")
    if not module_name or not name:
        raise InputError(
            f"{path!r} is no import path; give package.module.name, such as mace.calculators.mace_mp",
            key="dft.calculator",
        )
    found = getattr(_module(path, module_name), name, None)
    if found is None:
        close = difflib.get_close_matches(name, dir(importlib.import_module(module_name)), n=3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise InputError(f"{module_name} has no {name!r}{hint}", key="dft.calculator")
    if not callable(found):
        raise InputError(
            f"{path} is {type(found).__name__}, not a class or function that makes a calculator",
            key="dft.calculator",
        )
    return found


def lacks(path: str, name: str) -> bool:
    """Whether a calculator is known not to give a property: a class whose own list leaves it out.

    What a function makes is not known before it is called.

    Args:
        path: import path, as for `resolve`.
        name: of the property in ASE, such as ``"stress"``.

    Raises:
        InputError: as `resolve`.
    """
    known = getattr(resolve(path), "implemented_properties", None)
    return isinstance(known, (list, tuple, set)) and bool(known) and name not in known


def build(path: str, arguments: dict[str, Any]) -> Any:
    """The calculator.

    Args:
        path: import path, as for `resolve`.
        arguments: keyword arguments of the class or function.

    Raises:
        InputError: as `resolve`.
        CalculationError: it cannot be built, in its own words, or it is no calculator.
    """
    factory = resolve(path)
    try:
        calculator = factory(**arguments)
    # Other people's code may raise anything.
    except Exception as error:
        raise CalculationError(
            f"{path} cannot be built: {in_words(error)}", kind_of(error, FailureKind.INPUT)
        ) from error
    if not hasattr(calculator, "get_potential_energy"):
        raise CalculationError(
            f"{path} gives {type(calculator).__name__}, which is no ASE calculator", FailureKind.INPUT
        )
    return calculator


def level_of_theory(path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What a calculator computes, in words that change when the numbers may.

    Args:
        path: import path.
        arguments: keyword arguments; an existing file stands there as the SHA-256 of its content.

    Returns:
        ``calculator``, ``arguments`` without `PLACES`, and ``package`` with its ``version``; for a module
        that belongs to no installed package, the SHA-256 of its ``source``.
    """
    kept = {key: value for key, value in arguments.items() if key not in PLACES}
    return {"calculator": path, "arguments": _by_content(kept), **_origin(resolve(path), path)}


def files_in(arguments: Any) -> Iterator[Path]:
    """Every existing file that the arguments of a calculator name by an absolute path."""
    if isinstance(arguments, dict):
        arguments = list(arguments.values())
    if isinstance(arguments, list):
        for value in arguments:
            yield from files_in(value)
    elif _is_file(arguments):
        yield Path(arguments)


def sha256(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def kind_of(error: BaseException, otherwise: FailureKind = FailureKind.UNKNOWN) -> FailureKind:
    """The class of a failure by the exception that a calculator raised; ours know theirs."""
    if isinstance(error, CalculationError):
        return error.kind
    if isinstance(error, InputError):
        return FailureKind.INPUT
    # torch.OutOfMemoryError is told by its words, without importing torch.
    if match(in_words(error), MEMORY_PATTERNS):
        return FailureKind.MEMORY
    return next((kind for types, kind in _KINDS if isinstance(error, types)), otherwise)


def in_words(error: BaseException) -> str:
    """One line: our own message, or the type of the exception and the last line of what it said."""
    if isinstance(error, CalculationError):
        return error.message
    if isinstance(error, InputError):
        return str(error)
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[-1]}" if said else type(error).__name__


def _module(path: str, module_name: str) -> Any:
    root = module_name.partition(".")[0]
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == root and importlib.util.find_spec(root) is not None:
            text = f"{path}: there is no module {error.name}"
        else:
            # No other name is guessed at: it may be the user's own, and somebody else's on the index.
            known = PACKAGES.get(missing)
            advice = f"pip install {known}" if known else "install it, or put its folder on PYTHONPATH"
            text = f"{path} needs the module {missing}: {advice}"
        raise InputError(text, key="dft.calculator") from error
    # Broken installations raise anything: a missing CUDA library, another version of a dependency.
    except Exception as error:
        raise InputError(f"{path} cannot be imported: {in_words(error)}", key="dft.calculator") from error


def _by_content(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _by_content(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_by_content(entry) for entry in value]
    return f"sha256:{sha256(Path(value))}" if _is_file(value) else value


def _is_file(value: Any) -> bool:
    # A bare name is the calculator's own business: "small" is a model of MACE and no file of ours.
    return isinstance(value, str) and Path(value).is_absolute() and Path(value).is_file()


def _origin(factory: Callable[..., Any], path: str) -> dict[str, str]:
    root = path.replace(":", ".").partition(".")[0]
    names = sorted(set(importlib.metadata.packages_distributions().get(root, [])))
    if names:
        versions = [importlib.metadata.version(name) for name in names]
        return {"package": ", ".join(names), "version": ", ".join(versions)}
    source = inspect.getsourcefile(inspect.unwrap(factory))
    return {"source": f"sha256:{sha256(Path(source))}"} if source else {}
