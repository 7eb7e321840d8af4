"""deepmd-kit's own loader finds in our systems the frames that were written."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from alpw.formats.deepmd import write_deepmd
from alpw.structures.frames import LabelledFrames, single_frames

SYMBOLS = ["H", "Li", "O", "Si"]


def frames(symbols: str, seed: int, with_virials: bool = True) -> LabelledFrames:
    """Two frames in skewed cells, atoms in the order given."""
    rng = np.random.default_rng(seed)
    n_atoms = len(Atoms(symbols))
    return LabelledFrames(
        numbers=Atoms(symbols).numbers.astype(np.int64),
        cells=np.diag([5.0, 6.0, 7.0]) + rng.uniform(-1, 1, (2, 3, 3)),
        positions=rng.uniform(0, 5, (2, n_atoms, 3)),
        energies=rng.normal(-1000, 10, 2),
        forces=rng.normal(size=(2, n_atoms, 3)),
        virials=rng.normal(size=(2, 3, 3)) if with_virials else None,
        converged=np.ones(2, dtype=bool),
    )


@pytest.mark.parametrize("mixed", [False, True])
def test_the_loader_of_deepmd_kit_finds_the_same_frames(
    deepmd_python: Path, tmp_path: Path, mixed: bool
) -> None:
    batches = [frames("SiOSiH", 1), frames("LiHHO", 2), frames("OSiOSi", 3), frames("SiOSiH", 4, False)]
    write_deepmd(tmp_path / "data", batches, mixed=mixed)
    script, result = Path(__file__).with_name("deepmd_data.py"), tmp_path / "found.json"
    words = [deepmd_python, script, tmp_path / "data", result, *SYMBOLS]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = {round(frame["energy"][0], 6): frame for frame in json.loads(result.read_text())}
    assert len(found) == 8
    for atoms, label in single_frames(batches):
        frame = found[round(label.energy, 6)]
        types = np.array([SYMBOLS.index(symbol) for symbol in atoms.symbols])
        assert frame["periodic"] and frame["energy"][0] == pytest.approx(label.energy, rel=1e-12)
        # It sorts plain systems by type; positions tell which atom is which.
        positions = np.reshape(frame["coord"], (-1, 3))
        order = [int(np.argmin(np.linalg.norm(atoms.positions - one, axis=1))) for one in positions]
        assert sorted(order) == list(range(len(atoms))) and frame["type"] == types[order].tolist()
        assert positions == pytest.approx(atoms.positions[order], rel=1e-5)
        assert np.reshape(frame["box"], (3, 3)) == pytest.approx(np.asarray(atoms.cell), rel=1e-5)
        assert np.reshape(frame["force"], (-1, 3)) == pytest.approx(label.forces[order], rel=1e-5)
        assert (frame["virial"] is None) == (label.virial is None)
        if label.virial is not None:
            assert np.reshape(frame["virial"], (3, 3)) == pytest.approx(label.virial, rel=1e-5)
