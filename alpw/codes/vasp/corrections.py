"""Which setting of VASP may repair what.

A label may be reached on another way (mixing, algorithm, more steps, parallel layout), but its definition
(basis, k-points, occupations, symmetry, functional, geometry) stays the user's. Ionic motion is a matter of
its own: it does not change energy and forces of a given geometry, so it is no part of the level of theory;
but it decides what a relaxation or AIMD is.

Sources: the VASP wiki's pages of the tags, https://www.vasp.at/wiki.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from alpw.codes.corrections import Effect, Rule, Rules
from alpw.codes.vasp.incar import Incar, canonical
from alpw.errors import InputError

_MIXING = "mixing of the charge density on the way to self-consistency"
_PARALLEL = "distribution of the work over ranks"
_START = "where the self-consistency loop begins"
_STEPS = "number of electronic steps; convergence is judged by itself"
_OUTPUT = "what is written"
_ALGORITHM = "way of minimising the electronic energy; the minimum is the same"
_BANDS = "empty bands above the occupied ones; VASP itself rounds their number up to that of the cores"

_NUMERICAL: dict[str, str] = {
    "ALGO": _ALGORITHM,
    "IALGO": _ALGORITHM,
    "ISEARCH": "line search of ALGO = All",
    "TIME": "step length of ALGO = All and Damped",
    "LDIAG": _ALGORITHM,
    "LSUBROT": _ALGORITHM,
    "WEIMIN": "when empty bands are left alone within a step",
    "EBREAK": "how far one band is optimised within a step",
    "DEPER": "how far one band is optimised within a step",
    "NRMM": "how far one band is optimised within a step",
    "NELM": _STEPS,
    "NELMIN": _STEPS,
    "NELMDL": _STEPS,
    "NELMGW": _STEPS,
    "AMIX": _MIXING,
    "BMIX": _MIXING,
    "AMIX_MAG": _MIXING,
    "BMIX_MAG": _MIXING,
    "AMIN": _MIXING,
    "IMIX": _MIXING,
    "INIMIX": _MIXING,
    "MAXMIX": _MIXING,
    "MIXPRE": _MIXING,
    "WC": _MIXING,
    "LMAXMIX": "one-centre densities that are mixed, and stored in CHGCAR",
    "ISTART": _START,
    "ICHARG": _START,
    "INIWAV": _START,
    "NBANDS": _BANDS,
    "NSIM": "bands treated at a time",
    "NBLK": "blocking of linear algebra",
    "KPAR": _PARALLEL,
    "NCORE": _PARALLEL,
    "NPAR": _PARALLEL,
    "NCORE_IN_IMAGE1": _PARALLEL,
    "LPLANE": _PARALLEL,
    "LSCALAPACK": _PARALLEL,
    "LSCALU": _PARALLEL,
    "LSCAAWARE": _PARALLEL,
    "LASYNC": _PARALLEL,
    "MAXMEM": "memory that VASP allows itself",
    "LVTOT": _OUTPUT,
    "LVHAR": _OUTPUT,
    "LWAVE": _OUTPUT,
    "LCHARG": _OUTPUT,
    "LAECHG": _OUTPUT,
    "LELF": _OUTPUT,
    "LORBIT": _OUTPUT,
    "RWIGS": "spheres of the projections that are written",
    "LH5": _OUTPUT,
    "NWRITE": _OUTPUT,
    "NBLOCK": _OUTPUT,
    "KBLOCK": _OUTPUT,
    "NEDOS": _OUTPUT,
    "EMIN": _OUTPUT,
    "EMAX": _OUTPUT,
    "NPACO": _OUTPUT,
    "APACO": _OUTPUT,
    "SYSTEM": "title",
}

_CUTOFF = "basis set"
_GRID = "real-space grid"
_KPOINTS = "sampling of the Brillouin zone"
_OCCUPATIONS = "occupation of the bands"
_SYMMETRY = "symmetry imposed on density and forces"
_PROJECTION = "accuracy of the projections on the atoms"
_FUNCTIONAL = "exchange and correlation"
_SPIN = "magnetic state"

_PHYSICS: dict[str, str] = {
    "ENCUT": _CUTOFF,
    "ENINI": _CUTOFF,
    "ENAUG": _CUTOFF,
    "PREC": "basis set and grids",
    "ADDGRID": _GRID,
    "NGX": _GRID,
    "NGY": _GRID,
    "NGZ": _GRID,
    "NGXF": _GRID,
    "NGYF": _GRID,
    "NGZF": _GRID,
    "EDIFF": "how well energy and forces are known",
    "ISMEAR": _OCCUPATIONS,
    "SIGMA": _OCCUPATIONS,
    "FERWE": _OCCUPATIONS,
    "FERDO": _OCCUPATIONS,
    "EFERMI": _OCCUPATIONS,
    "NELECT": "charge of the cell",
    "NUPDOWN": _SPIN,
    "ISPIN": _SPIN,
    "MAGMOM": _SPIN,
    "LSORBIT": _SPIN,
    "LNONCOLLINEAR": _SPIN,
    "SAXIS": _SPIN,
    "ISYM": _SYMMETRY,
    "SYMPREC": _SYMMETRY,
    "LREAL": _PROJECTION,
    "ROPT": _PROJECTION,
    "LMAXPAW": _PROJECTION,
    "LASPH": _PROJECTION,
    "LPEAD": "derivatives by finite differences",
    "KSPACING": _KPOINTS,
    "KGAMMA": _KPOINTS,
    "GGA": _FUNCTIONAL,
    "METAGGA": _FUNCTIONAL,
    "GGA_COMPAT": _FUNCTIONAL,
    "VOSKOWN": _FUNCTIONAL,
    "LHFCALC": _FUNCTIONAL,
    "HFSCREEN": _FUNCTIONAL,
    "AEXX": _FUNCTIONAL,
    "PRECFOCK": _FUNCTIONAL,
    "LUSE_VDW": _FUNCTIONAL,
    "IVDW": _FUNCTIONAL,
    "LDAU": "on-site repulsion",
    "LDAUTYPE": "on-site repulsion",
    "LDAUL": "on-site repulsion",
    "LDAUU": "on-site repulsion",
    "LDAUJ": "on-site repulsion",
    "IDIPOL": "dipole correction",
    "LDIPOL": "dipole correction",
    "DIPOL": "dipole correction",
    "EPSILON": "dipole correction",
}

_ROUTE = "way to the relaxed geometry, which is judged by its forces"
_ENSEMBLE = "ensemble and time step of the dynamics"
_GOAL = "what a relaxation or AIMD is asked for"

_RELAXATION: dict[str, str] = {
    "IBRION": _ROUTE,
    "POTIM": _ROUTE,
    "NFREE": _ROUTE,
    "IOPT": _ROUTE,
    "SMASS": _ROUTE,
    "NSW": "number of ionic steps",
}

_MOTION: dict[str, str] = {
    "ISIF": _GOAL,
    "EDIFFG": _GOAL,
    "PSTRESS": "pressure of the cell's motion; it adds to no stress that is reported",
    "IWAVPR": "how orbitals are carried from one ionic step to the next",
    "TEBEG": _ENSEMBLE,
    "TEEND": _ENSEMBLE,
    "MDALGO": _ENSEMBLE,
    "LANGEVIN_GAMMA": _ENSEMBLE,
    "LANGEVIN_GAMMA_L": _ENSEMBLE,
    "PMASS": _ENSEMBLE,
    "ANDERSEN_PROB": _ENSEMBLE,
    "NHC_NCHAINS": _ENSEMBLE,
    "NHC_PERIOD": _ENSEMBLE,
    "NHC_NRESPA": _ENSEMBLE,
    "NHC_NS": _ENSEMBLE,
    "CSVR_PERIOD": _ENSEMBLE,
    "TSUBSYS": _ENSEMBLE,
    "NSUBSYS": _ENSEMBLE,
    "PSUBSYS": _ENSEMBLE,
    "RANDOM_SEED": _ENSEMBLE,
    "LBLUEOUT": _OUTPUT,
}

MOTION: frozenset[str] = frozenset({*_RELAXATION, *_MOTION})
"""INCAR tags of ionic motion. A label, a relaxation and AIMD at one level of theory differ in them only."""

NO_GROUND_STATE = " (not self-consistent)"
"""Ends the name of ICHARG, ALGO and IALGO where their value gives no self-consistent ground state."""

RULES: Rules = {
    **{f"INCAR/{tag}": Rule(Effect.NUMERICAL, reason) for tag, reason in _NUMERICAL.items()},
    **{f"INCAR/{tag}": Rule(Effect.PHYSICS, reason) for tag, reason in _PHYSICS.items()},
    **{
        f"INCAR/{tag}": Rule(Effect.PHYSICS, reason, harmless_in=("relax",), never_in=("aimd",))
        for tag, reason in _RELAXATION.items()
    },
    **{
        f"INCAR/{tag}": Rule(Effect.PHYSICS, reason, never_in=("relax", "aimd"))
        for tag, reason in _MOTION.items()
    },
    **{
        f"INCAR/{tag}{NO_GROUND_STATE}": Rule(
            Effect.PHYSICS, "no self-consistent ground state", never_in=("relax", "aimd")
        )
        for tag in ("ICHARG", "ALGO", "IALGO")
    },
    "KPOINTS": Rule(Effect.PHYSICS, _KPOINTS),
    "POTCAR": Rule(Effect.PHYSICS, "pseudopotentials", never_in=("relax", "aimd")),
    "POSCAR": Rule(
        Effect.PHYSICS,
        "geometry",
        harmless_in=("relax",),
        never_in=("aimd",),
    ),
}

_SELF_CONSISTENT_ALGO = re.compile(r"(?!NONE|NOTHING|CHI|CRPA|ACFDT)[NVFACDO]")
_SELF_CONSISTENT_IALGO = frozenset({"8", "38", "44", "46", "48", "53", "54", "58", "68"})


def settings_of_inputs(directory: Path) -> dict[str, str]:
    """Every setting in VASP's input files, for comparing before and after a correction.

    ICHARG, ALGO and IALGO appear under another name where their value would not lead to the self-consistent
    ground state: changing to or from it is a change of physics.

    Returns:
        ``"INCAR/ALGO": "NORMAL"`` with values independent of their spelling, ``"KPOINTS"`` and ``"POSCAR"``
        as text, ``"POTCAR"`` as SHA-256.
    """
    found = {}
    try:
        incar = Incar.read(directory / "INCAR")
    except InputError as error:
        # Whatever this is, a correction that leads to it or away from it is not one that is understood.
        found["INCAR"] = str(error)
        incar = Incar()
    for tag, value in incar.values.items():
        text = canonical(tag, value)
        found[f"INCAR/{tag}{'' if _self_consistent(tag, text) else NO_GROUND_STATE}"] = text
    for name in ("KPOINTS", "POSCAR"):
        if (path := directory / name).is_file():
            found[name] = path.read_text(errors="replace")
    if (potcar := directory / "POTCAR").is_file():
        found["POTCAR"] = hashlib.sha256(potcar.read_bytes()).hexdigest()
    return found


def _self_consistent(tag: str, value: str) -> bool:
    if tag == "ICHARG":
        return value in {"0", "1", "2", "4"}
    if tag == "ALGO":
        return _SELF_CONSISTENT_ALGO.match(value) is not None
    return tag != "IALGO" or value in _SELF_CONSISTENT_IALGO
