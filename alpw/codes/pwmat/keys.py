"""The keys of etot.input and the types of their values.

Collected from PWmat's public manual pages, the header that PWmat writes into REPORT (which is a valid
etot.input) and the published input writers. Keys are matched in any case.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple


class Kind(str, Enum):
    """What a value is; the word is the one in which an error speaks of it."""

    FLAG = "T or F"
    FLAG_OR_INTEGER = "T, F or an integer"
    INTEGER = "an integer"
    FLOAT = "a number"
    INTEGERS = "integers"
    FLOATS = "numbers"
    TEXT = "text"


class Shape(NamedTuple):
    """Type of a value and how many words it has; a `FLAG` may be followed by whatever goes with it."""

    kind: Kind
    least: int = 1
    most: int = 1


_FLAGS = """
    CHARGE_DECOMP DFTD3_3BODY EGG_CORR ENERGY_DECOMP FIX_FERMI HSE_SAVE_CPU_MEMORY IN.A_FIELD IN.CC
    IN.EXT_FORCE IN.FORCE IN.HSEWR
    IN.IPROJ3_CC_2SPIN IN.KPT IN.LDAU IN.LDAU_NS IN.MDOPT IN.NONSCF IN.OCC IN.OCC_ADIA IN.OCC_T IN.RELAXOPT
    IN.RHO IN.RHO_ADD IN.SOLVENT IN.S_WKM IN.SYMM IN.TDDFTOPT IN.VEXT IN.VR IN.WANNIER IN.WG OUT.FORCE
    OUT.HSEWR OUT.LDAU_NS OUT.MLMD OUT.OCC OUT.RHO OUT.RHOATOM OUT.STRESS OUT.TDDFT OUT.VATOM OUT.VR
    OUT.VR_DELTA OUT.VR_HION OUT.WG PWSCF PWSCF_OUTPUT RMASK_LDAU SCF_SPECIAL USE_DFTB USE_GAUSSIAN
"""

_FLAGS_OR_INTEGERS = "NUM_BLOCKED_PSI WF_STORE2DISK"

_INTEGERS = """
    DFTD3_VERSION FLAG_CYLINDER FLAG_SYMM HSE_DN HSE_KPT_TREATMENT MAX_SCF_ITER MD_VV_SCALE
    MIN_SCF_ITER N123_METH NMAP_MAX NONLOCAL NSCALE_VVMD
    NUM_BAND NUM_DOS_GRID NUM_GPU NUM_KPT NUM_MPI_PER_GPU PULAY_MIX_OPT QIJL0_GS QIJ_PD RANDOM_SEED SBFFT SPIN
    SYS_TYPE WRITE2MEMORY
"""

_FLOATS = """
    CONSTRAINT_MAG DFTD3_ALPHA6 DFTD3_CUTOFF DFTD3_CUTOFF_CN DFTD3_RS18 DFTD3_RS6 DFTD3_S18 DFTD3_S6
    DOS_GAUSSIAN_BROADENING ECUT ECUT2 ECUT2L ECUTP E_ERROR FERMIDE FORCE_RELATIVE_ERROR HSE_ALPHA HSE_BETA
    HSE_OMEGA KERK_AMIN KERK_AMIX KERK_AMIX_MAG KERK_BMIX KERK_BMIX_MAG KSPACING LDAU_MIX LONDON_RCUT
    LONDON_S6 NET_CHARGE NUM_ELECTRON PULAY_WEIGHT_NS PULAY_WEIGHT_SPIN RCUT RHO_ERROR RHO_RELATIVE_ERROR
    SCF_OUT_FERMI_POS SMTH SOM_SPHERE_RCUT SPIN222_MAGDIR_STEPFIX SYMM_PREC TDDFT_STIME WG_ERROR W_CG W_SCF
"""

_TEXTS = """
    ACCURACY CONVERGE CONVERGENCE DIMER_DIR_N ENERGY_DECOMP_COULOMB ENERGY_DECOMP_SPECIAL HSE_DETAIL IN.ATOM
    IN.SKF JOB MD_INTERACT MD_SPECIAL MD_SPECIAL2
    MD_SPECIAL3 MD_SPECIAL4 MIX NAMD_DETAIL NAMD_SPECIAL NEB_DETAIL PRECISION PROJ3_DETAIL RELAX_HSE
    RELAX_HSEM RVV10_DETAIL SCFEP_DETAIL STRESS_CORR TDDFT_BOLTZMANN TDDFT_DETAIL TDDFT_NOB TDDFT_SPACE
    TDDFT_TIME VDW VFF_DETAIL XCFUNCTIONAL
