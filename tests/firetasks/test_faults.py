"""Some rows of the table of faults, through the same Fireworks; ``make faults`` runs them all."""

import json
import os
import shutil

import pytest

from tests.faults.cases import CASES
from tests.faults.laboratory import Laboratory

ROWS = {
    ("vasp", "label"): (
        "none",
        "SCF at NELM, whatever is tried",
        "BRMIX always: needs another mesh or symmetry",
    ),
    ("vasp", "relax"): ("killed midway", "out of memory"),
    ("vasp", "aimd"): ("killed midway, twice",),
    ("pwmat", "label"): ("none", "OUT.MLMD cut short, once", "forces that do not sum to zero"),
    ("pwmat", "relax"): ("killed midway",),
    ("pwmat", "aimd"): ("killed midway",),
    ("cp2k", "label"): ("killed midway, once", "out of memory"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("code", "task"), ROWS)
def test_faults_end_in_a_repaired_result_or_in_quarantine_under_the_right_class(
    launchpad, tmp_path, monkeypatch, code, task
):
    if code == "cp2k" and not shutil.which("cp2k.psmp"):
        pytest.skip("CP2K is missing")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("ALPW_RETRY_SECONDS", "0.1")
    monkeypatch.chdir(tmp_path)
    cases = [
        case for case in CASES if (case.code, case.task) == (code, task) and case.name in ROWS[code, task]
    ]
    assert len(cases) == len(ROWS[code, task])
    outcomes = Laboratory(launchpad, tmp_path / code, code).run(task, cases)
    os.chdir(tmp_path)
    assert [(o.case.name, o.found) for o in outcomes] == [(c.name, c.expected) for c in cases], outcomes


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True])
def test_labels_of_a_chunk_share_their_wavefunction_and_leave_it_only_on_request(
    launchpad, tmp_path, monkeypatch, keep
):
    monkeypatch.chdir(tmp_path)
    undisturbed = [case for case in CASES if (case.code, case.task, case.name) == ("vasp", "label", "none")]
    laboratory = Laboratory(launchpad, tmp_path / "vasp", "vasp", reserve_scf_files=keep)
    outcomes = laboratory.run("label", undisturbed * 3)
    os.chdir(tmp_path)
    assert [outcome.found for outcome in outcomes] == ["repaired"] * 3
    folders = list((tmp_path / "vasp" / "label" / "prepare" / "02.label").iterdir())
    reused = [json.loads((folder / "inputs.json").read_text())["rules"]["reused"] for folder in folders]
    assert sum(start is not None for start in reused) == 2
    assert [(folder / "WAVECAR").exists() for folder in folders] == [keep] * 3
    assert all((folder / "OUTCAR").exists() and (folder / "POTCAR").exists() for folder in folders)
