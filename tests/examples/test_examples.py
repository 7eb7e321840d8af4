"""The silicon examples: their files agree, and init_bulk makes of them what was counted by hand.

``make examples`` makes the whole of each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.config import load_init_inputs, load_inputs
from alpw.formats.collection import suffix_of
from alpw.formats.poscar import write_poscar
from alpw.formats.pwdata import write_pwdata
from alpw.structures.atom_config import write_atom_config
from alpw.structures.frame import Label, LabelledFrame
from alpw.structures.read import read_structure
from tests.examples.affordable import AFFORDABLE
from tests.examples.expected import EXPECTED, Expected, is_split
from tests.examples.workshop import Workshop, plan_exploration, workshop

pytestmark = pytest.mark.filterwarnings("ignore")


class Shortened(NamedTuple):
    """An example with small numbers."""

    edits: tuple[tuple[str, str, str], ...]
    """control file, what it says, what it shall say"""
    frames_per_run: int


SHORTENED = {
    "si_vasp": Shortened((("INCAR_md", "NSW    = 5", "NSW    = 3"),), 3),
    "si_pwmat": Shortened((("aimd_etot.input", "MD_DETAIL = 2 20", "MD_DETAIL = 2 4"),), 4),
    "si_dftb": Shortened((("aimd_etot.input", "MD_DETAIL = 2 100", "MD_DETAIL = 2 40"),), 2),
    "si_cp2k": Shortened(
        (
            ("cp2k_aimd.inp", "STEPS 50", "STEPS 2"),
            ("cp2k_relax.inp", "MAX_FORCE 1.0E-3", "MAX_FORCE 3.0E-2"),
            ("cp2k_relax.inp", "RMS_FORCE 7.0E-4", "RMS_FORCE 2.0E-2"),
        ),
        3,
    ),
    "si_xtb": Shortened(
        (("aimd.json", '"steps": 20', '"steps": 2'), ("relax.json", '"fmax": 0.02', '"fmax": 0.2')), 3
    ),
}
COPIES = 1
"""perturbed copies of the relaxed structure in a shortened example"""

every_example = pytest.mark.parametrize("name", EXPECTED)


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Workshop:
    """Copies of all examples with a first data set, without a database."""
    folder = tmp_path_factory.mktemp("desk")
    with workshop(folder, with_database=False) as place:
        for name in EXPECTED:
            imitate_collection(place.copy(name) / "init_bulk")
        yield place


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workshop:
    """A workshop with a database."""
    with workshop(tmp_path_factory.mktemp("workshop")) as found:
        yield found


def imitate_collection(folder: Path) -> None:
    """The start structure in place of what init_bulk makes of it, and a data set of two labels of it."""
    entry = load_init_inputs(folder / "init_param.json", folder / "resource.json")[0].sys_configs[0]
    atoms = read_structure(entry.files[0], entry.format)
    collection = folder / "collection" / "init_config_0"
    copies = collection / "relax_pertub"
    copies.mkdir(parents=True)
    for k in range(10):
        write_atom_config(copies / f"{k}_pertub.config", atoms)
        write_poscar(copies / f"{k}_pertub.poscar", atoms)
    frame = LabelledFrame(atoms, Label(energy=-1.0, forces=0 * atoms.positions, virial=None))
    write_pwdata(collection / "PWdata", [frame], [frame], merge=True)


@every_example
def test_the_files_of_active_learning_agree_with_what_init_bulk_leaves(desk, name):
    explored = plan_exploration(desk.folder / name)
    assert explored.trajectories == EXPECTED[name].trajectories
    assert explored.frames == EXPECTED[name].explored
    param, resource = load_inputs(desk.folder / name / "param.json", desk.folder / name / "resource.json")
    # An example shows no key that changes nothing.
    assert [*param.notes, *resource.notes] == []


@every_example
def test_a_quick_run_changes_network_and_training_alone(desk, name):
    """Structures, dynamics, thresholds and labels stay those of the example, and so does the optimizer."""
    file = desk.folder / name / "param.json"
    written = file.read_text()
    desk.change(name, AFFORDABLE[name])
    changed, (param, _) = json.loads(file.read_text()), load_inputs(file, file.parent / "resource.json")
    file.write_text(written)
    assert param.notes == []
    assert param.train.descriptor.neuron == [10, 20] and param.train.fitting_net.neuron == [20, 20]
    example = json.loads(written)
    for content in (example, changed):
        content["train"].pop("model", None)
        for key in ("batch_size", "steps"):
            content["train"]["optimizer"].pop(key, None)
    assert changed == example


@every_example
def test_a_dry_run_tells_the_numbers_counted_by_hand(desk, name):
    folder, expected = desk.folder / name / "init_bulk", EXPECTED[name]
    words = ["init_bulk", str(folder / "init_param.json"), str(folder / "resource.json")]
    done = CliRunner().invoke(app, [*words, "--dry-run", "--json"])
    assert done.exit_code == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert (first["stages"], second["stages"]) == expected.generated
    assert (first["n_atoms"], second["n_atoms"]) == expected.n_atoms
    assert (first["relax"], second["relax"]) == (True, False)
    assert (first["runs"], second["runs"]) == (expected.runs, 0)


@every_example
def test_start_structures_are_strained_silicon_with_something_to_relax(desk, name):
    """Bonds are 2.35 Å long in the crystal; strain and displacements change them, by less than a tenth."""
    folder = desk.folder / name / "init_bulk"
    init, _ = load_init_inputs(folder / "init_param.json", folder / "resource.json")
    for atoms in (atoms for entry in init.sys_configs for atoms in entry.read()):
        bonds = np.sort(atoms.get_all_distances(mic=True), axis=1)[:, 1:5]
        assert set(atoms.symbols) == {"Si"}
        assert np.all(abs(bonds / 2.35 - 1) < 0.1) and np.ptp(bonds) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORTENED)
def test_init_bulk_with_fewer_copies_and_steps(place, name):
    folder = place.copy(name) / "init_bulk"
    shorten(folder, SHORTENED[name])
    expected = EXPECTED[name]
    wanted = expected._replace(
        generated=({"perturb": COPIES}, expected.generated[1]),
        runs=COPIES,
        frames_per_run=SHORTENED[name].frames_per_run,
    )
    check(place.init_bulk(name), wanted)
    collection = folder / "collection" / "init_config_1"
    suffix = suffix_of(
        load_init_inputs(folder / "init_param.json", folder / "resource.json")[0].dft.dft_style
    )
    copies = expected.generated[1]["perturb"]
    assert len(list(collection.glob(f"*_scale_pertub/*{suffix}"))) == copies


def shorten(folder: Path, shortened: Shortened) -> None:
    param = json.loads((folder / "init_param.json").read_text())
    param["sys_configs"][0]["perturb"] = COPIES
    (folder / "init_param.json").write_text(json.dumps(param))
    for file, old, new in shortened.edits:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))


def check(summary: dict, expected: Expected) -> None:
    first, second = summary["structures"]
    assert summary["state"] == "completed", [first["problems"], second["problems"]]
    assert (first["structures"], second["structures"]) == expected.generated
    assert first["runs"] == {"done": expected.runs} and second["runs"] == {}
    assert is_split(first["frames"].get("train", 0), first["frames"].get("validation", 0), expected.frames)
