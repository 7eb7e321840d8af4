"""``alpw calculate``: one label or relaxation without a database."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read
from typer.testing import CliRunner

from alpw.cli.main import app

STANDIN = [sys.executable, str(Path(__file__).parents[1] / "standins" / "PWmat")]
ETOT = "1 1\nECUT = 40\nXCFUNCTIONAL = PBE\nE_ERROR = 0\nRHO_ERROR = 1E-5\n"


@pytest.fixture
def calculate(tmp_path, monkeypatch):
    """Runs the command with the stand-in for PWmat in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    subprocess.run([*STANDIN, "--upf", "Si"], check=True, stdout=subprocess.DEVNULL)
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.write("POSCAR", format="vasp", direct=True)
    pseudo = [path.name for path in tmp_path.glob("*.UPF")]
    param = {
        "train": {"atom_type": ["Si"]},
        "initial": {},
        "strategy": {"lower_model_devi_f": 0.1, "upper_model_devi_f": 0.3},
        "explore": {
            "sys_configs": [{"config": "POSCAR", "format": "vasp/poscar"}],
            "md_jobs": [{"sys_idx": [0], "temps": [300], "nsteps": 10}],
        },
        "dft": {"dft_style": "pwmat", "input": "etot.input", "pseudo": pseudo, "kspacing": 0.6},
    }
    resource = {"train": {}, "explore": {}, "dft": {"command": shlex.join(STANDIN)}}
    Path("param.json").write_text(json.dumps(param))
    Path("resource.json").write_text(json.dumps(resource))

    def run(task, control=""):
        Path("etot.input").write_text(ETOT + control)
        return CliRunner().invoke(
            app, ["calculate", task, "param.json", "resource.json", "POSCAR", "--out", task, "--json"]
        )

    return run


def test_a_label_is_written_and_told(calculate):
    result = calculate("label")
    told = json.loads(result.stdout)
    frame = read("label/result.xyz")
    assert result.exit_code == 0 and told["energy (eV)"] == pytest.approx(frame.get_potential_energy())
    assert not Path("label/last.xyz").exists()


def test_a_relaxation_ends_in_a_structure_even_where_its_steps_are_no_labels(calculate):
    result = calculate("relax", "RELAX_DETAIL = 1 40 0.02\n")
    assert result.exit_code == 0 and json.loads(result.stdout)["complete"]
    moved = read("relax/last.xyz").positions - read("POSCAR").positions
    assert np.abs(moved).max() > 0.01


def test_a_key_that_is_unknown_is_refused_with_the_nearest_one(calculate):
    result = calculate("label", "ECUTT2 = 3\n")
    told = json.loads(result.stdout)
    assert result.exit_code == 1 and told["kind"] == "input" and "ECUT2" in told["diagnosis"]
