"""etot.input is read as PWmat reads it, checked, and written back with the user's lines as they are."""

import pytest

from alpw.codes.pwmat.etot import Etot, read_etot
from alpw.errors import InputError

TEXT = """\
4  2
 job  =  scf      # a comment
 IN.ATOM=atom.config

! another one
 Ecut = 60.d0
 MP_N123 = 2,2, 2 0 0 0 3
 scf_iter0_1 = 6 4 3 0.0 0.025 2
 OUT.WG = .FALSE.   !large
 ENERGY_DECOMP = T, 1
"""


def test_keys_are_found_in_any_case_and_values_without_their_comment():
    etot = Etot(TEXT)
    assert etot.nodes == (4, 2)
    assert list(etot) == ["JOB", "IN.ATOM", "ECUT", "MP_N123", "SCF_ITER0_1", "OUT.WG", "ENERGY_DECOMP"]
    assert etot.get("job") == "scf" and etot.numbers("ecut") == [60.0]
    assert etot.words("mp_n123") == ["2", "2", "2", "0", "0", "0", "3"]
    assert etot.flag("OUT.WG") is False and etot.flag("ENERGY_DECOMP") is True and etot.flag("OUT.RHO", True)


def test_lines_that_are_not_touched_stay_as_they_are():
    etot = Etot(TEXT)
    assert str(etot) == TEXT
    changes = etot.set("JOB", "MD") + etot.set("out.mlmd", "T") + etot.set("ECUT", "60.d0")
    assert changes == ["JOB: scf -> MD", "OUT.MLMD: none -> T"]
    expected = TEXT.replace(" job  =  scf      # a comment", "JOB = MD   # a comment") + "OUT.MLMD = T\n"
    assert str(etot) == expected
    assert str(Etot(str(etot))) == expected


def test_a_key_that_is_taken_out_leaves_the_others_in_their_places():
    etot = Etot(TEXT)
    etot.remove("ECUT")
    etot.set("OUT.WG", "T")
    assert "ECUT" not in etot
    assert str(etot) == TEXT.replace(" Ecut = 60.d0\n", "").replace(
        " OUT.WG = .FALSE.   !large", "OUT.WG = T   !large"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ECUTT = 50", ["line 2", "ECUTT", "did you mean ECUT"]),
        ("SCF_ITERO_1 = 6 4 3 0 0.025 1", ["did you mean SCF_ITER"]),
        ("RELAX_DETAILS = 1 100 0.01", ["did you mean RELAX_DETAIL?"]),
        ("ECUT = fifty", ["line 2", "ECUT = fifty", "a number wanted, 'fifty' found"]),
        ("SPIN = 2.5", ["SPIN", "an integer wanted"]),
        ("OUT.WG = maybe", ["OUT.WG", "T or F wanted, 'maybe' found"]),
        ("MP_N123 = 2 2", ["MP_N123", "3 to 7 words wanted, found 2"]),
        ("MP_N123 = 2 2 2.5", ["MP_N123", "integers wanted"]),
        ("SCF_ITER0_2 = 94 4 3 1.0 0.025", ["SCF_ITER0_2", "6 words wanted, found 5"]),
        ("MD_DETAIL = 1 100", ["MD_DETAIL", "4 to 5 words"]),
        ("this is a comment", ["line 2", "is no 'KEY = VALUE'", "put #"]),
        ("Ecut = 50\necut = 60", ["line 3", "ECUT is given a second time; the first is on line 2"]),
        ("IN.PSP = Si.UPF", ["IN.PSP is no key of PWmat"]),
        ("ECUT =", ["1 word wanted, found 0"]),
    ],
)
def test_an_error_names_the_line_the_key_and_what_is_allowed(tmp_path, line, words):
    path = tmp_path / "etot.input"
    path.write_text(f"4 1\n{line}\n")
    with pytest.raises(InputError) as caught:
        read_etot(path)
    assert str(path) in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("first", ["", "JOB = SCF", "4", "0 1", "a b", "# 4 1"])
def test_the_first_line_must_be_the_node_grid(tmp_path, first):
    path = tmp_path / "etot.input"
    path.write_text(f"{first}\nECUT = 50\n")
    with pytest.raises(InputError, match=r"line|node grid"):
        read_etot(path)


@pytest.mark.parametrize(
    "line",
    [
        "IN.PSP12 = Si.UPF",
        "LDAU_PSP1 = 2 4.0",
        "LONDON_C6(1) = 3.0",
        "SCF_ITER1_3 = 40,4,3,1.05,0.025,1",
        "USE_GAUSSIAN = T 1.d-10 15.0 F F F 2 F 5 5",
        "NUM_BLOCKED_PSI = 2",
        "NUM_BLOCKED_PSI = T",
        "DFTB_DETAIL = 1, 1, 0, 500, 1e-5, 1, 1",
        "XCFUNCTIONAL = XC_GGA_X_PBE+XC_GGA_C_PBE",
        "CONVERGENCE = DIFFICULT",
        "KERK_AMIX_MAG = 0.4",
    ],
)
def test_real_lines_are_accepted(line):
    assert str(Etot(f"1 1\n{line}\n")) == f"1 1\n{line}\n"


def test_the_head_of_report_is_a_valid_input():
    """PWmat's manual recommends to copy it."""
    text = """           1           1
 PRECISION    = AUTO
 JOB          = SCF
 IN.PSP1   = Si.SG15.PBE.UPF
 IN.ATOM   = atom.config
 ECUT      =    50.0000000000000
 E_ERROR   =   2.176910000000000E-004
 NUM_KPT   =           4
 NUM_BLOCKED_PSI=            1
 WF_STORE2DISK  =            0
"""
    assert Etot(text).numbers("E_ERROR") == [2.17691e-4]
