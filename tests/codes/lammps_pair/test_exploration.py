"""Trajectories of a LAMMPS binary with a pair style, by the stand-in and its own small potential."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from alpw.codes.lammps import EndReason, ExplorationTask
from alpw.codes.lammps.outputs import End
from alpw.codes.lammps.template import Template
from alpw.codes.lammps_pair import STYLES, compiled_styles, explore, read_result
from alpw.codes.lammps_pair.inputs import DUMP_FILE
from alpw.errors import CalculationError, FailureKind, InputError

COMMAND = f"{sys.executable} {Path(__file__).parents[2] / 'standins/lmp_mpi'}"


@pytest.fixture
def task(tmp_path):
    """Two oxygen and two magnesium atoms in a skewed, turned cell, and two models of weak pair functions."""
    files = []
    for k in (0, 1):
        model = {"numbers": [12, 8], "rcut": 4.0, "coefficients": [0.0, 0.0, *([0.05 + 0.01 * k] * 18)]}
        files.append(tmp_path / f"model.{k}.pt")
        files[-1].write_text(json.dumps(model))
    cell = [[0.0, 4.2, 0.3], [4.1, 0.0, 0.2], [1.9, 1.8, 4.3]]
    scaled = np.array([0, 1, 2, 3])[:, None] * 0.25 + [0, 0.1, 0.2]
    atoms = Atoms("OMgOMg", scaled_positions=scaled, cell=cell, pbc=True)
    return ExplorationTask(atoms, tuple(files), "nvt", 300.0, 20, stride=5, taut=0.05)


@pytest.mark.parametrize("style", ["pwmlff", "matpl", "matpl/dp"])
def test_frames_come_back_in_the_users_cell_with_their_deviations(task, tmp_path, monkeypatch, style):
    monkeypatch.setenv("LMP_STYLES", style)
    result = explore(task, tmp_path / "run", command=COMMAND + " -in theirs", style=STYLES[style])
    assert result.end.reason is EndReason.COMPLETED
    assert result.steps.tolist() == [0, 5, 10, 15, 20]
    assert np.allclose(result.positions[0], task.atoms.positions, atol=1e-9)
    assert np.allclose(result.cells, task.atoms.cell.array, atol=1e-9)
    assert result.frames()[1].get_chemical_symbols() == ["O", "Mg", "O", "Mg"]
    # Two models: each is half of their difference away from the mean, so that both definitions agree.
    assert result.deviation == ("dpgen" if style == "matpl/dp" else "legacy")
    assert (result.deviations["max_f"][1:] > 0).all()
    assert result.temperatures[0] == pytest.approx(300.0)


def test_a_trajectory_that_ended_is_not_run_again(task, tmp_path):
    first = explore(task, tmp_path / "run", command=COMMAND, style=STYLES["matpl/dp"])
    again = explore(task, tmp_path / "run", command="false", style=STYLES["matpl/dp"])
    assert np.array_equal(first.positions, again.positions)
    with pytest.raises(CalculationError):
        explore(replace(task, seed=2), tmp_path / "run", command="false", style=STYLES["matpl/dp"])


def test_a_trajectory_that_timed_out_or_has_no_frames_is_tried_anew(task, tmp_path):
    folder = tmp_path / "run"
    explore(task, folder, command=COMMAND, style=STYLES["matpl/dp"])
    ended = End.read(folder)
    replace(ended, reason=EndReason.TIMEOUT).write(folder)
    again = explore(task, folder, command=COMMAND, style=STYLES["matpl/dp"])
    assert again.end.reason is EndReason.COMPLETED
    (folder / DUMP_FILE).unlink()
    assert len(explore(task, folder, command=COMMAND, style=STYLES["matpl/dp"])) == 5


def test_a_template_brings_its_files_and_its_thermo_output_hides_no_frame(task, tmp_path):
    text = """variable TEMP equal 300
fix 1 all nvt temp 300 300 0.05
fix bias all colvars bias.colvars
timestep 0.001
thermo_style custom step temp press
thermo 100
run 20
"""
    (tmp_path / "in.user").write_text(text)
    (tmp_path / "bias.colvars").write_text("colvar { name d }")
    template = Template.read(tmp_path / "in.user")
    own = replace(task, ensemble="template", template=template)
    result = explore(own, tmp_path / "run", command=COMMAND, style=STYLES["matpl/dp"])
    assert result.steps.tolist() == [0, 5, 10, 15, 20]
    assert (result.potential_energies != 0).all()
    assert (tmp_path / "run/bias.colvars").read_text() == "colvar { name d }"


def test_a_killed_run_is_repeated_and_a_lost_atom_ends_it(task, tmp_path, monkeypatch):
    monkeypatch.setenv("LMP_FAULT", "killed")
    killed = explore(task, tmp_path / "killed", command=COMMAND, style=STYLES["matpl/dp"])
    assert killed.end.reason is EndReason.COMPLETED
    monkeypatch.setenv("LMP_FAULT", "lost")
    lost = explore(task, tmp_path / "lost", command=COMMAND, style=STYLES["matpl/dp"])
    assert lost.end.reason is EndReason.LOST_ATOMS
    assert lost.steps.tolist() == [0, 5, 10]
    assert np.array_equal(lost.positions, killed.positions[:3])


def test_frames_beyond_trust_end_a_trajectory(task, tmp_path):
    wary = replace(task, stop_above=1e-5, stop_after=2)
    result = explore(wary, tmp_path / "run", command=COMMAND, style=STYLES["matpl/dp"])
    assert result.end.reason is EndReason.UNCERTAIN
    assert result.steps.tolist() == [0, 5, 10]


def test_a_pair_style_that_lammps_lacks_is_an_input_error(task, tmp_path):
    with pytest.raises(CalculationError, match="Unrecognized pair style 'pwmlff'") as error:
        explore(task, tmp_path / "run", command=COMMAND, style=STYLES["pwmlff"])
    assert error.value.kind is FailureKind.INPUT
    result = read_result(tmp_path / "run")
    assert len(result) == 0
    assert result.deviations["max_f"].shape == (0,)


def test_pair_styles_are_those_that_lammps_lists():
    assert compiled_styles(COMMAND) == {"lj/cut", "matpl/dp"}
    with pytest.raises(InputError, match="lists no pair styles"):
        compiled_styles("echo")
