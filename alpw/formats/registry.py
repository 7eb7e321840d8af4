"""All formats by the predecessor's names: readers, writers, and how their content is recognised."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from lzma import LZMAError
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from ase import Atoms

from alpw.errors import InputError
from alpw.formats import (
    ase_db,
    cp2k,
    deepmd,
    deepmd_hdf5,
    deepmd_lmdb,
    extxyz,
    lammps,
    lammps_dump,
    movement,
    outcar,
    poscar,
    pwdata,
    vasprun,
)
from alpw.formats.batches import Frames, in_batches
from alpw.formats.streaming import open_any
from alpw.structures import atom_config
from alpw.structures.frames import LabelledFrames

HEAD = 65_536
"""characters of a file that its recognition looks at"""


class Options(NamedTuple):
    """What a file may leave open.

    Attributes:
        elements: symbols of LAMMPS types 1, 2, ....
        energy: which energy of VASP is the label: ``free``, the one that goes with the forces, or the one
            extrapolated to zero smearing, ``sigma0``.
    """

    elements: tuple[str, ...] = ()
    energy: Literal["free", "sigma0"] = "free"


NOTHING_SAID = Options()


@dataclass(frozen=True)
class LabelledFormat:
    """A format whose frames have energies and forces.

    Attributes:
        name: the predecessor's name.
        description: one line for the user.
        recognise: whether a file or folder is in this format, by its content alone.
        read: frames in batches of the same atoms; raises :class:`InputError` with file and frame.
        write: replaces a file or folder; None for a format that is only read.
        suffix: ending of a file of this format, or of the one folder that LMDB is; empty for a folder of
            data sets.
        synonyms: other names, in small letters.
        structures: reads the structures of frames that need no label; from ``read`` if None.
    """

    name: str
    description: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path, Options], Iterator[LabelledFrames]]
    write: Callable[[Path, Frames], object] | None = None
    suffix: str = ""
    synonyms: tuple[str, ...] = ()
    structures: Callable[[Path], Iterator[Atoms]] | None = None
    labelled: ClassVar[bool] = True

    def is_one(self, path: Path) -> bool:
        """Whether a data set of that name is one file (or database), not a folder to put several in."""
        return bool(self.suffix and path.suffix) and (not path.is_dir() or self.recognise(path))

    def read_structures(self, path: Path, options: Options) -> Iterator[Atoms]:
        """The structures of its frames, labels left out."""
        if self.structures is not None:
            return self.structures(path)
        return (frame.atoms for batch in self.read(path, options) for frame in batch)


@dataclass(frozen=True)
class StructureFormat:
    """A format without energies; see :class:`LabelledFormat`.

    Attributes:
        single: a file holds one structure.
    """

    name: str
    description: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path, Options], Iterator[Atoms]]
    write: Callable[[Path, Iterable[Atoms], Options], object] | None
    suffix: str
    synonyms: tuple[str, ...] = ()
    single: bool = True
    labelled: ClassVar[bool] = False

    def read_structures(self, path: Path, options: Options) -> Iterator[Atoms]:
        """The structures."""
        return self.read(path, options)


Format = LabelledFormat | StructureFormat


def find(name: str) -> Format:
    """The format of that name or synonym, in any case.

    Raises:
        InputError: there is none; names the nearest.
    """
    if name.lower() in _BY_NAME:
        return _BY_NAME[name.lower()]
    near = get_close_matches(name.lower(), _BY_NAME, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(form.name for form in FORMATS)}"
    raise InputError(f"unknown format {name!r}; {hint}")


def recognise(path: str | Path) -> Format | None:
    """The format of a file or folder by its content, None for something else.

    Raises:
        InputError: no such file or folder, or one that may not be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("no such file or folder", path)
    return next((form for form in FORMATS if form.recognise(path)), None)


