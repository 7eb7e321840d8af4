"""What makes a set of numbers a label."""

import math

import numpy as np
import pytest
from ase import Atoms

from alpw.codes.checks import check_label
from alpw.codes.geometry import check_same_structure
from alpw.codes.protocol import Code, Task, settings_hash
from alpw.codes.registry import CODES, available, code_of
from alpw.config import Dft
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.structures.frame import Label

DFT = Dft.model_validate({"dft_style": "xtb"})


@pytest.fixture
def dimer():
    return Atoms("CO", [[0, 0, 0], [0, 0, 1.1]], cell=[5, 6, 7], pbc=True)


def label(**changes):
    numbers = {"energy": -1.0, "forces": np.array([[0, 0, 1.0], [0, 0, -1.0]]), "virial": np.eye(3)}
    return Label(**(numbers | changes))


def test_numbers_of_the_right_shape_that_sum_to_zero_are_a_label(dimer, tmp_path):
    check_label(label(), dimer, 1e-5, DFT, tmp_path)
    without = DFT.model_copy(update={"stress": False})
    check_label(label(virial=None), dimer, 1e-5, without, tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"energy": math.nan},
        {"forces": np.full((2, 3), np.inf)},
        {"virial": np.full((3, 3), np.nan)},
        {"forces": np.zeros((3, 3))},
        {"virial": np.zeros(6)},
        {"virial": None},
        {"forces": np.array([[0, 0, 101.0], [0, 0, -101.0]])},
        {"forces": np.array([[0, 0, 1.0], [0, 0, -0.9]])},
    ],
)
def test_anything_else_is_none(dimer, tmp_path, changes):
    with pytest.raises(CalculationError) as caught:
        check_label(label(**changes), dimer, 1e-5, DFT, tmp_path)
    assert caught.value.kind is FailureKind.UNKNOWN


def test_rotated_structure_is_another_structure_although_its_cell_has_the_same_shape(dimer, tmp_path):
    rotated = dimer.copy()
    rotated.rotate(0.05, "z", rotate_cell=True)
    check_same_structure(dimer, dimer.copy(), tmp_path)
    with pytest.raises(CalculationError, match="cell"):
        check_same_structure(dimer, rotated, tmp_path, cell_rounding=5e-4)


def test_cell_printed_with_three_decimals_is_judged_by_its_lengths_and_angles(dimer, tmp_path):
    asked = dimer.copy()
    asked.set_cell([[5.00012, 0.01034, 0], [0, 6, 0], [0, 0.0204, 7]])
    printed = asked.copy()
    printed.set_cell(np.round(np.asarray(asked.cell), 3))
    printed.info["cellpar"] = np.round(asked.cell.cellpar(), 6)
    check_same_structure(asked, printed, tmp_path, cell_rounding=5e-4)
    printed.info["cellpar"][0] += 2e-4
    with pytest.raises(CalculationError, match="cell"):
        check_same_structure(asked, printed, tmp_path, cell_rounding=5e-4)


def test_settings_hash_ignores_order_and_refuses_nan():
    assert settings_hash({"a": 1, "b": [2]}) == settings_hash({"b": [2], "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        settings_hash({"a": math.nan})


def test_styles_are_found_in_any_case_and_unknown_ones_are_told_the_choice():
    assert code_of("CP2K").name == "cp2k" and code_of("xtb").name == "xtb"
    with pytest.raises(InputError, match="xtb, cp2k, vasp, pwmat"):
        code_of("gaussian")
    assert available("xtb")[0] is True


@pytest.mark.parametrize("code", map(code_of, CODES), ids=CODES)
def test_looking_for_errors_changes_nothing(code: Code, tmp_path):
    for task in Task:
        for handler in code.handlers(task):
            handler.check(str(tmp_path))
        for validator in code.validators(task):
            assert validator.check(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", map(code_of, CODES), ids=CODES)
def test_every_handler_says_what_it_knows(code: Code):
    assert all(len(handler.__doc__ or "") > 60 for task in Task for handler in code.handlers(task))


@pytest.mark.parametrize("code", map(code_of, CODES), ids=CODES)
def test_every_correction_rule_has_a_reason(code: Code):
    assert code.rules and all(len(rule.reason) > 4 for rule in code.rules.values())
