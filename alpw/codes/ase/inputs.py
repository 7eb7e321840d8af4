"""Input of a calculation with an ASE calculator: ``ase.json``, and what it may hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from alpw.codes.ase.calculators import files_in, lacks, resolve
from alpw.codes.ase.control import changes_of, check_cell, check_motion, moves_cell, read_control
from alpw.codes.ase.corrections import INPUT
from alpw.codes.ase.documents import structure_document
from alpw.codes.protocol import Task
from alpw.errors import InputError

if TYPE_CHECKING:
    from alpw.config import Dft


def check(dft: Dft, elements: Iterable[str], task: Task = Task.LABEL) -> None:
    """Raise `InputError` for what can be known without building the calculator.

    The calculator is looked up where this runs; building it may take minutes, or download a model.

    Raises:
        InputError: neither or both of ``calculator`` and ``model``; an import path that leads nowhere; a
            model that lacks an element; files by a path that the run would not find; a control file that
            cannot be meant; a calculator known to give no forces, or no stress where one is needed.
    """
    if (dft.calculator is None) == (dft.model is None):
        found = "both are given" if dft.model else "there is neither"
        raise InputError(
            f"{found}; give 'calculator', an import path such as mace.calculators.mace_mp, or 'model', a "
            "model of our own",
            key="dft.calculator",
        )
    control = check_motion(dft, task)
    if dft.model is not None:
        _check_model(dft, elements)
        return
    assert dft.calculator is not None
    resolve(dft.calculator)
    if lacks(dft.calculator, "forces"):
        raise InputError(f"{dft.calculator} gives no forces; use another", key="dft.calculator")
    for key, value in _relative_files(dft.arguments):
        raise InputError(
            f"{value!r} is a file here, and not in the folder of a run; give {Path(value).resolve()}",
            key=f"dft.arguments.{key}",
        )
    if lacks(dft.calculator, "stress"):
        _check_without_stress(dft, task, control)


def check_structure(atoms: Atoms, dft: Dft, task: Task = Task.LABEL) -> None:
    """Raise `InputError` for npt without a volume."""
    check_cell(atoms, read_control(dft, task), dft.input)


def further_files(dft: Dft) -> list[Path]:
    """The model file, and the files among the arguments of the calculator."""
    return [*([dft.model] if dft.model else []), *files_in(dft.arguments)]


def write_inputs(atoms: Atoms, directory: Path, dft: Dft, task: Task = Task.LABEL) -> list[str]:
    """Write ``ase.json``; returns what the control file left open and what went before it."""
    document: dict[str, Any] = {"structure": structure_document(atoms), "theory": _theory(dft)}
    if control := read_control(dft, task):
        document["task"] = control
    (directory / INPUT).write_text(json.dumps(document, indent=1))
    return changes_of(dft, task)


def _theory(dft: Dft) -> dict[str, Any]:
    if dft.model is not None:
        return {"model": str(Path(dft.model).resolve())}
    return {"calculator": dft.calculator, "arguments": dft.arguments}


def _check_model(dft: Dft, elements: Iterable[str]) -> None:
    if dft.arguments:
        raise InputError("belong to 'calculator'; a model takes none", key="dft.arguments")
    # torch takes seconds to import, and only models of our own need it.
    from alpw.codes.ase.models import check_elements

    assert dft.model is not None
    check_elements(dft.model, elements)


def _check_without_stress(dft: Dft, task: Task, control: dict[str, Any]) -> None:
    if moves_cell(control):
        key = "cell" if task is Task.RELAX else "ensemble"
        raise InputError(f"{dft.calculator} gives no stress, so the cell must stay fixed", dft.input, key)
    if task is Task.LABEL and dft.stress:
        raise InputError(f"{dft.calculator} gives none; set it to false to do without", key="dft.stress")


def _relative_files(arguments: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Arguments that name a file by a path that holds in this folder only."""
    for key, value in arguments.items():
        path = Path(value) if isinstance(value, str) else Path()
        # A name without suffix is more likely that of a model than of a file.
        if path.suffix and not path.is_absolute() and path.is_file():
            yield key, value
