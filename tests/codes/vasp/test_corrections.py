"""Which settings may repair what, and that nothing custodian touches is without a rule."""

import inspect
import re

import pytest
from custodian.vasp import handlers as custodian_handlers
from custodian.vasp.handlers import (
    DriftErrorHandler,
    LargeSigmaHandler,
    NonConvergingErrorHandler,
    PotimErrorHandler,
    UnconvergedErrorHandler,
    VaspErrorHandler,
)

from alpw.codes.corrections import Effect, GuardedHandler, refused, rule_for
from alpw.codes.protocol import Task
from alpw.codes.vasp.code import Vasp
from alpw.codes.vasp.corrections import MOTION, RULES, settings_of_inputs
from alpw.codes.vasp.tags import is_known

INCAR = "ENCUT = 300\nALGO = Fast\nEDIFF = 1E-6\nISMEAR = 0\nSIGMA = 0.1\nLREAL = Auto\nPOTIM = 1\n"
POSCAR = "Si\n1.0\n3.8 0 0\n0 3.9 0\n0 0 4.0\nSi\n1\nDirect\n0 0 0\n"


def admitted(tag, task, allow_physics=False):
    return not refused(RULES, [f"INCAR/{tag}"], task, allow_physics)


def test_every_tag_that_custodian_may_change_has_a_rule():
    source = inspect.getsource(custodian_handlers)
    blocks = re.findall(r'"_(?:un)?set": (\{[^}]*\})', source) + re.findall(
        r"new_settings = (\{[^}]*\})", source
    )
    tags = {tag.upper() for block in blocks for tag in re.findall(r'"([A-Za-z_]{3,})":', block)}
    tags -= {"GENERATION_STYLE", "KPOINTS", "STRUCTURE"}
    assert {"ALGO", "ISYM", "NELMDL", "POTIM", "SYMPREC"} <= tags
    assert {tag for tag in tags if f"INCAR/{tag}" not in RULES} == set()


def test_every_rule_is_of_a_tag_that_exists():
    keys = [key.removeprefix("INCAR/").split(" ")[0] for key in RULES if key.startswith("INCAR/")]
    assert [tag for tag in keys if not is_known(tag)] == []


@pytest.mark.parametrize("tag", ["ALGO", "NELM", "AMIX", "IMIX", "KPAR", "NCORE", "NBANDS", "ICHARG", "TIME"])
def test_numerical_settings_may_repair_anything(tag):
    assert all(admitted(tag, task) for task in Task)


@pytest.mark.parametrize(
    "tag",
    ["ENCUT", "PREC", "EDIFF", "ISMEAR", "SIGMA", "ISYM", "SYMPREC", "LREAL", "KSPACING", "NGX", "MAGMOM"],
)
def test_physics_repairs_no_label_and_the_rest_only_if_the_user_allows_it(tag):
    assert not admitted(tag, Task.LABEL, allow_physics=True)
    for task in (Task.RELAX, Task.AIMD):
        assert not admitted(tag, task) and admitted(tag, task, allow_physics=True)


def test_unknown_settings_count_as_physics():
    assert rule_for(RULES, "INCAR/LNEWTAG").effect is Effect.PHYSICS


@pytest.mark.parametrize("tag", sorted(MOTION))
def test_motion_is_never_changed_in_dynamics_nor_for_labels(tag):
    assert not admitted(tag, Task.AIMD, allow_physics=True) and not admitted(
        tag, Task.LABEL, allow_physics=True
    )


def test_a_relaxation_may_take_another_way_but_not_to_another_end():
    assert all(admitted(tag, Task.RELAX) for tag in ("IBRION", "POTIM", "NSW"))
    assert not any(admitted(tag, Task.RELAX, allow_physics=True) for tag in ("ISIF", "EDIFFG", "PSTRESS"))
    assert not refused(RULES, ["POSCAR"], Task.RELAX, False) and refused(RULES, ["POSCAR"], Task.AIMD, True)


@pytest.fixture
def folder(tmp_path, dataset):
    (tmp_path / "INCAR").write_text(INCAR)
    (tmp_path / "POSCAR").write_text(POSCAR)
    (tmp_path / "CONTCAR").write_text(POSCAR.replace("0 0 0\n", "0.1 0 0\n"))
    (tmp_path / "POTCAR").write_text(dataset("Si"))
    (tmp_path / "KPOINTS").write_text("mesh\n0\nMonkhorst\n2 2 2\n")
    return tmp_path


