"""deepmd-kit's model files.

``.yaml`` and ``.yml`` are written and read here, without deepmd-kit. The other formats are made by
deepmd-kit itself, in a process of its own: its TensorFlow and our torch do not share one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from alpw.errors import AlpwError, InputError
from alpw.files import write_atomically
from alpw.potential.interchange import deepmd_bridge

PORTABLE = (".yaml", ".yml")
WRITTEN = (*PORTABLE, ".pb", ".pth", ".dp")
READ = (*WRITTEN, ".pt")

PYTHON_VARIABLE = "ALPW_DEEPMD_PYTHON"
"""Environment variable with the path of a Python that has deepmd-kit."""


_RAISED = re.compile(r"[\w.]+(Error|Exception|Interrupt|Exit)\b")


def write_deepmd(data: dict[str, Any], path: str | Path, python: str | Path | None = None) -> None:
    """Write a deepmd-kit dictionary; a file at ``path`` is replaced in one step.

    Args:
        data: what `to_deepmd` makes.
        path: its ending says the format, one of `WRITTEN`.
        python: of an environment with deepmd-kit, as for `find_deepmd`.

    Raises:
        InputError: another ending, or one that needs deepmd-kit where there is none.
        AlpwError: deepmd-kit failed; its last words.
    """
    path = Path(path)
    _require(path, WRITTEN)
    text = deepmd_bridge.dump(data)
    if path.suffix in PORTABLE:
        write_atomically(path, text.encode())
        return
    interpreter = _interpreter(path, python, "dp convert-backend {yaml} {file}")
    with tempfile.TemporaryDirectory(dir=path.resolve().parent, prefix=f".{path.name}.") as folder:
        portable, made = Path(folder) / "model.json", Path(folder) / path.name
        portable.write_text(text)
        _run(interpreter, folder, path, "write", portable, made)
        made.replace(path)


def read_deepmd(path: str | Path, python: str | Path | None = None) -> dict[str, Any]:
    """The deepmd-kit dictionary in a model file.

    Args:
        path: its ending says the format, one of `READ`.
        python: of an environment with deepmd-kit, as for `find_deepmd`.

    Raises:
        InputError: no such file, not a model, another ending, or one that needs a
            deepmd-kit that is not there.
        AlpwError: deepmd-kit failed; its last words.
    """
    path = Path(path)
    _require(path, READ)
    if not path.is_file():
        raise InputError("no such file", file=path)
    if path.suffix in PORTABLE:
        return _parsed(path.read_text(errors="replace"), path)
    interpreter = _interpreter(path, python, "dp convert-backend {file} {yaml}")
    with tempfile.TemporaryDirectory() as folder:
        portable = Path(folder) / "model.json"
        _run(interpreter, folder, path, "read", path.resolve(), portable)
        return _parsed(portable.read_text(), path)


def find_deepmd(python: str | Path | None = None) -> Path | None:
    """The Python that has deepmd-kit: ``python``, else `PYTHON_VARIABLE`, else this one if it has it.

    Raises:
        InputError: a path at which there is no program.
    """
    given = python or os.environ.get(PYTHON_VARIABLE)
    if given:
        if not os.access(given, os.X_OK) or Path(given).is_dir():
            raise InputError(f"found {given}; allowed: the Python of an environment with deepmd-kit")
        return Path(given)
    return Path(sys.executable) if importlib.util.find_spec("deepmd") else None


def _require(path: Path, allowed: tuple[str, ...]) -> None:
    if path.suffix not in allowed:
        raise InputError(f"found {path.suffix or 'no ending'}; allowed: {', '.join(allowed)}", file=path)


def _interpreter(path: Path, python: str | Path | None, command: str) -> Path:
    found = find_deepmd(python)
    if found is None:
        command = command.format(file=path.name, yaml=path.with_suffix(".yaml").name)
        raise InputError(
            f"{path.suffix} needs deepmd-kit: `pip install 'alpw[deepmd]'`, or set {PYTHON_VARIABLE} to the "
            f"Python of its environment, or take .yaml here and run `{command}` there",
            file=path,
        )
    return found


def _run(python: Path, folder: str, path: Path, *arguments: str | Path) -> None:
    """Run the bridge; its text goes through a pipe, so that no file beside it can shadow a module."""
    result = subprocess.run(
        [python, "-", *map(str, arguments)],
        input=Path(deepmd_bridge.__file__).read_text(),
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        # TensorFlow's libraries have words of their own after Python's last one.
        said = [line for line in result.stderr.splitlines() if _RAISED.match(line)]
        words = said[-1] if said else f"exit status {result.returncode}"
        raise AlpwError(f"{path}: deepmd-kit in {python} failed: {words}")


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        data = json.loads(text)  # what `write_deepmd` writes; a hundred times faster than YAML
    except ValueError:
        try:
            data = YAML(typ="safe", pure=True).load(text)
        except YAMLError as error:
            raise InputError(f"not YAML: {' '.join(str(error).split())}", file=path) from error
    if not isinstance(data, dict) or "model" not in data:
        raise InputError("not a deepmd-kit model: it has no key `model`", file=path)
    restored: dict[str, Any] = deepmd_bridge.restore(data)
    return restored
