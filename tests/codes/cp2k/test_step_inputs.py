"""Inputs of AIMD and relaxations: the control file decides, and every step is written."""

import pytest

from alpw.codes.cp2k.sections import read
from alpw.codes.protocol import Task
from alpw.codes.registry import code_of

from .conftest import CONTROL

CP2K = code_of("cp2k")


def test_aimd_keeps_the_users_dynamics_and_writes_every_step(moving, silicon, make_dft, tmp_path):
    dft = make_dft(dft_style="cp2k", input=moving)
    folder = tmp_path / "run"
    folder.mkdir()
    changes = CP2K.write_inputs(silicon, folder, dft, Task.AIMD)
    root = read(folder / "cp2k.inp")
    assert root.need("GLOBAL").get("RUN_TYPE") == "MD" and not any("RUN_TYPE" in text for text in changes)
    assert root.need("MOTION/MD").get("TEMPERATURE") == "700"
    assert root.need("MOTION/MD/THERMOSTAT").get("TYPE") == "CSVR"
    assert root.find("EXT_RESTART") is None and not root.need("MOTION/MD").values("STEP_START_VAL")
    for name in ("TRAJECTORY", "FORCES", "VELOCITIES", "CELL", "STRESS", "RESTART"):
        assert root.need(f"MOTION/PRINT/{name}/EACH").get("MD") == "1"
    told = "\n".join(changes)
    for text in ("EXT_RESTART removed", "STEP_START_VAL removed", "MOTION/PRINT/TRAJECTORY ON, each MD 1"):
        assert text in told


@pytest.mark.parametrize(
    ("given", "found"), [("GEO_OPT", "GEO_OPT"), ("CELL_OPT", "CELL_OPT"), ("MD", "GEO_OPT"), ("", "GEO_OPT")]
)
def test_relaxation_is_of_the_kind_that_the_control_file_asks_for(
    moving, silicon, make_dft, tmp_path, given, found
):
    line = f"  RUN_TYPE {given}\n" if given else ""
    moving.write_text(moving.read_text().replace("  RUN_TYPE MD\n", line))
    (tmp_path / "run").mkdir()
    CP2K.write_inputs(silicon, tmp_path / "run", make_dft(dft_style="cp2k", input=moving), Task.RELAX)
    root = read(tmp_path / "run" / "cp2k.inp")
    assert root.need("GLOBAL").get("RUN_TYPE") == found
    expected = "7" if found == "GEO_OPT" else "200"
    assert root.need(f"MOTION/{found}").get("MAX_ITER") == expected
    assert root.need("MOTION/GEO_OPT").get("OPTIMIZER") == "LBFGS"
    assert root.need("MOTION/PRINT/TRAJECTORY/EACH").get(found) == "1"


def test_relaxation_of_the_cell_computes_the_stress_even_where_labels_do_not(
    control, silicon, make_dft, tmp_path
):
    dft = make_dft(dft_style="cp2k", input=control, stress=False)
    for task, stress in ((Task.LABEL, ""), (Task.RELAX, "ANALYTICAL")):
        control.write_text(CONTROL.replace("RUN_TYPE MD", "RUN_TYPE CELL_OPT"))
        CP2K.write_inputs(silicon, tmp_path, dft, task)
        assert read(tmp_path / "cp2k.inp").need("FORCE_EVAL").get("STRESS_TENSOR") == stress