def test_the_spelling_of_a_value_is_no_change(folder):
    before = settings_of_inputs(folder)
    (folder / "INCAR").write_text(
        "algo = fast; ENCUT=3.0D2 # cutoff\nEDIFF = 0.000001\nISMEAR = 0 ; SIGMA = .1\nLREAL=A\nPOTIM = 1.0\n"
    )
    assert settings_of_inputs(folder) == before


@pytest.mark.parametrize(
    ("old", "new"), [("ALGO = Fast", "ALGO = None"), ("ALGO = Fast", "ALGO = Fast\nICHARG = 11")]
)
def test_leaving_the_self_consistent_ground_state_is_a_change_of_physics(folder, old, new):
    before = settings_of_inputs(folder)
    (folder / "INCAR").write_text(INCAR.replace(old, new))
    after = settings_of_inputs(folder)
    changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    assert refused(RULES, changed, Task.LABEL, False) and refused(RULES, changed, Task.AIMD, True)


def test_an_incar_that_cannot_be_read_is_a_change_of_physics(folder):
    before = settings_of_inputs(folder)
    (folder / "INCAR").write_text("ENCUT = 300\nENCUT = 400\n")
    after = settings_of_inputs(folder)
    changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    assert "INCAR" in changed and refused(RULES, changed, Task.RELAX, False)


def test_every_input_file_is_watched(folder):
    before = settings_of_inputs(folder)
    for name in ("KPOINTS", "POSCAR", "POTCAR"):
        (folder / name).write_text((folder / name).read_text() + "\n")
        after = settings_of_inputs(folder)
        assert [key for key in before if before[key] != after[key]] == [name]
        before = after


def corrected(folder, handler, task, allow_physics=False):
    done = GuardedHandler(handler, Vasp(), task, allow_physics).correct(folder)
    return done, (folder / "INCAR").read_text()


@pytest.mark.parametrize(
    ("name", "setting"), [("tet", "INCAR/SIGMA"), ("rspher", "INCAR/LREAL"), ("tetirr", "KPOINTS")]
)
def test_custodians_change_of_physics_is_undone_in_a_label(folder, name, setting):
    handler = VaspErrorHandler()
    handler.errors = {name}
    inputs = {file: (folder / file).read_bytes() for file in ("INCAR", "KPOINTS", "POSCAR")}
    done, _ = corrected(folder, handler, Task.LABEL, allow_physics=True)
    assert done["actions"] is None and any(entry.startswith(setting) for entry in done["refused"])
    assert {file: (folder / file).read_bytes() for file in inputs} == inputs


def test_custodians_numerical_correction_is_admitted(folder):
    done, incar = corrected(folder, NonConvergingErrorHandler(), Task.LABEL)
    assert done["changed"] == ["INCAR/ALGO"] and "ALGO = Normal" in incar


@pytest.mark.parametrize("handler", [PotimErrorHandler(), LargeSigmaHandler(), DriftErrorHandler()])
def test_handlers_that_are_not_used_would_be_undone(folder, handler):
    (folder / "INCAR").write_text(INCAR.replace("POTIM = 1", "POTIM = 0.15"))
    handler.entropy_per_atom, handler.curr_max_drift = 1.0, 1.0
    done, incar = corrected(folder, handler, Task.AIMD)
    assert done["actions"] is None and "POTIM = 0.15" in incar and "PREC" not in incar


def test_dynamics_is_never_turned_into_a_relaxation(folder, monkeypatch):
    """What custodian does to AIMD that was stopped before its last step."""
    run = type("Run", (), {"incar": {}, "converged_electronic": True, "converged_ionic": False})
    monkeypatch.setattr(custodian_handlers, "load_vasprun", lambda path: run())
    done, incar = corrected(folder, UnconvergedErrorHandler(), Task.AIMD, allow_physics=True)
    assert "IBRION" not in incar and done["actions"] is None
    assert any(entry.startswith("INCAR/IBRION") for entry in done["refused"])
    assert (folder / "POSCAR").read_text() == POSCAR
