"""What ALPW writes, read by other programs: the largest difference of each array, format by format.

Frames of three compositions, one without virials, and molecules where a format has them, with random cells
and labels. dpdata and ASE read in this environment, deepmd-kit and pwdata (GPL) in one of their own, where
there is one. Exit status 1 if a difference is larger than a rounding: 1e-12 eV of a virial that was a stress,
1e-12 Å of coordinates that were fractional, 0 of everything else.

python benchmarks/exports.py [--json] [--deepmd-python PYTHON] [--pwdata-python PYTHON]
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from common import DEEPMD_PYTHON

from alpw.formats.registry import LabelledFormat, find
from alpw.structures.frames import LabelledFrames

READER = Path(__file__).with_name("exports_reader.py")
ARRAYS = ("cell", "positions", "energy", "forces", "virial")
TOLERANCES = {"ase": {"virial": 1e-12}, "pwmlff/npy": {"positions": 1e-12}}
# Reader, format, and whether it reads molecules of that format.
CASES = (
    ("dpdata", "deepmd/npy", True),
    ("dpdata", "deepmd/mixed", False),
    ("dpdata", "deepmd/hdf5", True),
    ("dpdata", "lmdb", True),
    ("ase", "extxyz", True),
    ("ase", "ase-db", True),
    ("deepmd", "deepmd/npy", True),
    ("deepmd", "deepmd/mixed", False),
    ("deepmd", "deepmd/hdf5", True),
    ("deepmd", "lmdb", True),
    ("pwdata", "pwmlff/npy", False),
    ("pwdata", "extxyz", False),
    ("pwdata", "deepmd/npy", False),
)


def frames(
    rng: np.random.Generator, numbers: list[int], *, virials: bool, pbc: bool = True
) -> LabelledFrames:
    """Five frames with atoms of an element not side by side, and symmetric virials."""
    shape = (5, len(numbers), 3)
    cells = rng.normal(0.0, 1.0, (5, 3, 3)) + 8 * np.eye(3)
    stress = rng.normal(0.0, 5.0, (5, 3, 3))
    return LabelledFrames(
        numbers=np.array(numbers, dtype=np.int64),
        cells=cells if pbc else np.zeros((5, 3, 3)),
        positions=rng.uniform(0.0, 1.0, shape) @ cells,
        energies=rng.normal(-100.0, 30.0, 5),
        forces=rng.normal(0.0, 1.0, shape),
        virials=stress + stress.transpose(0, 2, 1) if virials else None,
        converged=np.ones(5, dtype=bool),
        pbc=(pbc,) * 3,
    )


def canonical(numbers: Any, **arrays: Any) -> dict[str, Any]:
    """A frame with its atoms in an order that does not depend on the file."""
    order = np.lexsort((*np.asarray(arrays["forces"]).T, numbers))
    sorted_arrays = {name: np.asarray(arrays[name])[order] for name in ("positions", "forces")}
    return {"numbers": np.asarray(numbers)[order].tolist(), **arrays, **sorted_arrays}


def differences(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, float]:
    """The largest difference of each array; frames are told apart by their energies."""
    found = {round(float(frame["energy"]), 6): frame for frame in theirs}
    if len(theirs) != len(ours):
        raise SystemExit(f"{len(theirs)} frames instead of {len(ours)}")
    worst = dict.fromkeys(ARRAYS, 0.0)
    for one in ours:
        other = found[round(float(one["energy"]), 6)]
        other = canonical([atomic_numbers[symbol] for symbol in other.pop("symbols")], **other)
        if one["numbers"] != other["numbers"] or (one["virial"] is None) != (other["virial"] is None):
            raise SystemExit(f"other atoms, or another virial: {one['numbers']}, {other['numbers']}")
        for name in ARRAYS:
            if one[name] is not None:
                worst[name] = max(worst[name], float(np.abs(np.asarray(one[name]) - other[name]).max()))
    return worst


def read(python: Path, reader: str, form: str, path: Path, elements: list[str]) -> list[dict[str, Any]]:
    """What a program makes of a file or folder."""
    answer = path.with_name(f"{path.name}.{reader}")
    command = [python, READER, reader, form, path, answer, *elements]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{reader} cannot read {form}:\n{done.stderr}")
    found: list[dict[str, Any]] = pickle.loads(answer.read_bytes())
    return found


def compare(pythons: dict[str, Path]) -> list[dict[str, Any]]:
    """All cases whose reader there is."""
    rng = np.random.default_rng(1)
    periodic = [
        frames(rng, [14, 8, 14, 3], virials=True),
        frames(rng, [32, 1, 32, 32, 1], virials=True),
        frames(rng, [8, 1, 1, 8, 1, 1], virials=False),
    ]
    molecules = frames(rng, [1, 8, 1], virials=False, pbc=False)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (reader, name, takes_molecules) in enumerate(CASES):
            if reader not in pythons:
                continue
            form = find(name)
            assert isinstance(form, LabelledFormat) and form.write is not None
            written = [*periodic, molecules] if takes_molecules else periodic
            path = Path(folder) / f"{number}{form.suffix}"
            form.write(path, written)
            theirs = read(pythons[reader], reader, name, path, ["H", "Li", "O", "Si", "Ge"])
            ours = [
                canonical(
                    atoms.numbers,
                    cell=np.asarray(atoms.cell),
                    positions=atoms.positions,
                    energy=label.energy,
                    forces=label.forces,
                    virial=label.virial,
                )
                for batch in written
                for atoms, label in batch
            ]
            results.append(
                {"reader": reader, "format": name, "frames": len(ours)} | differences(ours, theirs)
            )
    return results


def is_met(row: dict[str, Any]) -> bool:
    """Whether all differences are within the tolerances, 0 where none is named."""
    allowed = TOLERANCES.get(row["reader"], {}) | TOLERANCES.get(row["format"], {})
    return all(row[name] <= allowed.get(name, 0.0) for name in ARRAYS)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--deepmd-python", type=Path, default=DEEPMD_PYTHON)
    parser.add_argument("--pwdata-python", type=Path)
    arguments = parser.parse_args()
    own = Path(sys.executable)
    pythons = {
        "dpdata": own,
        "ase": own,
        "deepmd": arguments.deepmd_python,
        "pwdata": arguments.pwdata_python,
    }
    results = compare({name: python for name, python in pythons.items() if python and python.is_file()})
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        print(f"{'reader':8}{'format':14}{'frames':>7}" + "".join(f"{name:>11}" for name in ARRAYS))
        for row in results:
            numbers = "".join(f"{row[name]:11.1e}" for name in ARRAYS)
            print(
                f"{row['reader']:8}{row['format']:14}{row['frames']:7}{numbers}{'' if is_met(row) else '  !'}"
            )
    return 0 if all(map(is_met, results)) else 1


if __name__ == "__main__":
    sys.exit(main())
