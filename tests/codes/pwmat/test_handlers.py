"""What PWmat says before it stops, and what the SCF ladder writes."""

import pytest

from alpw.codes.failures import match
from alpw.codes.pwmat.etot import Etot
from alpw.codes.pwmat.handlers import PATTERNS, raise_steps
from alpw.codes.pwmat.report import Report
from alpw.errors import FailureKind


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("CUDA MEMORY INSUFFICENT", FailureKind.MEMORY),  # spelt as in PWmat's manual
        ("CUDA error: out of memory", FailureKind.MEMORY),
        ("Si.SG15.PBE.UPF not exist!", FailureKind.INPUT),
        ('In "etot.input", JOB should be SCF/NONSCF/MD/RELAX/NEB/DOS', FailureKind.INPUT),
        ("The atomic number from pseudopotential is different from atom.config", FailureKind.INPUT),
        ("In reading IN.PSP2: no such item", FailureKind.INPUT),
        ("ACCURACY  is set to a wrong value.", FailureKind.INPUT),
        ("equivalent atom not found under symm op, stop", FailureKind.INPUT),
        ("the first line in etot.input should be 'num_nodes_b, num_group_k'", FailureKind.INPUT),
        ("forrtl: severe (174): SIGSEGV, segmentation fault occurred", FailureKind.NODE),
        ("PWmat: license check failed", FailureKind.LICENCE),
    ],
)
def test_the_last_words_of_pwmat_have_a_kind(words, kind):
    found = match(f"some output\n {words}\n", PATTERNS)
    assert found is not None and found[0].kind is kind


def test_words_that_say_nothing_have_none():
    assert match(" iter=  7   ave_lin=  4.0\n total computation\n", PATTERNS) is None


@pytest.mark.parametrize(
    ("lines", "change"),
    [
        (
            "",
            {
                "SCF_ITER0_1": "6 4 3 0.0 0.025 1",
                "SCF_ITER0_2": "200 4 3 1.0 0.025 1",
                "SCF_ITER1_1": "100 4 3 1.0 0.025 1",
            },
        ),
        (
            "SCF_ITER0_1 = 10 4 3 0.0 0.1 2\nSCF_ITER0_2 = 300,5,3,1.05,0.1,2",
            {"SCF_ITER0_2": "300 5 3 1.05 0.1 2", "SCF_ITER1_1": "100 4 3 1.0 0.1 2"},
        ),
        ("MAX_SCF_ITER = 60", {"MAX_SCF_ITER": "200"}),
        ("MAX_SCF_ITER = 400", {"MAX_SCF_ITER": "400"}),
    ],
)
def test_more_steps_bring_no_other_smearing(lines, change):
    assert raise_steps(Etot(f"1 1\n{lines}\n"), Report(), 200, 100) == change


def test_lines_that_pwmat_echoes_are_those_that_it_uses():
    report = Report(settings={"SCF_ITER0_2": "94 4 3 1.0 0.2 2", "SCF_ITER0_1": "6 4 3 0.0 0.2 2"})
    assert raise_steps(Etot("1 1\n"), report, 200, 100)["SCF_ITER0_2"] == "200 4 3 1.0 0.2 2"
