"""Tables of the deviation: which program wrote them, and what their numbers mean."""

from __future__ import annotations

import pytest

from alpw.codes.lammps_pair.deviations import read_deviations
from alpw.errors import InputError

PWMLFF = "        0      0.112000000      0.003000000\n       10      0.250000000     -0.001000000\n"
MATPL = (
    "#    step        avg_devi_f        min_devi_f        max_devi_f        avg_devi_e        min_devi_e"
    "        max_devi_e\n"
    "        0      0.050000000      0.010000000      0.090000000      0.001      0.0005      0.002\n"
)
DEEPMD = (
    "#       step         max_devi_v         min_devi_v         avg_devi_v         max_devi_f"
    "         min_devi_f         avg_devi_f\n"
    "           0       9.4e-03       5.5e-05       5.9e-03       6.4e-02       3.0e-03       5.0e-02\n"
)


@pytest.mark.parametrize(
    ("style", "text", "definition", "expected"),
    [
        ("pwmlff", PWMLFF, "legacy", {"max_f": 0.112}),
        ("matpl", MATPL, "legacy", {"max_f": 0.09}),
        ("matpl/dp", MATPL, "dpgen", {"max_f": 0.09, "mean_f": 0.05, "min_f": 0.01}),
        ("deepmd", DEEPMD, "dpgen", {"max_f": 0.064, "mean_f": 0.05, "max_v": 0.0094, "min_v": 5.5e-5}),
    ],
)
def test_layouts_are_told_apart_by_header_and_columns(tmp_path, style, text, definition, expected):
    (tmp_path / "model_devi.out").write_text(text)
    found = read_deviations(tmp_path / "model_devi.out", style)
    assert found.layout.definition == definition
    assert {name: found.values[name][0] for name in expected} == expected


def test_pwmlff_counts_records_instead_of_steps(tmp_path):
    (tmp_path / "model_devi.out").write_text(PWMLFF)
    found = read_deviations(tmp_path / "model_devi.out", "pwmlff")
    assert found.layout.counted
    assert found.steps.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# step devi\n 0 0.1\n", "# step devi"),
        ("0 0.1 0.2 0.3\n", "0 0.1 0.2 0.3"),
        (MATPL + "ERROR while writing\n", "ERROR while writing"),
        (MATPL.replace(" 0.002\n", "\n"), "0      0.050000000"),
    ],
)
def test_an_unknown_layout_is_an_error_that_shows_the_line(tmp_path, text, line):
    (tmp_path / "model_devi.out").write_text(text)
    with pytest.raises(InputError) as error:
        read_deviations(tmp_path / "model_devi.out", "matpl/dp")
    assert line in str(error.value)
    assert "model_devi.out" in str(error.value)


def test_a_line_cut_short_is_left_out(tmp_path):
    (tmp_path / "model_devi.out").write_text(PWMLFF + "       20      0.3")
    assert len(read_deviations(tmp_path / "model_devi.out", "pwmlff")) == 2