def _head(looks_like: Callable[[str], bool]) -> Callable[[Path], bool]:
    """A recogniser of files from what their beginning looks like."""

    def recognised(path: Path) -> bool:
        if not path.is_file():
            return False
        try:
            with open_any(path) as file:
                return looks_like(file.read(HEAD).decode("utf-8", errors="replace"))
        except PermissionError as error:
            raise InputError("cannot be read: permission denied", path) from error
        except (OSError, EOFError, zlib.error, LZMAError):
            # Only the ending of its name is that of a packed file.
            return False

    return recognised


def _is_movement(head: str) -> bool:
    """A frame's header with energies, and forces unless they lie beyond the head."""
    first = head.split("\n", 1)[0]
    is_header = "Iteration" in first and "Etot" in first
    return is_header and ("Force" in head or len(head) == HEAD)


def _movement_structures(path: Path) -> Iterator[Atoms]:
    """Those of the frames, or of a final.config after dynamics: one frame without the line that ends it."""
    n_frames = 0
    for batch in movement.read_movement(path):
        n_frames += len(batch)
        yield from (frame.atoms for frame in batch)
    if not n_frames:
        yield atom_config.read_atom_config(path)


def _is_outcar(head: str) -> bool:
    return bool(re.search(r"^ ?vasp\.\d", head[:2000], re.MULTILINE)) and "executed on" in head[:4000]


def _is_vasprun(head: str) -> bool:
    return head.lstrip().startswith("<?xml") and "<modeling>" in head


def _is_cp2k(*run_types: str) -> Callable[[str], bool]:
    """A log of one of these kinds of run."""

    def looks_like(head: str) -> bool:
        kind = re.search(r"^ *GLOBAL\| Run type +(\S+)", head, re.MULTILINE)
        return cp2k.looks_like_cp2k(head) and kind is not None and kind[1] in run_types

    return looks_like


def _one(path: Path, structures: Iterable[Atoms]) -> Atoms:
    """The only structure; raises :class:`InputError` for none or several."""
    found = [atoms for atoms, _ in zip(structures, range(2), strict=False)]
    if len(found) != 1:
        raise InputError(f"a file of this format holds one structure, not {len(found) or 'none'}", path)
    return found[0]


