"""REPORT tells how each SCF ended, also while it is being written."""

import pytest

from alpw.codes.pwmat.etot import Etot
from alpw.codes.pwmat.report import last_steps, read_report

# Lines as in the published example of a REPORT, shortened.
STEP = """\
 iter=  14   ave_lin=  3.0  iCGmth=   3
 dv_ave, drho_tot     = 0.3067E-02 0.8951E-03
 E_tot(eV)            = -.42414781153833E+03    -.9451E-03
 -------------------------------------------
 iter=  15   ave_lin=  2.0  iCGmth=   3
 Ef(eV)               = -.8929198E+01
 err of ug            = 0.4659E-05
 dv_ave, drho_tot     = 0.2067E-02 {drho}
 E_tot(eV)            = -.42414782603833E+03    {change}
 -------------------------------------------
 E_Fermi(eV)=  -8.92919844328228
 ending_scf_reason = {reason}
 Ewald        = -.91926174294322E+02
 E_tot(eV)    = {energy}    {change}
 E_tot(Ryd)   = -.31174290477272E+02    -.5332E-06
"""
HEAD = """\
          1           1
 PRECISION  = AUTO
 IN.PSP1   = O.SG15.PBE.UPF
 E_ERROR   =   1.632683161200000E-005
 RHO_ERROR =   5.000000000000000E-005
 *********** end of etot.input report ********
 total number of K-point:           4
"""
END = "  total computation time (sec)=          35\n"
GOOD = {"reason": "tol Etot_err  1.632683161200000E-005", "change": "-.1451E-04", "drho": "0.5951E-03"}
BAD = {"reason": "niter reached", "change": "-.5151E-03", "drho": "0.5951E-03"}


@pytest.fixture
def report(tmp_path):
    def write(text):
        (tmp_path / "REPORT").write_text(text)
        return read_report(tmp_path)

    return write


def step(energy="-.42414782603833E+03", **words):
    return STEP.format(energy=energy, **words)


def test_reason_energy_and_last_changes_of_every_scf_are_read(report):
    found = report(HEAD + step(**GOOD) + step(energy="-.42514782603833D+03", **BAD) + END)
    assert found.ended and found.settings["E_ERROR"] == "1.632683161200000E-005"
    first, second = found.steps
    assert first.by_tolerance and first.energy == pytest.approx(-424.14782603833)
    assert first.energy_change == pytest.approx(-1.451e-5) and first.density_change == pytest.approx(5.951e-4)
    assert not second.by_tolerance and second.energy == pytest.approx(-425.14782603833)
    assert found.converged(Etot("1 1\n")) == [True, False]


@pytest.mark.parametrize(
    ("change", "drho", "converged"),
    [
        ("-.1451E-04", "0.5951E-03", True),  # the energy is within E_ERROR
        ("-.5151E-03", "0.3951E-04", True),  # the density is within RHO_ERROR
        ("-.5151E-03", "0.5951E-03", False),
        ("NaN", "NaN", False),
        ("*********", "0.5951E-03", False),
    ],
)
def test_niter_reached_within_a_tolerance_is_converged(report, change, drho, converged):
    found = report(HEAD + step(reason="niter reached", change=change, drho=drho) + END)
    assert found.converged(Etot("1 1\n")) == [converged]


def test_a_tolerance_of_zero_is_switched_off(report):
    found = report(step(reason="niter reached", change="0.0000E+00", drho="0.5951E-03") + END)
    assert found.converged(Etot("1 1\nE_ERROR = 0\nRHO_ERROR = 1e-5\n")) == [False]


def test_a_report_that_is_being_written_gives_the_scfs_that_have_ended(report, tmp_path):
    text = HEAD + step(**GOOD) * 3 + step(**BAD)
    found = report(text[: text.rindex(" ending_scf_reason")])
    assert len(found.steps) == 3 and not found.ended


def test_the_end_of_a_long_report_is_enough_for_a_monitor(report, tmp_path):
    report(HEAD + step(**GOOD) * 200 + step(**BAD) * 3)
    found = last_steps(tmp_path, size=6000)
    assert 4 <= len(found.steps) < 20
    assert found.converged(Etot("1 1\n"))[-4:] == [True, False, False, False]


def test_no_report_is_an_empty_one(tmp_path):
    assert read_report(tmp_path).steps == () and not read_report(tmp_path).ended
