"""The folder ``collection/`` that init_bulk leaves, laid out as the predecessor's users know it.

collection/datapath.txt                          paths to paste into init_data of param.json
collection/valid_datapath.txt                    and into valid_data, if validation frames are in files
collection/manifest.json                         what there is, and where it comes from
collection/init_config_0/relaxed.config          structures: .config for PWmat, .poscar for the others
collection/init_config_0/0.9_scale.config
collection/init_config_0/relax_pertub/0_pertub.config
collection/init_config_0/train.xyz, valid.xyz    frames, or
collection/init_config_0/PWdata/train, valid     with one folder per composition if there are several
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from ase import Atoms

from alpw.files import write_atomically
from alpw.formats.extxyz import write_extxyz
from alpw.formats.poscar import write_poscar
from alpw.formats.pwdata import write_pwdata
from alpw.structures.atom_config import write_atom_config
from alpw.structures.frame import LabelledFrame
from alpw.structures.recipe import Built

COLLECTION = "collection"
DATA_PATHS = "datapath.txt"
VALID_PATHS = "valid_datapath.txt"
LEGACY_DATA_PATHS = "pwdata"
MANIFEST = "manifest.json"
PWDATA = "PWdata"


def suffix_of(dft_style: str) -> str:
    """Suffix of structure files: PWmat's own format for PWmat, POSCAR for all others."""
    return ".config" if dft_style == "pwmat" else ".poscar"


def write_structures(
    folder: Path, relaxed: Atoms | None, tree: Sequence[Built], suffix: str
) -> dict[str, Path]:
    """Write the structures that were made of a start structure; returns the files by name.

    Args:
        folder: of the start structure.
        relaxed: the relaxed structure, if there is one.
        tree: what was made.
        suffix: see :func:`suffix_of`.
    """
    structures = {built.name: built.atoms for built in tree if built.stage != "root"}
    if relaxed is not None:
        structures = {"relaxed": relaxed, **structures}
    written = {}
    for name, atoms in structures.items():
        # Not with_suffix: names such as 0.9_scale have dots of their own.
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_structure(path, atoms, suffix)
        written[name] = path
    return written


def _write_structure(path: Path, atoms: Atoms, suffix: str) -> None:
    if suffix == ".config":
        write_atom_config(path, atoms)
    else:
        write_poscar(path, atoms)


def write_data(
    folder: Path,
    train: Sequence[LabelledFrame],
    valid: Sequence[LabelledFrame],
    format: str,
    *,
    divided: bool,
) -> list[Path]:
    """Write (and replace) the frames of a start structure; returns what goes into ``init_data``.

    Args:
        folder: of the start structure.
        train: frames for training.
        valid: frames for validation.
        format: ``extxyz`` or ``pwmlff/npy``.
        divided: whether the user asked for validation frames, even if there happens to be none.
    """
    for name, frames in (("train", train), ("valid", valid)):
        file = folder / f"{name}.xyz"
        if format == "extxyz" and frames:
            write_extxyz(file, frames)
        else:
            file.unlink(missing_ok=True)
    if format == "extxyz" or not (train or valid):
        shutil.rmtree(folder / PWDATA, ignore_errors=True)
        return [folder / "train.xyz"] if train else []
    kinds = {
        (tuple(sorted(frame.atoms.numbers.tolist())), frame.label.virial is None)
        for frame in chain(train, valid)
    }
    merge = divided and len(kinds) == 1
    written = write_pwdata(folder / PWDATA, train, valid if divided else None, merge=merge)
    own = {folder / PWDATA / part for part in ("train", "valid")} if merge else set(written)
    # Only now: whoever is killed on the way leaves the old data set or the new one.
    for left in set((folder / PWDATA).iterdir()) - own:
        shutil.rmtree(left)
    return [folder / PWDATA]


def write_data_paths(folder: Path, paths: Sequence[Path], *, legacy: bool) -> None:
    """Write the paths of the data sets, quoted and with commas, as they stand in a list of param.json.

    Args:
        folder: ``collection/``.
        paths: for ``init_data``. Validation frames in files of their own are for ``valid_data``.
        legacy: whether to write them under AL-PWMLFF's name, too.
    """
    valid = [path.with_name("valid.xyz") for path in paths]
    text, valid_text = (
        "".join(f'"{path}",\n' for path in each).encode()
        for each in (paths, [path for path in valid if path.is_file()])
    )
    write_atomically(folder / DATA_PATHS, text)
    if valid_text:
        write_atomically(folder / VALID_PATHS, valid_text)
    else:
        (folder / VALID_PATHS).unlink(missing_ok=True)
    if legacy:
        write_atomically(folder / LEGACY_DATA_PATHS, text)
