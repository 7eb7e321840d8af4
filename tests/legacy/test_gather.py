"""gather_pwdata: labels of all iterations as PWdata, from a directory and from the database."""

import json

import numpy as np
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.legacy import import_directory
from tests.legacy.samples import dpgen, frames, pwact


def gathered(*words):
    done = CliRunner().invoke(app, ["gather_pwdata", *words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def arrays(folder, name):
    return np.load(folder / f"{name}.npy")


def test_a_directory_of_pwact_and_its_copy_in_the_database_give_the_same(tmp_path, launchpad, inputs):
    directory = pwact(tmp_path / "si")
    told = gathered("-i", str(directory), "-s", str(tmp_path / "one"))
    assert list(told["folders"].values()) == [6]
    (folder,) = told["folders"]
    assert folder == str(tmp_path / "one/iter.0000/Si8")
    listed = (tmp_path / "one/final_pwdata_list.txt").read_text()
    assert json.loads(f"[{listed.rstrip().rstrip(',')}]") == [folder]
    # Both trajectories, in the order of their names; NumPy alone reads them.
    train = tmp_path / "one/iter.0000/Si8/train"
    want = [*frames(2, 13, carbide=False), *frames(2, 14, carbide=False)]
    assert arrays(train, "energies")[:, 0].tolist() == [label.energy for _, label in want]
    assert np.array_equal(arrays(train, "forces"), [label.forces.ravel() for _, label in want])
    placed = arrays(train, "position").reshape(4, 8, 3) @ arrays(train, "lattice").reshape(4, 3, 3)
    assert np.allclose(placed, [atoms.positions for atoms, _ in want], rtol=0, atol=1e-12)
    assert len(arrays(train.with_name("valid"), "energies")) == 2
    import_directory(launchpad.db, directory, "si")
    words = ("--campaign", "si", "-l", str(inputs.folder / "my_launchpad.yaml"))
    gathered(*words, "-s", str(tmp_path / "two"))
    for part in ("train", "valid"):
        for name in ("energies", "forces", "virials", "lattice", "image_type"):
            one, two = (arrays(tmp_path / side / "iter.0000/Si8" / part, name) for side in ("one", "two"))
            assert np.array_equal(one, two)


def test_compositions_and_iterations_of_dpgen_have_folders_of_their_own(tmp_path):
    told = gathered("-i", str(dpgen(tmp_path / "run")), "-s", str(tmp_path / "out"))
    found = {path.removeprefix(f"{tmp_path}/out/"): n for path, n in told["folders"].items()}
    assert found == {"iter.0000/C4Si4": 2, "iter.0001/C4Si4": 2, "iter.0001/Si8": 2}


def test_what_is_no_campaign_is_wrong_input(tmp_path):
    done = CliRunner().invoke(app, ["gather_pwdata", "-i", str(tmp_path), "-s", str(tmp_path / "out")])
    assert done.exit_code == 2 and "no directory of a campaign" in done.stderr
    assert not (tmp_path / "out").exists()
