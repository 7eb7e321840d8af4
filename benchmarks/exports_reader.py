"""Reads a data set with another program; run by exports.py with the Python of an environment that has it.

python benchmarks/exports_reader.py PROGRAM FORMAT PATH ANSWER ELEMENT...
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Frame = dict[str, Any]


def dpdata(form: str, path: str, elements: list[str]) -> Iterator[Frame]:
    """All systems of a file or folder."""
    from dpdata import MultiSystems

    names = {"deepmd/mixed": "deepmd/npy/mixed", "lmdb": "deepmd/lmdb"}
    systems = MultiSystems()
    systems.load_systems_from_file(path, fmt=names.get(form, form))
    for system in systems.systems.values():
        for k, energy in enumerate(system["energies"]):
            yield {
                "symbols": [system["atom_names"][kind] for kind in system["atom_types"]],
                "cell": system["cells"][k],
                "positions": system["coords"][k],
                "energy": energy,
                "forces": system["forces"][k],
                "virial": system["virials"][k] if "virials" in system.data else None,
            }


def ase(form: str, path: str, elements: list[str]) -> Iterator[Frame]:
    """All images of a file."""
    from ase.io import read

    for atoms in read(path, ":", format={"ase-db": "db"}.get(form, form)):
        has_stress = "stress" in atoms.calc.results
        yield {
            "symbols": atoms.get_chemical_symbols(),
            "cell": np.asarray(atoms.cell),
            "positions": atoms.positions,
            "energy": atoms.get_potential_energy(),
            "forces": atoms.get_forces(),
            "virial": -atoms.get_stress(voigt=False) * atoms.get_volume() if has_stress else None,
        }


def deepmd(form: str, path: str, elements: list[str]) -> Iterator[Frame]:
    """What deepmd-kit trains on."""
    if form == "lmdb":
        from deepmd.dpmodel.utils.lmdb_data import LmdbDataReader

        data = LmdbDataReader(path, elements)
        yield from (_of_deepmd(data[k], elements, "virial" in data[k]) for k in range(len(data)))
        return
    from deepmd.utils.data import DeepmdData

    if form == "deepmd/hdf5":
        import h5py

        with h5py.File(path) as file:
            systems = [f"{path}#/{name}" for name in file]
    else:
        systems = [str(file.parent) for file in Path(path).rglob("type.raw")]
    for system in systems:
        data = DeepmdData(system, type_map=elements)
        data.add("energy", 1, atomic=False, must=True, high_prec=True)
        data.add("force", 3, atomic=True, must=True)
        data.add("virial", 9, atomic=False)
        found = data.get_test()
        for k in range(len(found["energy"])):
            frame = {name: found[name][k] for name in ("energy", "coord", "force", "virial")}
            types = found["real_atom_types"][k] if "real_atom_types" in found else found["type"][k]
            frame |= {"atype": types} | ({"box": found["box"][k]} if data.pbc else {})
            yield _of_deepmd(frame, elements, bool(found["find_virial"]))


def _of_deepmd(frame: Frame, elements: list[str], has_virial: bool) -> Frame:
    return {
        "symbols": [elements[kind] for kind in frame["atype"]],
        "cell": np.reshape(frame.get("box", np.zeros(9)), (3, 3)),
        "positions": np.reshape(frame["coord"], (-1, 3)),
        "energy": np.ravel(frame["energy"])[0],
        "forces": np.reshape(frame["force"], (-1, 3)),
        "virial": np.reshape(frame["virial"], (3, 3)) if has_virial else None,
    }


def pwdata(form: str, path: str, elements: list[str]) -> Iterator[Frame]:
    """All images of the folders of a data set, or of a file; types are atomic numbers."""
    from ase.data import chemical_symbols
    from pwdata import Config

    folders = sorted(Path(path).iterdir()) if Path(path).is_dir() else [Path(path)]
    for folder in folders:
        for image in Config(data_path=str(folder), format=form).images:
            cell = np.reshape(image.lattice, (3, 3))
            positions = np.reshape(image.position, (-1, 3))
            yield {
                "symbols": [chemical_symbols[z] for z in image.atom_types_image],
                "cell": cell,
                "positions": positions if image.cartesian else positions @ cell,
                "energy": np.ravel(image.Ep)[0],
                "forces": np.reshape(image.force, (-1, 3)),
                "virial": None
                if image.virial is None or not len(image.virial)
                else np.reshape(image.virial, (3, 3)),
            }


READERS = {"dpdata": dpdata, "ase": ase, "deepmd": deepmd, "pwdata": pwdata}


def main() -> None:
    """Write the frames as a list of dictionaries."""
    program, form, path, answer, *elements = sys.argv[1:]
    Path(answer).write_bytes(pickle.dumps(list(READERS[program](form, path, elements))))


if __name__ == "__main__":
    # Not the functions above, which have the names of the programs.
    sys.path.pop(0)
    main()