FORMATS: tuple[Format, ...] = (
    LabelledFormat(
        "pwmlff/npy",
        "PWdata folders of the predecessor, old (train, valid) and flat layout",
        pwdata.is_pwdata,
        lambda path, options: pwdata.read_pwdata(path),
        pwdata.write_pwdata,
        synonyms=("pwdata", "pwmlff"),
    ),
    LabelledFormat(
        "deepmd/mixed",
        "mixed systems of deepmd-kit (real_atom_types.npy)",
        lambda path: deepmd.is_deepmd(path, mixed=True),
        lambda path, options: deepmd.read_deepmd(path),
        lambda path, frames: deepmd.write_deepmd(path, frames, mixed=True),
        synonyms=("deepmd/npy/mixed",),
    ),
    LabelledFormat(
        "deepmd/npy",
        "systems of deepmd-kit (type.raw, set.*)",
        lambda path: deepmd.is_deepmd(path) and not deepmd.is_deepmd(path, mixed=True),
        lambda path, options: deepmd.read_deepmd(path),
        deepmd.write_deepmd,
        synonyms=("deepmd",),
    ),
    LabelledFormat(
        "deepmd/hdf5",
        "systems of deepmd-kit as groups of one HDF5 file",
        deepmd_hdf5.is_deepmd_hdf5,
        lambda path, options: deepmd_hdf5.read_deepmd_hdf5(path),
        deepmd_hdf5.write_deepmd_hdf5,
        suffix=".hdf5",
        synonyms=("hdf5",),
    ),
    LabelledFormat(
        "lmdb",
        "LMDB database of deepmd-kit and dpdata",
        deepmd_lmdb.is_lmdb,
        lambda path, options: deepmd_lmdb.read_lmdb(path),
        deepmd_lmdb.write_lmdb,
        suffix=".lmdb",
        synonyms=("deepmd/lmdb",),
    ),
    LabelledFormat(
        "ase-db",
        "SQLite database of ASE",
        ase_db.is_ase_db,
        lambda path, options: ase_db.read_ase_db(path),
        ase_db.write_ase_db,
        suffix=".db",
        synonyms=("ase/db", "ase-sqlite"),
    ),
    LabelledFormat(
        "extxyz",
        "extended XYZ of ASE with energy, forces and virial or stress",
        _head(extxyz.looks_like_extxyz),
        lambda path, options: extxyz.read_extxyz(path),
        extxyz.write_extxyz,
        suffix=".xyz",
        synonyms=("xyz", "ext/xyz"),
        structures=extxyz.read_extxyz_structures,
    ),
    LabelledFormat(
        "pwmat/movement",
        "MOVEMENT of PWmat and OUT.MLMD",
        _head(_is_movement),
        lambda path, options: movement.read_movement(path, scf_limits=movement.SCF_LIMITS),
        lambda path, frames: movement.write_movement(path, in_batches(frames)),
        suffix=".movement",
        synonyms=("movement", "out.mlmd", "mlmd"),
        structures=_movement_structures,
    ),
    LabelledFormat(
        "vasp/outcar",
        "OUTCAR of VASP",
        _head(_is_outcar),
        lambda path, options: outcar.read_outcar(path, energy=options.energy),
        synonyms=("outcar",),
    ),
    LabelledFormat(
        "vasp/xml",
        "vasprun.xml of VASP",
        _head(_is_vasprun),
        lambda path, options: vasprun.read_vasprun(path, energy=options.energy),
        synonyms=("vasprun", "vasp/vasprun"),
    ),
    LabelledFormat(
        "cp2k/scf",
        "standard output of CP2K, a single point",
        _head(_is_cp2k("ENERGY", "ENERGY_FORCE")),
        lambda path, options: cp2k.read_cp2k_single(path),
        synonyms=("cp2k/single",),
    ),
    LabelledFormat(
        "cp2k/md",
        "standard output of CP2K with the trajectories beside it: MD, GEO_OPT, CELL_OPT",
        _head(_is_cp2k("MD", "GEO_OPT", "GEOMETRY_OPTIMIZATION", "CELL_OPT")),
        lambda path, options: cp2k.read_cp2k_md(path),
        synonyms=("cp2k/aimd",),
    ),
    StructureFormat(
        "lammps/dump",
        "LAMMPS text dump",
        _head(lammps_dump.looks_like_dump),
        lambda path, options: lammps_dump.read_lammps_dump(path, options.elements),
        lambda path, frames, options: lammps_dump.write_lammps_dump(path, frames, options.elements),
        suffix=".lammpstrj",
        synonyms=("dump", "lammpstrj"),
        single=False,
    ),
    StructureFormat(
        "pwmat/config",
        "PWmat's atom.config",
        _head(lambda head: atom_config.looks_like_atom_config(head) and not _is_movement(head)),
        lambda path, options: iter((atom_config.read_atom_config(path),)),
        lambda path, frames, options: atom_config.write_atom_config(path, _one(path, frames)),
        suffix=".config",
        synonyms=("config", "atom.config"),
    ),
    StructureFormat(
        "lammps/lmp",
        "LAMMPS data file",
        _head(lammps.looks_like_lammps_data),
        lambda path, options: iter((lammps.read_lammps_data(path, options.elements),)),
        lambda path, frames, options: lammps.write_lammps_data(path, _one(path, frames), options.elements),
        suffix=".lmp",
        synonyms=("lammps/data", "lmp"),
    ),
    StructureFormat(
        "vasp/poscar",
        "POSCAR or CONTCAR of VASP, with selective dynamics and velocities",
        _head(poscar.looks_like_poscar),
        lambda path, options: iter((poscar.read_poscar(path),)),
        lambda path, frames, options: poscar.write_poscar(path, _one(path, frames)),
        suffix=".vasp",
        synonyms=("poscar", "contcar", "vasp"),
    ),
)
"""In the order in which recognition asks them; no content is that of two formats."""

_BY_NAME: dict[str, Format] = {name: form for form in FORMATS for name in (form.name, *form.synonyms)}
