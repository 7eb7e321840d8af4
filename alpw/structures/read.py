"""Reading a structure file by the predecessor's names of formats."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms

from alpw.errors import InputError
from alpw.structures.atom_config import looks_like_atom_config, read_atom_config

FORMATS: dict[str, str] = {
    "pwmat/config": "pwmat/config",
    "pwmat": "pwmat/config",
    "vasp/poscar": "vasp",
    "vasp": "vasp",
    "poscar": "vasp",
    "extxyz": "extxyz",
    "xyz": "extxyz",
    "cif": "cif",
    "lammps/lmp": "lammps-data",
    "lammps/data": "lammps-data",
    "lammps/dump": "lammps-dump-text",
}
"""name in param.json -> ASE's name, or ``pwmat/config``, which ASE does not know"""

_POSCAR_SUFFIXES = {".vasp", ".poscar", ".contcar"}


def read_structure(
    path: str | Path, format: str | None = None, *, pbc: bool | tuple[bool, bool, bool] = True
) -> Atoms:
    """The structure in a file (the last one if there are several).

    Args:
        path: the file.
        format: a key of :data:`FORMATS`; ``None`` recognises it by content and name.
        pbc: periodicity that the structure gets; what the file says about it is not used, since most formats
            cannot say it.

    Raises:
        InputError: no file, an unknown format, or a file that is not what it claims to be.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", path)
    if format is not None and format.lower() not in FORMATS:
        raise InputError(f"unknown format {format!r}; known are {', '.join(FORMATS)}", path)
    name = FORMATS[format.lower()] if format else _guess(path)
    if name == "pwmat/config":
        atoms = read_atom_config(path)
    else:
        # Late: it brings SciPy's integrators, for which no command should wait.
        import ase.io

        try:
            atoms = ase.io.read(path, index=-1, format=name)
        # ASE's readers raise anything from AssertionError to errors of their own on a broken file.
        except Exception as error:
            known = f"as {format}" if format else "as any known format; name it with 'format'"
            raise InputError(f"cannot be read {known}: {type(error).__name__}: {error}", path) from error
    if len(atoms) == 0:
        raise InputError("holds no atoms", path)
    atoms.calc = None
    atoms.set_constraint()
    atoms.pbc = pbc
    return atoms


def _guess(path: Path) -> str | None:
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(4096)
    if looks_like_atom_config(head):
        return "pwmat/config"
    return "vasp" if path.suffix.lower() in _POSCAR_SUFFIXES else None
