"""Cutting files into pieces, and tables of Fortran numbers."""

from __future__ import annotations

import re
import string

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from alpw.formats.streaming import ParsedFrame, Unreadable, batches, floats, number, pieces, rows, table

LINES = st.lists(st.text(alphabet="ab#1\n", max_size=12), max_size=30)


@given(LINES, st.integers(1, 40))
def test_pieces_are_the_file_cut_before_lines_with_a_mark(
    tmp_path_factory, lines: list[str], chunk: int
) -> None:
    text = "\n".join(lines).encode()
    path = tmp_path_factory.mktemp("pieces") / "file"
    path.write_bytes(text)
    found = list(pieces(path, b"##", chunk=chunk))
    assert b"".join(piece.text for piece in found) == text
    marked = [k for k, line in enumerate(text.split(b"\n")) if b"##" in line]
    assert len(found) == len(marked) + 1
    assert all(b"##" in piece.text.split(b"\n")[0] for piece in found[1:])
    assert [piece.closed for piece in found] == [True] * len(marked) + [False]
    # A mark is looked for once in a line.
    assert all(piece.text[piece.last_mark :].startswith(b"##") for piece in found[1:])


@given(LINES, st.integers(1, 40))
def test_only_accepted_marks_cut(tmp_path_factory, lines: list[str], chunk: int) -> None:
    text = "\n".join(lines).encode()
    path = tmp_path_factory.mktemp("pieces") / "file"
    path.write_bytes(text)
    found = list(pieces(path, b"#", re.compile(rb"#1"), chunk=chunk))
    assert b"".join(piece.text for piece in found) == text
    first = [line[line.index(b"#") :] for line in text.split(b"\n") if b"#" in line]
    assert len(found) == 1 + sum(line.startswith(b"#1") for line in first)


WORDS = st.floats(-1e3, 1e3, allow_nan=False)


@given(
    st.lists(st.lists(WORDS, min_size=3, max_size=3), min_size=1, max_size=40),
    st.lists(st.integers(0, 16), min_size=3, max_size=3),
    st.integers(22, 26),
)
@example([[0.0, -0.0, 1.0]] * 20, [1, 5, 15], 24)
@example([[-999.5, 999.25, -1.0]] * 20, [15, 15, 15], 24)
def test_tables_of_fixed_point_numbers_are_read_as_float_reads_them(numbers, decimals, width) -> None:
    text = "".join(
        "".join(f"{x:{width}.{d}f}" for x, d in zip(row, decimals, strict=True)) + "\n" for row in numbers
    )
    expected = np.array([[float(word) for word in line.split()] for line in text.splitlines()])
    found = table(text.encode(), len(numbers), 3)
    # The last bit beyond 2^53 may differ.
    assert np.allclose(found, expected, rtol=2.3e-16, atol=0)


@given(st.lists(st.text(alphabet="0123456789 .-*E", min_size=6, max_size=6), min_size=16, max_size=20))
def test_no_damaged_table_gives_numbers_that_float_would_not(lines: list[str]) -> None:
    block = ("\n".join(lines) + "\n").encode()
    try:
        found = table(block, len(lines))
    except Unreadable:
        return
    assume(len({len(line.split()) for line in lines}) == 1)
    expected = [[float(word) for word in line.split()] for line in lines]
    assert np.allclose(found, expected, rtol=1e-15, atol=0)


def test_points_that_do_not_stand_below_each_other_do_no_harm() -> None:
    lines = ["   1.25  7", "   12.5  7"] * 10
    assert table(("\n".join(lines) + "\n").encode(), 20)[:2].tolist() == [[1.25, 7], [12.5, 7]]
    lines = ["   1.25 ", "    1.2 "] * 10
    assert table(("\n".join(lines) + "\n").encode(), 20)[:2].tolist() == [[1.25], [1.2]]
    lines = ["    1.25 ", "    1.2  "] * 10
    assert table(("\n".join(lines) + "\n").encode(), 20)[:2].tolist() == [[1.25], [1.2]]


def test_integers_too_long_for_the_fast_way_are_read() -> None:
    block = b"    12345.123456789012345678\n" * 20
    assert table(block, 20)[0, 0] == 12345.123456789012345678


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1.0D+02", 100.0),
        ("-.5d-1", -0.05),
        ("0.1000000000-100", 0.1e-100),
        ("0.25+101", 0.25e101),
        ("7", 7.0),
    ],
)
def test_fortran_writes_numbers_in_its_own_ways(word: str, value: float) -> None:
    assert number(word.encode()) == value
    assert floats([word.encode()] * 40).tolist() == [value] * 40


@pytest.mark.parametrize("word", ["****", "NaN", "Infinity", "1.0.0", "-", "x", "1.0+1"])
def test_what_is_no_finite_number_is_refused(word: str) -> None:
    with pytest.raises(Unreadable):
        number(word.encode())
    with pytest.raises(Unreadable):
        floats([word.encode()] * 40)


def test_numbers_that_touch_are_taken_apart_where_the_width_is_known() -> None:
    assert table(b" 10.0-20.0 3.0\n-1.0-2.0-3.0\n", 2, width=3).tolist() == [[10, -20, 3], [-1, -2, -3]]
    with pytest.raises(Unreadable, match="different lengths"):
        table(b" 10.0-20.0 3.0\n1.0 2.0\n", 2, width=3)


def test_unwanted_columns_need_not_be_numbers() -> None:
    assert table(b"1 2 x\n3 4 y\n", 2, keep=2).tolist() == [[1, 2], [3, 4]]


@given(st.lists(st.text(alphabet=string.ascii_letters, max_size=5), min_size=1, max_size=10), st.data())
def test_rows_are_whole_lines(lines: list[str], data: st.DataObject) -> None:
    text = "".join(f"{line}\n" for line in lines).encode()
    count = data.draw(st.integers(1, len(lines)))
    assert rows(text, 0, count).split(b"\n")[:count] == [line.encode() for line in lines[:count]]
    with pytest.raises(Unreadable, match="cut short"):
        rows(text[:-1], 0, len(lines))


def frame(n_atoms: int = 2, **changes) -> ParsedFrame:
    given_ = {
        "numbers": np.full(n_atoms, 14),
        "cell": np.eye(3),
        "positions": np.zeros((n_atoms, 3)),
        "energy": -1.0,
        "forces": np.zeros((n_atoms, 3)),
    }
    return ParsedFrame(**{**given_, **changes})


def test_batches_hold_frames_of_the_same_atoms() -> None:
    found = list(batches([frame(2), frame(2), frame(3), frame(2)], 10))
    assert [(len(batch), len(batch.numbers)) for batch in found] == [(2, 2), (1, 3), (1, 2)]
    with pytest.raises(ValueError, match="at least one"):
        list(batches([frame()], 0))


def test_what_some_frames_lack_is_not_invented() -> None:
    virial, speed = np.eye(3), np.ones((2, 3))
    mixed = [frame(virial=virial, scalars={"time": 1.0}, velocities=speed), frame()]
    (batch,) = batches(mixed, 10)
    assert batch[0].label.virial is not None
    assert batch[1].label.virial is None
    assert batch.extras["time"][0] == 1.0
    assert np.isnan(batch.extras["time"][1])
    assert "velocities" not in batch.extras
    (plain,) = batches([frame(), frame()], 10)
    assert plain.virials is None
    assert plain.extras == {}