"""

KEYS: dict[str, Shape] = {
    **{key: Shape(Kind.FLAG, 1, 20) for key in _FLAGS.split()},
    **{key: Shape(Kind.FLAG_OR_INTEGER) for key in _FLAGS_OR_INTEGERS.split()},
    **{key: Shape(Kind.INTEGER) for key in _INTEGERS.split()},
    **{key: Shape(Kind.FLOAT) for key in _FLOATS.split()},
    **{key: Shape(Kind.TEXT, 1, 40) for key in _TEXTS.split()},
    "ALGORITHM0": Shape(Kind.FLOATS, 3, 4),
    "ALGORITHM1": Shape(Kind.FLOATS, 3, 4),
    "ATOMIC_ORBITAL_IATOM_OUT": Shape(Kind.INTEGERS, 1, 2),
    "COULOMB": Shape(Kind.FLOATS, 1, 4),
    "DFTB_DETAIL": Shape(Kind.FLOATS, 1, 10),
    "DOS_DETAIL": Shape(Kind.INTEGERS, 1, 4),
    "E_FINITE": Shape(Kind.FLOATS, 1, 4),
    "EGG_DETAIL": Shape(Kind.INTEGERS, 3, 3),
    "MD_DETAIL": Shape(Kind.FLOATS, 4, 5),
    "MP_N123": Shape(Kind.INTEGERS, 3, 7),
    "N123": Shape(Kind.INTEGERS, 3, 3),
    "N123L": Shape(Kind.INTEGERS, 3, 3),
    "NQ123": Shape(Kind.INTEGERS, 3, 3),
    "NS123": Shape(Kind.INTEGERS, 3, 3),
    "NUM_ELECTRON_SPIN": Shape(Kind.FLOATS, 1, 2),
    "OUT.REAL.RHOWF_SP": Shape(Kind.INTEGERS, 1, 7),
    "OUT.RHO_SP": Shape(Kind.INTEGERS, 1, 7),
    "P123": Shape(Kind.INTEGERS, 3, 3),
    "RELAX_DETAIL": Shape(Kind.FLOATS, 3, 5),
    "SCF_ITER0": Shape(Kind.INTEGERS, 1, 2),
    "SCF_ITER1": Shape(Kind.INTEGERS, 1, 2),
}
"""Key -> shape of its value."""

NUMBERED: dict[str, Shape] = {
    "ENERGY_DECOMP_SPECIAL": Shape(Kind.TEXT, 1, 40),
    "IN.BASIS": Shape(Kind.TEXT, 1, 3),
    "IN.PSP": Shape(Kind.TEXT, 1, 3),
    "IN.PSP_RCUT": Shape(Kind.FLOAT),
    "HSEMASK_PSP": Shape(Kind.FLOATS, 1, 4),
    "IN.A_FIELD_LIST": Shape(Kind.TEXT, 1, 40),
    "LDAU_PSP": Shape(Kind.FLOATS, 1, 4),
    "LDAU_RCUT_PSP": Shape(Kind.FLOAT),
    "LONDON_C6": Shape(Kind.FLOAT),
    "SCF_ITER0_": Shape(Kind.FLOATS, 6, 6),
    "SCF_ITER1_": Shape(Kind.FLOATS, 6, 6),
}
"""Keys that end in a number, ``IN.PSP1`` or ``LONDON_C6(1)``, without it."""

_NUMBER = re.compile(r"(?:\d+|\(\d+\))$")


def shape_of(key: str) -> Shape | None:
    """The shape of a key in upper case; None for a key that PWmat does not know."""
    if key in KEYS:
        return KEYS[key]
    return NUMBERED.get(_NUMBER.sub("", key)) if _NUMBER.search(key) else None


def known_keys() -> list[str]:
    """All keys, those that end in a number with 1, for suggestions."""
    return [*KEYS, *(f"{key}1" for key in NUMBERED)]


def integer(word: str) -> int:
    """Raises `ValueError` unless the word is an integer."""
    return int(word)


def number(word: str) -> float:
    """A Fortran number, ``1.d-5`` included; raises `ValueError`."""
    return float(word.upper().replace("D", "E"))


def flag(word: str) -> bool:
    """A Fortran logical: T, F, .TRUE., false; raises `ValueError`."""
    name = word.strip(".").upper()
    if name not in {"T", "F", "TRUE", "FALSE"}:
        raise ValueError(f"{word} is neither T nor F")
    return name.startswith("T")


def flag_or_integer(word: str) -> int:
    """A switch that older versions of PWmat give as a number; raises `ValueError`."""
    return integer(word) if word.lstrip("+-").isdigit() else int(flag(word))


CONVERTERS = {
    Kind.FLAG: flag,
    Kind.FLAG_OR_INTEGER: flag_or_integer,
    Kind.INTEGER: integer,
    Kind.INTEGERS: integer,
    Kind.FLOAT: number,
    Kind.FLOATS: number,
}
