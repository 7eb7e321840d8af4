"""OUTCARs as killed runs and full disks leave them, packed and not."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpw.errors import InputError
from alpw.formats.outcar import is_finished, outcar_header, read_outcar
from tests.formats.outcars import RELAX, packed, text_of, whole

ENERGIES = [match.end() for match in re.finditer(r"free  energy   TOTEN.*\n.*\n.*sigma->0\).*\n", RELAX)]


@given(st.integers(0, len(RELAX)))
def test_a_file_cut_anywhere_gives_its_complete_steps(tmp_path_factory, length: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "OUTCAR"
    path.write_text(RELAX[:length])
    complete = sum(end <= length for end in ENERGIES)
    if length <= RELAX.index("vasp.") + len("vasp."):
        # Not even the version is there.
        with pytest.raises(InputError, match="not an OUTCAR"):
            list(read_outcar(path))
    elif complete == 0:
        assert list(read_outcar(path)) == []
    else:
        frames, full = whole(path), whole(packed("relax"))
        assert len(frames) == complete
        assert np.array_equal(frames.forces, full.forces[:complete])
        assert np.array_equal(frames.energies, full.energies[:complete])
    assert not is_finished(path) or "Elapsed time (sec)" in RELAX[:length]


def test_a_run_killed_in_its_first_electronic_loop_has_no_frames() -> None:
    assert list(read_outcar(packed("cut_in_scf"))) == []
    assert outcar_header(packed("cut_in_scf")).n_atoms == 2
    assert not is_finished(packed("cut_in_scf"))
    assert is_finished(packed("relax"))


@pytest.mark.parametrize("broken", ["*************", "          NaN"])
@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<=TOTEN  =)( +\S+)(?= eV\n\n  energy  without entropy=)",
        r"(?<=eV/Angst\)\n)( -+\n +\S+)",
        r"(?<=\n  Total {4})( +\S+)",
    ],
    ids=["energy", "position", "virial"],
)
def test_a_step_with_broken_numbers_is_left_out_by_number(
    outcar, caplog: pytest.LogCaptureFixture, pattern: str, broken: str
) -> None:
    third = list(re.finditer(pattern, RELAX))[2]
    kept = third[1][: third[1].rindex("\n") + 1] if "\n" in third[1] else ""
    path = outcar(RELAX[: third.start(1)] + kept + broken + RELAX[third.end(1) :])
    frames, full = whole(path), whole(packed("relax"))
    assert np.array_equal(frames.energies, np.delete(full.energies, 2))
    assert np.array_equal(frames.positions, np.delete(full.positions, 2, axis=0))
    assert "frame 2 is left out" in caplog.text


def test_many_broken_steps_are_not_told_one_by_one(outcar, caplog: pytest.LogCaptureFixture) -> None:
    assert list(read_outcar(outcar(re.sub(r"(TOTEN  =) +\S+ eV", r"\1 ******** eV", RELAX)))) == []
    assert len(caplog.messages) == 6
    assert "8 frames are left out" in caplog.messages[-1]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)])
def test_packed_files_are_read(tmp_path: Path, suffix: str, pack) -> None:
    path = tmp_path / f"OUTCAR{suffix}"
    with pack(path, "wt") as file:
        file.write(RELAX)
    assert len(whole(path)) == 8
    assert is_finished(path)


def test_a_packed_file_that_ends_too_early_gives_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "OUTCAR.gz"
    data = gzip.compress(RELAX.encode())
    path.write_bytes(data[: len(data) // 2])
    assert 0 < len(whole(path)) < 8


def test_a_file_that_is_not_packed_as_it_says_is_refused(tmp_path: Path) -> None:
    shutil.copy(packed("relax"), tmp_path / "OUTCAR.gz")
    with pytest.raises(InputError, match="cannot be unpacked"):
        list(read_outcar(tmp_path / "OUTCAR.gz"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "no output of VASP\n" * 100, "not an OUTCAR"),
        (lambda text: text.replace("   TITEL  =", "   TITLE  =").replace("POTCAR:", ""), "0 potentials"),
        (
            lambda text: re.sub("(TITEL  = PAW) In.*", r"\1 Qq 1", text).replace("VRHFIN =In", ""),
            "element",
        ),
    ],
)
def test_files_without_atoms_are_refused(outcar, change, message: str) -> None:
    path = outcar(change(text_of("vasp_5.3")))
    with pytest.raises(InputError, match=message):
        list(read_outcar(path))
    with pytest.raises(InputError, match="no such file"):
        list(read_outcar(path.with_name("nothing")))
