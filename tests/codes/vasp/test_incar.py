"""INCAR is read as VASP reads it, and written so that pymatgen finds the same values."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.vasp import Incar as PymatgenIncar

from alpw.codes.vasp import tags
from alpw.codes.vasp.incar import Incar, canonical, check_values, plain, written_out
from alpw.errors import InputError

MANUAL = """\
SYSTEM = Rhodium; ISTART = 0
start parameters for this Run (automatic defaults, hence not often required)
 electronic optimization
  ENCUT  = 300.00 eV # defaults from POTCAR, but wise = good to include
  algo  =  Normal    # can be also FAST or ALL
  EDIFF  = 1D-06     ! stopping-criterion; x = 3
  SIGMA  =    0.05;  ISMEAR =  0   ! broadening in eV
  POTIM  =  .5
MAGMOM  = 0 0 1.0 0 0 -1.0 \\
          0 0 1E-1 \\
          6*0
PLUGINS {
   STRUCTURE = T
   NEIGHBOR_CUTOFF = 5.0
}
WANNIER90_WIN = "
Begin Projections
Si:sp3; x = 1
"
"""


def test_the_grammar_of_the_manual_is_understood():
    incar = Incar.parse(MANUAL)
    assert list(incar.values) == [
        "SYSTEM",
        "ISTART",
        "ENCUT",
        "ALGO",
        "EDIFF",
        "SIGMA",
        "ISMEAR",
        "POTIM",
        "MAGMOM",
        "PLUGINS/STRUCTURE",
        "PLUGINS/NEIGHBOR_CUTOFF",
        "WANNIER90_WIN",
    ]
    assert incar.real("ENCUT", 0) == 300
    assert incar.real("EDIFF", 0) == 1e-6
    assert incar.numbers("MAGMOM") == [0, 0, 1, 0, 0, -1, 0, 0, 0.1, 0, 0, 0, 0, 0, 0]
    assert incar.logical("PLUGINS/STRUCTURE")
    assert "Si:sp3; x = 1" in incar.get("WANNIER90_WIN")
    check_values(incar)


def test_what_is_written_is_read_again_as_it_was():
    incar = Incar.parse(MANUAL)
    assert Incar.parse(str(incar)).values == incar.values


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("ENCUT = 300\nENCUT = 400", "twice"),
        ("ENCUT = 300 ISMEAR = 0", "separate"),
        ("my ENCUT = 300", "TAG = value"),
        ("PLUGINS {\nSTRUCTURE = T", "not closed"),
        ("ENCUT = 300 }", "without"),
    ],
)
def test_what_vasp_could_misread_is_an_error_that_names_the_statement(text, word):
    with pytest.raises(InputError, match=word):
        Incar.parse(text)


def test_files_of_windows_editors_are_read(tmp_path):
    file = tmp_path / "INCAR"
    file.write_bytes("ENCUT = 300\r\nISMEAR = 0 # Größe\r\n".encode("utf-8-sig"))
    assert Incar.read(file).values == {"ENCUT": "300", "ISMEAR": "0"}


def test_a_tag_given_twice_with_one_value_is_none():
    assert Incar.parse("EDIFF = 1E-6\nediff = 0.000001").values == {"EDIFF": "0.000001"}


@pytest.mark.parametrize(
    ("line", "tag", "word"),
    [
        ("ENCTU = 520", "ENCTU", "ENCUT"),
        ("ISMAER = 0", "ISMAER", "ISMEAR"),
        ("XQZW_17 = 0", "XQZW_17", "remove"),
        ("NSW = 10.0", "NSW", "no integer"),
        ("NSW = many", "NSW", "no integer"),
        ("ENCUT = high", "ENCUT", "no number"),
        ("LWAVE = no", "LWAVE", "no switch"),
        ("ENCUT =", "ENCUT", "no value"),
    ],
)
def test_a_wrong_tag_or_value_is_told_with_file_key_and_fix(tmp_path, line, tag, word):
    file = tmp_path / "INCAR"
    file.write_text(f"SYSTEM = x\n{line}\n")
    with pytest.raises(InputError, match=word) as caught:
        check_values(Incar.read(file))
    assert (caught.value.file, caught.value.key) == (file, tag)


@pytest.mark.parametrize(
    "line",
    [
        "LWAVE=.F.",
        "LREAL=Auto",
        "LREAL=.TRUE.",
        "ALGO=N",
        "PREC=SingleN",
        "IVDW=13",
        "NELM=100 steps",
        "ENCUT=5.2d2",
        "AMIX=1",
        "METAGGA=R2SCAN",
        "ML_LMLFF=F",
        "CSVR_PERIOD=20",
        "LIBXC1=263",
        "KERNEL_TRUNCATION/LTRUNCATE=T",
        "RWIGS=1.0 1.2",
        "FERWE=2*1.0 2*0.0",
        "VDW_S8=0.7",
        "IOPT=7",
        "LSOL=T",
    ],
)
def test_what_vasp_and_its_common_patches_accept_is_accepted(line):
    check_values(Incar.parse(line))


def test_every_tag_of_pymatgens_table_is_known():
    assert all(tags.is_known(tag) for tag in tags.types()) and len(tags.types()) > 300


@pytest.mark.parametrize(
    ("tag", "one", "other"),
    [
        ("EDIFF", "1E-6", "0.000001"),
        ("EDIFF", "1d-06", "1.0e-06"),
        ("LHFCALC", ".TRUE.", "t"),
        ("LREAL", "Auto", "A"),
        ("LREAL", ".FALSE.", "F"),
        ("PREC", "accurate", "A"),
        ("GGA", "pe", "PE"),
        ("ENCUT", "300.00 eV", "300"),
        ("MAGMOM", "2*1.0 0.0", "1 1 0"),
        ("MAGMOM", "-0", "0"),
        ("METAGGA", "scan", "SCAN"),
    ],
)
def test_two_spellings_of_one_value_are_one(tag, one, other):
    assert canonical(tag, one) == canonical(tag, other)


@pytest.mark.parametrize(
    ("tag", "one", "other"),
    [
        ("LREAL", "Auto", ".TRUE."),
        ("LREAL", "On", "Auto"),
        ("PREC", "Normal", "Accurate"),
        ("PREC", "SingleN", "Single"),
        ("GGA", "PE", "PS"),
        ("EDIFF", "1E-6", "1E-7"),
        ("SIGMA", "0.05", "0.0500001"),
        ("METAGGA", "SCAN", "R2SCAN"),
    ],
)
def test_two_values_are_two(tag, one, other):
    assert canonical(tag, one) != canonical(tag, other)


def test_repetitions_may_be_nested_and_must_be_whole():
    assert written_out("3*2*0 1") == ["0"] * 6 + ["1"]
    with pytest.raises(ValueError, match="repetitions"):
        written_out("1.5*2")


numbers = st.one_of(
    st.integers(-9999, 9999).map(float),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: float(f"{x:.8g}")),
)
spellings = st.sampled_from(["{:g}", "{:.10E}", "{:.10f}"])


@st.composite
def spelt(draw):
    """A number as some user may write it."""
    text = draw(spellings).format(draw(numbers))
    return text.replace("E", "D") if draw(st.booleans()) else text


@given(
    energy=spelt(), width=spelt(), moments=st.lists(spelt(), min_size=1, max_size=6), times=st.integers(1, 4)
)
def test_pymatgen_reads_the_numbers_that_the_user_wrote(energy, width, moments, times):
    def value(word):
        return float(word.replace("D", "E"))

    text = f"EDIFF = {energy}\nSIGMA = {width}\nMAGMOM = {' '.join(f'{times}*{m}' for m in moments)}\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = PymatgenIncar.from_str(str(Incar.parse(text)))
    assert seen["EDIFF"] == pytest.approx(value(energy), rel=1e-9)
    assert seen["SIGMA"] == pytest.approx(value(width), rel=1e-9)
    wanted = [value(moment) for moment in moments for _ in range(times)]
    assert seen["MAGMOM"] == pytest.approx(wanted, rel=1e-9)


@given(numbers)
def test_plain_numbers_have_no_power_of_ten_and_lose_no_digit(number):
    assert float(plain(number)) == number
    assert "E" not in plain(number).upper()


def test_rewriting_by_pymatgen_changes_no_value():
    text = "ENCUT=5.2D2; LREAL=Auto; GGA=PE; LDAUU=4.0 1d-1; PREC=Accurate; LHFCALC=.F.; SIGMA=.05"
    incar = Incar.parse(text)
    rewritten = Incar.parse(str(PymatgenIncar.from_str(str(incar))))
    assert {tag: canonical(tag, value) for tag, value in rewritten.values.items()} == {
        tag: canonical(tag, value) for tag, value in incar.values.items()
    }
