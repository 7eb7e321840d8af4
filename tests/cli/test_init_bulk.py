"""`alpw init_bulk` as a user calls it, with real xTB."""

import json
import time
from pathlib import Path

import pytest
from ase.build import bulk

from alpw.database import calculations, configurations
from alpw.formats.load import load_frames

TEMPLATE = Path(__file__).parents[2] / "fireworks_templates" / "init_bulk.yaml"
MD_STEPS = 2


@pytest.fixture
def init(inputs):
    """Input files for xTB in the folder of ``inputs``; returns the content of init_param.json."""
    folder = inputs.folder
    (folder / "relax.json").write_text(json.dumps({"fmax": 0.5}))
    (folder / "md.json").write_text(json.dumps({"steps": MD_STEPS, "temperature": 300}))
    atoms = bulk("Si", cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.05, seed=1)
    atoms.write(folder / "POSCAR", format="vasp", direct=True)
    return {
        "campaign": "si",
        "dft_style": "xtb",
        "relax_input": "relax.json",
        "aimd_input": "md.json",
        "train_valid_ratio": 0.8,
        "sys_configs": [
            {"config": "POSCAR", "relax": True, "perturb": 1, "aimd": True},
            {"config": "POSCAR", "relax": False, "scale": [0.98], "perturb": 0, "aimd": True},
            {"config": "POSCAR", "relax": False, "super_cell": [1, 1, 2], "perturb": 1, "aimd": False},
        ],
    }


def write(inputs, init):
    (inputs.folder / "init_param.json").write_text(json.dumps(init))
    (inputs.folder / "resource.json").write_text(json.dumps({"dft": {}}))


def run(inputs, *options):
    return inputs.command("al_pwmlff", "init_bulk", "init_param.json", "resource.json", *options)


def test_a_dry_run_counts_and_stores_nothing(inputs, init):
    write(inputs, init)
    result = run(inputs, "--dry-run", "--json", "--plot")
    assert result.returncode == 0, result.stderr
    plans = json.loads(result.stdout)
    assert [plan["name"] for plan in plans] == [f"Si_config_{k}" for k in range(3)]
    assert [plan["stages"] for plan in plans] == [
        {"perturb": 1},
        {"scale": 1},
        {"super_cell": 1, "perturb": 1},
    ]
    assert [(plan["relax"], plan["runs"], plan["n_atoms"]) for plan in plans] == [
        (True, 1, 16),
        (False, 1, 16),
        (False, 0, 32),
    ]
    # Relaxation, a run; build, harvest, collect.
    assert plans[0]["fireworks"] == {"dft": 2, "light": 3}
    assert (inputs.folder / "init_bulk.png").stat().st_size > 5_000
    assert not (inputs.folder / "db").exists() and not (inputs.folder / "my_launchpad.yaml").exists()


def test_wrong_input_is_refused_before_anything_is_stored(inputs, init):
    init["sys_configs"][1]["super_cell"] = [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    (inputs.folder / "md.json").write_text('{"stepz": 3}')
    write(inputs, init)
    result = run(inputs)
    assert result.returncode == 2
    assert "init_param.json: sys_configs[1].super_cell" in result.stderr and "negative" in result.stderr
    init["sys_configs"][1]["super_cell"] = None
    write(inputs, init)
    result = run(inputs)
    assert result.returncode == 2 and "md.json" in result.stderr and "stepz" in result.stderr
    assert not (inputs.folder / "my_launchpad.yaml").exists()


@pytest.mark.slow
def test_a_data_set_is_made_killed_on_the_way_and_completed(inputs, init, own_launchpad):
    launchpad = own_launchpad
    write(inputs, init)
    process = inputs.popen("alpw", "init_bulk", "init_param.json", "resource.json")
    deadline = time.monotonic() + 120
    while not launchpad.db[calculations.COLLECTION].count_documents({"task": "aimd"}):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    inputs.kill_everything()
    process.wait()

    result = run(inputs, "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    summary = json.loads(result.stdout)
    assert summary["verdict"] == "completed"
    assert [sum(each["runs"].values()) for each in summary["structures"]] == [1, 1, 0]
    frames = [sum(each["frames"].values()) for each in summary["structures"]]
    assert frames == [MD_STEPS + 1, MD_STEPS + 1, 0]
    documents = list(launchpad.db[configurations.COLLECTION].find())
    assert len({document["structure_hash"] for document in documents}) == sum(frames)
    assert len({document["settings_hash"] for document in documents}) == 1

    collection = inputs.folder / "collection"
    paths = [line.strip('",') for line in (collection / "datapath.txt").read_text().splitlines()]
    assert sum(len(load_frames(path)) for path in paths) == sum(frames)
    assert (collection / "pwdata").read_bytes() == (collection / "datapath.txt").read_bytes()
    for file in ("0/relaxed", "0/relax_pertub/0_pertub", "2/super_cell", "2/super_cell_pertub/0_pertub"):
        assert (collection / f"init_config_{file}.poscar").is_file()

    again = run(inputs)
    assert again.returncode == 0 and "has ended already" in again.stderr
    assert "completed" in inputs.command("alpw", "status").stdout
    assert "init_bulk of 3 structures" in inputs.command("alpw", "campaigns").stdout
    listed = inputs.command("lpad", "get_wflows", "-d", "less").stdout
    assert "init_bulk-si: Si_config_0" in listed

    estimate = run(inputs, "--dry-run", "--json")
    (first, *_) = json.loads(estimate.stdout)
    assert first["core_hours"]["relax"] > 0 and first["core_hours"]["aimd"] > 0


@pytest.mark.slow
def test_fireworks_alone_make_a_data_set(inputs, init, launchpad):
    init["sys_configs"] = init["sys_configs"][1:2]
    write(inputs, init)
    own = TEMPLATE.read_text().replace("examples/si_xtb/init_bulk/", "")
    (inputs.folder / "start.yaml").write_text(own)
    assert inputs.command("lpad", "add", "start.yaml").returncode == 0
    result = inputs.command("rlaunch", "rapidfire", timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert launchpad.db[configurations.COLLECTION].count_documents({"state": "labelled"}) == MD_STEPS + 1


@pytest.mark.slow
def test_a_force_field_samples_and_xtb_labels_a_diverse_part(inputs, init, launchpad):
    init |= {
        "bigmodel_input": {
            "calculator": "ase.calculators.lj.LennardJones",
            "arguments": {"sigma": 2.1, "epsilon": 0.5, "rc": 6.0},
            "temps": [300, 600],
            "nsteps": 20,
            "trj_freq": 5,
            "discard": 1,
        },
        "scf_max_num": 2,
        "sys_configs": [{"config": "POSCAR", "relax": False, "bigmodel": True, "direct": True, "scf": True}],
    }
    write(inputs, init)
    (inputs.folder / "resource.json").write_text(json.dumps({"dft": {"group_size": 2}, "explore": {}}))
    result = run(inputs, "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    (structure,) = json.loads(result.stdout)["structures"]
    assert structure["runs"] == {"done": 2} and structure["labels"] == {"labelled": 2}
    # Of five frames of each run the first is equilibration, and two of the rest are taken.
    assert structure["dropped"] == {"equilibration": 2, "not chosen": 6}
    documents = list(launchpad.db[configurations.COLLECTION].find())
    assert {document["code"] for document in documents} == {"xtb"}
