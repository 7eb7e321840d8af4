"""Header-only POTCARs, which hold nothing licensed, and a folder with the user's files."""

from types import SimpleNamespace

import pytest
from ase.data import atomic_masses, atomic_numbers

HEADER = """\
  {titel}
   4.00000000000000
 parameters from PSCTR are:
   VRHFIN ={element}: none
   LEXCH  = {functional}
   EATOM  =   100.0000 eV,    7.0000 Ry

   TITEL  = {titel}
   LULTRA =        F    use ultrasoft PP ?
   RPACOR =     .000    partial core radius
   POMASS = {mass:8.3f}; ZVAL   =    4.000    mass and valenz
   RWIGS  =    2.480; RWIGS  =    1.312    wigner-seitz radius (au A)
   ENMAX  = {enmax:8.3f}; ENMIN  =  180.000 eV
   LPAW   =        T    paw PP
   RMAX   =    2.900    core radius for proj-oper
   QCUT   =   -4.200; QGAM   =    8.400    optimization parameters
END of PSCTR-controll parameters
 local part
   0.0
 End of Dataset
"""


@pytest.fixture
def dataset():
    """Text of a dataset such as ``dataset("Si_pv")``."""

    def make(name, enmax=250.0, functional="PE", family="PAW_PBE"):
        element = name.split("_")[0].split(".")[0]
        return HEADER.format(
            titel=f"{family} {name} 05Jan2001",
            element=element,
            functional=functional,
            mass=atomic_masses[atomic_numbers[element]],
            enmax=enmax,
        )

    return make


@pytest.fixture
def user(tmp_path, make_dft, dataset):
    """The user's folder: ``user.dft(incar, elements, ...)`` writes an INCAR and POTCARs and names them."""
    folder = tmp_path / "user"
    folder.mkdir()
    cutoffs = {"O": 400.0, "Fe": 267.883, "C": 400.0}

    def dft(incar="ENCUT = 300", elements=("Si",), **settings):
        (folder / "INCAR").write_text(incar + "\n")
        files = [folder / f"POTCAR_{element}" for element in elements]
        for element, file in zip(elements, files, strict=True):
            file.write_text(dataset(element, cutoffs.get(element, 250.0)))
        given = {"input": folder / "INCAR", "pseudo": files, "elements": list(elements), **settings}
        return make_dft(dft_style="vasp", **given)

    return SimpleNamespace(folder=folder, dft=dft)
