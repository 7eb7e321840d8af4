"""Which tags an INCAR may hold, and of which type their values are.

VASP ignores a tag that it does not know without a word, so that a misspelt ``ENCTU`` gives labels at the
default cutoff. pymatgen's table of tags is the base; what the manual of VASP 6 names beyond it, and what
common patches add (transition states, implicit solvents), stands here.
"""

from __future__ import annotations

import difflib
import functools
import json
from importlib import resources

FAMILIES = (
    "BSE",
    "CUTOFF_",
    "ELPH_",
    "FBIAS_",
    "FMP_",
    "HILLS_",
    "IFC_",
    "IRC_",
    "KERNEL_TRUNCATION/",
    "LIBMBD_",
    "LIBXC",
    "LPHON_",
    "ML_",
    "MSDGW_",
    "NHC_",
    "PHELEL_",
    "PHON_",
    "PLUGINS/",
    "SPRING_",
    "TRANSPORT_",
    "VDW_",
    "WANNIER90_",
    "WRT_",
    "XC1_",
    "XC2_",
)
"""First letters of groups of tags that grow from version to version."""

_VASP_6 = """
ALDAX ALPHA_VDW AMGGAC AMGGAX BANDGAP BEXT BEXX BPARAM CH_AMPLIFICATION CHECKPOINT_FD CMBJE CPARAM
CSVR_PERIOD DAMP_NEWTON DEG_THRESHOLD DFTD4_MODEL DFTD4_XC DMFT_BASIS EFERMI EFERMI_NEDOS EFOR ENCUTLR
ESF_CONV ESF_NINTER ESF_SPLINES ESTOP EWALD_CUTOFF FFT FOCKCORR GAMMA_VDW HFALPHA IALL_IN_ONE IBSE INMRPRINT
INTERACTIVE IRESTART ISEARCH IVDW_NL K_MULTIPLY KPOINTS_OPT_MODE KPOINTS_OPT_NKBATCH KSPACING_OPT
LALL_IN_ONE LANCZOSTHR LCHARGH5 LDISENTANGLED LDMATRIX LFINITE_TEMPERATURE LFOCKACE LFOCKSTD LH5
LKPOINTS_OPT LKPOINTS_WAN LMP2LT LNMRCAR LNMRLEG LNMRSHIELD LNOAUGXC LOCALIZED_BASIS LPARDH5 LPOSNICS
LSCALER0 LSCDM LSCK LSCRPA LSFBXC LSMP2LT LSOSHIFT LSPIN_VDW LSYNCH5 LTAU LTBOUNDLIBXC LTEMPER LTMP2 LTSSURF
LTWO_CENTER LUSENCCL LVACPOTAV LVDW LVDW_ONECELL LVDWSCS LVGVAPPL LVGVCALC LWAP LWAVEH5 LWEIGHTED LWRITE_SPN
LWRT_AUGMENTED_DENSITY LZORA MAXDIS MREMOVE NATURALO NBANDS_WAVE NBANDSEXACT NBLOCK_FOCK NBSEBLOCKO NBSEBLOCKV
NCORE_IN_IMAGE1 NCORES_PER_BAND NCSHMEM NELMGW NICS NMIN NMRCURBX NMRCURBY NMRCURBZ NOMEGA_DUMP NREBOOT NRMM
NSTORB NTEMPER NUM_WANN POSNICS RANDOM_GENERATOR RSMBJ SCALEE SCISSOR SDFTD3_DAMPING SDFTD3_XC SHAKETOLSOFT
SMBJ SOCSCALE STOP_ON TILAMBDA TURBO VCA VCAIMAGES VACPOTFLAT WPLASMAI XC XC_C
"""

_PATCHES = """
DFNMAX DFNMIN DROTMAX FALPHA FDSTEP FNMIN FTIMEDEC FTIMEINC FTIMEMAX ICHAIN ILBFGSMEM INVCURV IOPT JACOBIAN
LAUTOSCALE LCLIMB LDNEB LGLOBAL LLINEOPT LNEBCELL LTANGENTOLD MAXMOVE SDALPHA TIMESTEP EB_K LAMBDA_D_K
LNLDIEL LNLION LRHOB LRHOION NC_K R_ION R_SOLV SIGMA_K TAU
"""


@functools.lru_cache(maxsize=1)
def types() -> dict[str, str]:
    """Tags that pymatgen knows, with their types: ``bool``, ``int``, ``float``, ``str``, ``list``, ..."""
    text = resources.files("pymatgen.io.vasp").joinpath("incar_parameters.json").read_text(encoding="utf-8")
    return {tag: str(entry.get("type")) for tag, entry in json.loads(text).items()}


@functools.lru_cache(maxsize=1)
def names() -> frozenset[str]:
    """Every tag known here by its whole name."""
    return frozenset(types()) | frozenset(_VASP_6.split()) | frozenset(_PATCHES.split())


def is_known(tag: str) -> bool:
    """Whether an INCAR may hold this tag, given in upper case."""
    return tag in names() or tag.startswith(FAMILIES)


def nearest(tag: str) -> str | None:
    """The known tag that is spelt most like this one; None if none resembles it."""
    return next(iter(difflib.get_close_matches(tag, sorted(names()), 1, 0.6)), None)


def kind(tag: str) -> str:
    """Type of a tag's value; an unknown one is taken for free text."""
    return types().get(tag, "str")
