"""Exchange of models with deepmd-kit, TorchScript, ASE and LAMMPS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from ase import Atoms

from alpw.errors import InputError
from alpw.potential.interchange.deepmd_export import to_deepmd
from alpw.potential.interchange.deepmd_files import READ, find_deepmd, read_deepmd, write_deepmd
from alpw.potential.interchange.deepmd_import import from_deepmd
from alpw.potential.interchange.scripts import (
    example_structure,
    write_ase,
    write_lammps,
    write_lammps_deepmd,
)
from alpw.potential.interchange.torchscript import to_torchscript
from alpw.potential.model import DeepPotential

Target = Literal["deepmd", "torchscript", "ase", "lammps"]
Engine = Literal["alpw", "deepmd"]

__all__ = [
    "READ",
    "Engine",
    "Target",
    "export_model",
    "find_deepmd",
    "from_deepmd",
    "import_model",
    "read_deepmd",
    "to_deepmd",
    "to_torchscript",
    "write_deepmd",
]


def export_model(
    model: DeepPotential,
    target: Target,
    path: str | Path,
    *,
    sel: int | Sequence[int] | None = None,
    engine: Engine | None = None,
    deepmd_python: str | Path | None = None,
    model_file: str | Path | None = None,
    structure: Atoms | None = None,
) -> list[Path]:
    """Write ``model`` for another program.

    Args:
        model: any variant; of a compressed one deepmd-kit and TorchScript get the networks.
        target: ``deepmd``: a model file, its format by the ending of ``path``; ``torchscript``: a file for
            `torch.jit.load`; ``ase``: a Python script; ``lammps``: an input file.
        path: the file to write; others are named after it.
        sel: deepmd-kit only, see `to_deepmd`.
        engine: LAMMPS only: ``alpw`` (the default) computes forces here, ``deepmd`` in `pair_style deepmd`.
        deepmd_python: Python of an environment with deepmd-kit, see `find_deepmd`.
        model_file: where the model lies, for scripts that load it; None writes it beside ``path``.
        structure: what scripts start from; None for a small crystal of the first element.

    Returns:
        The files written, the one to run first.

    Raises:
        InputError: an unknown target or engine, no folder to write to, or what `to_deepmd`, `write_deepmd`
            and the structure are refused for.
        AlpwError: deepmd-kit failed.
    """
    path = Path(path)
    for key, value, allowed in (("target", target, Target), ("engine", engine or "alpw", Engine)):
        if value not in get_args(allowed):
            raise InputError(f"found {value!r}; allowed: {', '.join(get_args(allowed))}", key=key)
    if not path.parent.is_dir():
        raise InputError("no such folder", file=path.parent)
    if target == "deepmd":
        write_deepmd(to_deepmd(model, sel), path, deepmd_python)
        return [path]
    if target == "torchscript":
        to_torchscript(model, path)
        return [path]
    elements = model.config.elements
    structure = structure if structure is not None else example_structure(elements)
    if target == "lammps" and engine == "deepmd":
        found = find_deepmd(deepmd_python)
        frozen = path.with_name(path.name + ".pb")
        made = frozen if found else frozen.with_suffix(".yaml")
        write_deepmd(to_deepmd(model, sel), made, found)
        how = "Run it in deepmd-kit's environment: lmp -in " + path.name
        if not found:
            how = f"First, once: dp convert-backend {made.name} {frozen.name}\n# {how}"
        return [*write_lammps_deepmd(path, frozen, structure, elements, how), made]
    written: list[Path] = []
    if model_file is None:
        model_file = path.with_name(path.name + ".pt")
        model.save(model_file)
        written = [model_file]
    if target == "ase":
        return [*write_ase(path, Path(model_file), structure), *written]
    return [*write_lammps(path, Path(model_file), structure, elements), *written]


def import_model(path: str | Path, *, deepmd_python: str | Path | None = None) -> DeepPotential:
    """The model in a deepmd-kit file, exactly.

    Args:
        path: ``.yaml`` and ``.yml`` are read here, the other formats of `READ` by deepmd-kit.
        deepmd_python: Python of an environment with deepmd-kit, see `find_deepmd`.

    Raises:
        InputError: not a model, or one that ours cannot represent exactly, by the key at fault.
        AlpwError: deepmd-kit failed.
    """
    try:
        return from_deepmd(read_deepmd(path, deepmd_python))
    except InputError as error:
        raise InputError(error.message, file=path, key=error.key) from error
