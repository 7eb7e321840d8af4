"""POTCAR files that hold a header and no pseudopotential: nothing in them is licensed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ase.data import atomic_masses, atomic_numbers
from potentials import valence

from vasp.fortran import read_real
from vasp.inputs import InputFailure

FAMILIES = ("POT_GGA_PAW_PBE", "POT_PAW_PBE_52", "POT_PAW_PBE_54", "POT_PAW_PBE_64")
"""Folders in which pymatgen looks for the functionals PBE, PBE_52, PBE_54 and PBE_64."""

HEADER = """\
  PAW_PBE {label} 01Jan2000
   {valence:.8f}
 parameters from PSCTR are:
   VRHFIN ={element}: none
   LEXCH  = PE
   EATOM  =   100.0000 eV,    7.0000 Ry

   TITEL  = PAW_PBE {label} 01Jan2000
   LULTRA =        F    use ultrasoft PP ?
   IUNSCR =        1    unscreen: 0-lin 1-nonlin 2-no
   RPACOR =     .000    partial core radius
   POMASS = {mass:8.3f}; ZVAL   = {valence:8.3f}    mass and valenz
   RCORE  =    1.900    outmost cutoff radius
   RWIGS  =    2.480; RWIGS  =    1.312    wigner-seitz radius (au A)
   ENMAX  = {cutoff:8.3f}; ENMIN  =  183.000 eV
   RCLOC  =    1.500    cutoff for local pot
   LCOR   =        T    correct aug charges
   LPAW   =        T    paw PP
   EAUG   =  300.000
   RMAX   =    2.900    core radius for proj-oper
   RAUG   =    1.300    factor for augmentation sphere
   RDEP   =    2.000    radius for radial grids
   QCUT   =   -4.200; QGAM   =    8.400    optimization parameters

   Description
     l       E      TYP  RCUT    TYP  RCUT
     0  0.000  23  1.900
   Error from kinetic energy argument (eV)
END of PSCTR-controll parameters
 local part
   0.0
 End of Dataset
"""


@dataclass(frozen=True)
class Potential:
    """One entry of POTCAR: its title, element, mass (u), valence electrons and default cutoff (eV)."""

    title: str
    element: str
    mass: float
    valence: float
    cutoff: float


def potcar(labels: list[str]) -> str:
    """Text of a header-only POTCAR for labels such as ``Si`` or ``Na_pv``."""
    text = ""
    for label in labels:
        element = label.split("_")[0]
        cutoff = 245.0 + 55.0 * (atomic_numbers[element] < 11)  # first-row elements need more plane waves
        mass = atomic_masses[atomic_numbers[element]]
        text += HEADER.format(
            label=label, element=element, mass=mass, valence=valence(element), cutoff=cutoff
        )
    return text


def write_psp_dir(folder: Path, labels: list[str]) -> Path:
    """Build a tree for pymatgen's ``PMG_VASP_PSP_DIR`` with header-only POTCARs of some labels."""
    for family in FAMILIES:
        (folder / family).mkdir(parents=True, exist_ok=True)
        for label in labels:
            (folder / family / f"POTCAR.{label}").write_text(potcar([label]))
    return folder


def read_potcar(path: Path) -> list[Potential]:
    """The entries of POTCAR, in its order."""
    if not path.is_file():
        raise InputFailure(error=f"forrtl: severe (29): file not found, unit 10, file {path.name}", code=29)
    found: list[Potential] = []
    title, mass, electrons, cutoff = "", 0.0, 0.0, 250.0
    for line in path.read_text(errors="replace").splitlines():
        if "TITEL" in line:
            title = line.partition("=")[2].strip()
        elif "POMASS" in line and "ZVAL" in line:
            mass = read_real(line.split("POMASS =")[1].split(";")[0].strip())
            electrons = read_real(line.split("ZVAL   =")[1].split()[0])
        elif "ENMAX" in line:
            cutoff = read_real(line.split("ENMAX  =")[1].split(";")[0].strip())
        elif "End of Dataset" in line:
            words = title.split()
            if len(words) < 2 or not mass:
                break
            found.append(Potential(title, words[1].split("_")[0], mass, electrons, cutoff))
            title, mass = "", 0.0
    if not found:
        raise InputFailure(
            error=f"forrtl: severe (24): end-of-file during read, unit 10, file {path.name}", code=24
        )
    return found
