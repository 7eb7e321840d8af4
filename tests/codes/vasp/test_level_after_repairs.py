"""custodian's own corrections of real folders: the level of theory that they keep or lose."""

import warnings
from pathlib import Path

import pytest
from ase.build import bulk
from custodian.vasp.handlers import VaspErrorHandler
from pymatgen.io.vasp import Incar

from alpw.codes.protocol import Task, settings_hash
from alpw.codes.vasp import inputs
from alpw.codes.vasp.theory import settings

BASE = "ENCUT = 300\nEDIFF = 1E-6\nALGO = Fast\nISMEAR = {ismear}\nSIGMA = 0.1\nLREAL = Auto\nNCORE = 2\n"
OUTCAR = """\
 vasp.6.4.2 20Jul23 (build Aug 01 2023 10:00:00) complex

 POTCAR:    PAW_PBE Si 05Jan2001
   VRHFIN =Si: none
   TITEL  = PAW_PBE Si 05Jan2001
   number of dos      NEDOS =    301   number of ions     NIONS =      8
   ions per type =               8
--------------------------------------- Iteration      1(   1)  ---------------------------------------
"""
KPOINTS = "mesh\n0\nMonkhorst\n2 2 2\n0 0 0\n"

NUMERICAL = {
    *("ALGO", "IALGO", "ISEARCH", "LDIAG", "TIME", "NELM", "NELMIN", "NELMDL", "NBANDS", "ICHARG", "ISTART"),
    *("AMIX", "BMIX", "AMIX_MAG", "BMIX_MAG", "AMIN", "IMIX", "MIXPRE", "MAXMIX", "WC"),
    *("NCORE", "NPAR", "KPAR", "NSIM", "LPLANE", "LSCALAPACK", "LSCALU", "LWAVE", "LCHARG"),
}
"""By VASP's manual, and not by the table that is tested here."""
MOTION = {"IBRION", "POTIM", "NSW", "ISIF", "EDIFFG", "NFREE"}
"""Leave energy and forces of a geometry alone."""


@pytest.fixture
def folder(tmp_path, user):
    def make(ismear, mesh):
        directory = tmp_path / "run"
        directory.mkdir(exist_ok=True)
        incar = BASE.format(ismear=ismear) + ("" if mesh else "KSPACING = 0.5\n")
        dft = user.dft(incar, ("Si",))
        if mesh:
            Path(dft.input).with_name("KPOINTS").write_text(KPOINTS)
        inputs.write_inputs(bulk("Si", cubic=True), directory, dft, Task.LABEL)
        (directory / "OUTCAR").write_text(OUTCAR)
        return directory

    return make


def decides(directory):
    """What decides energy and forces of the geometry, as pymatgen reads it."""
    incar = dict(Incar.from_file(directory / "INCAR"))
    kpoints = directory / "KPOINTS"
    mesh = kpoints.read_text().splitlines()[1:] if kpoints.is_file() else None
    return {tag: value for tag, value in incar.items() if tag not in NUMERICAL | MOTION}, mesh


def repaired(directory, handler):
    """Whether the folder kept what decides, and whether it kept its hash; None without a change."""
    before, level = decides(directory), settings_hash(settings(directory))
    text = (directory / "INCAR").read_text(), before[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            handler.correct(directory=str(directory))
        except Exception:  # noqa: BLE001 - custodian's corrections of some errors need files of a whole run
            return None
    after = decides(directory)
    if ((directory / "INCAR").read_text(), after[1]) == text:
        return None
    return before == after, level == settings_hash(settings(directory))


@pytest.mark.parametrize("mesh", [False, True], ids=["KSPACING", "KPOINTS"])
@pytest.mark.parametrize("ismear", [0, -5])
def test_the_hash_survives_custodians_numerical_repairs_and_no_other(folder, ismear, mesh):
    found = {}
    for name in sorted(VaspErrorHandler.error_msgs):
        handler = VaspErrorHandler()
        handler.errors = {name}
        directory = folder(ismear, mesh)
        for attempt in range(3):
            if (kept := repaired(directory, handler)) is not None:
                found[name, attempt] = kept
    wrong = {case: kept for case, kept in found.items() if kept[0] != kept[1]}
    assert wrong == {}
    assert sum(same for same, _ in found.values()) > 5 and sum(not same for same, _ in found.values()) > 5
