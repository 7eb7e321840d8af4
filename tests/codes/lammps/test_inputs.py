"""The task: what it accepts, and that it survives the way through JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from alpw.codes.lammps.inputs import Ensemble, ExplorationTask, Limits
from alpw.codes.lammps.template import Template
from alpw.errors import InputError


def task(**options) -> ExplorationTask:
    settings = {
        "atoms": bulk("Si", cubic=True),
        "models": ["0.pt", "1.pt"],
        "ensemble": "nvt",
        "temperature": 300.0,
        "n_steps": 100,
        **options,
    }
    return ExplorationTask(**settings)


def test_task_survives_json(tmp_path):
    atoms = bulk("SiC", "zincblende", a=4.36).repeat((1, 2, 3))
    atoms.rattle(0.1, seed=1)
    atoms.set_masses(np.linspace(10.0, 30.0, len(atoms)))
    atoms.pbc = [True, False, True]
    original = task(atoms=atoms, temperature=1 / 3, seed=2**40, limits=Limits(force=50.0))
    original.write(tmp_path / "task.json")
    copy = ExplorationTask.read(tmp_path / "task.json")
    for name in ("positions", "numbers", "pbc"):
        np.testing.assert_array_equal(getattr(copy.atoms, name), getattr(atoms, name))
    np.testing.assert_array_equal(copy.atoms.cell.array, atoms.cell.array)
    np.testing.assert_array_equal(copy.atoms.get_masses(), atoms.get_masses())
    assert copy.models == (Path("0.pt"), Path("1.pt"))
    assert copy.ensemble is Ensemble.NVT
    assert copy.temperature == 1 / 3
    assert (copy.seed, copy.limits) == (2**40, Limits(force=50.0))
    assert (copy.samples, copy.deviation, copy.stop_above, copy.stop_after) == (None, "dpgen", None, None)
    assert copy.stop_above_kpu is None


def test_template_and_masses_survive_json(tmp_path):
    template = Template("in", "variable TEMP equal 70\nrun 30", {"a/b.dat": "x"})
    state = {"ensemble": "template", "temperature": 70.0, "n_steps": 30}
    original = task(template=template, masses={"Si": 30.0}, **state)
    original.write(tmp_path / "task.json")
    copy = ExplorationTask.read(tmp_path / "task.json")
    assert (copy.template, copy.masses, copy.n_frames) == (template, {"Si": 30.0}, 4)
    assert set(copy.atoms.get_masses()) == {30.0}
    with pytest.raises(InputError, match="n_steps: 40, but in says 30"):
        task(template=template, **{**state, "n_steps": 40})


def test_what_is_asked_about_uncertainty_survives_json(tmp_path):
    committee = task(deviation="legacy", stop_above=0.3, stop_after=5)
    draws = task(models=["0.pt"], samples="0.draws.pt", stop_above_kpu=2.0, stop_after=5)
    both = task(samples="0.draws.pt", stop_above=0.3, stop_above_kpu=2.0, stop_after=5)
    for original, definition in ((committee, "legacy"), (draws, None), (both, "dpgen")):
        original.write(tmp_path / "task.json")
        copy = ExplorationTask.read(tmp_path / "task.json")
        assert copy.samples == original.samples
        for name in ("deviation", "stop_above", "stop_above_kpu", "stop_after"):
            assert getattr(copy, name) == getattr(original, name)
        assert copy.definition == definition
    assert task(models=["0.pt"]).definition is None


def test_task_of_an_earlier_version_is_still_read(tmp_path):
    path = tmp_path / "task.json"
    task().write(path)
    values = json.loads(path.read_text())
    for name in ("samples", "deviation", "stop_above", "stop_above_kpu", "stop_after", "masses", "template"):
        del values[name]
    path.write_text(json.dumps(values))
    assert ExplorationTask.read(path).definition == "dpgen"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"ensemble": "npt"},
            "ensemble: unknown ensemble 'npt'; one of nve, nvt, npt-iso, npt-aniso, npt-tri",
        ),
        ({"ensemble": "npt-iso"}, "pressure: npt-iso needs a pressure in bar"),
        ({"temperature": 0.0}, "temperature: 0.0; a positive number is needed"),
        ({"timestep": float("nan")}, "timestep: nan; a positive number is needed"),
        ({"stride": 0}, "stride: 0; a positive number is needed"),
        ({"n_steps": -1}, "n_steps: -1; must not be negative"),
        ({"deviation": "max"}, "deviation: found 'max'; one of dpgen, legacy"),
        ({"temperature_end": 0.0}, "temperature_end: 0.0; a positive number is needed"),
        ({"temperature_end": 5.0, "ensemble": "nve"}, "temperature_end: has no effect with nve"),
        ({"masses": {"Sj": 1.0}}, "masses: 'Sj': 1.0; an element and its mass in u"),
        ({"ensemble": "template"}, "template: the ensemble 'template' and a template need each other"),
        ({"stop_above": 0.3}, "stop_above: has no effect without stop_after"),
        ({"stop_after": 3}, "stop_after: needs stop_above or stop_above_kpu"),
        ({"stop_after": 3, "stop_above": 0.0}, "stop_above: 0.0; a positive number is needed"),
        (
            {"stop_after": 3, "stop_above_kpu": 2.0},
            "stop_above_kpu: there is no such uncertainty without samples",
        ),
        ({"stop_after": 0, "stop_above": 0.3}, "stop_after: 0; a positive number is needed"),
        (
            {"stop_after": 3, "stop_above": 0.3, "models": ["0.pt"]},
            "stop_above: there is no such uncertainty without several models",
        ),
        ({"atoms": Atoms("Si", cell=[5, 5, 5], pbc=True)}, "atoms: 1 atoms; dynamics needs two or more"),
        ({"atoms": Atoms("Si2", cell=[5, 5, 0])}, "atoms: the cell has no volume"),
        (
            {"ensemble": "npt-tri", "pressure": 0.0, "atoms": Atoms("Si2", cell=[5, 5, 5], pbc=[1, 1, 0])},
            r"atoms: npt-tri needs a periodic cell, found pbc \[True, True, False\]",
        ),
    ],
)
def test_what_lammps_would_refuse_is_refused_with_the_field(options, message):
    with pytest.raises(InputError, match=message):
        task(**options)


def test_file_that_is_no_task_is_named(tmp_path):
    path = tmp_path / "task.json"
    path.write_text('{"atoms": 1}')
    with pytest.raises(InputError, match=r"task.json: not an exploration task"):
        ExplorationTask.read(path)
