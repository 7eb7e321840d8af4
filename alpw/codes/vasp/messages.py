"""What VASP says when something goes wrong, and which class of failure that is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from custodian.vasp.handlers import AliasingErrorHandler, StdErrHandler, VaspErrorHandler

from alpw.codes.failures import FailurePattern
from alpw.codes.handlers import tail
from alpw.codes.vasp.incar import Incar
from alpw.codes.vasp.jobs import OUTPUT
from alpw.errors import FailureKind, InputError

ERRORS_FILE = "job.err"
TAIL_BYTES = 200_000

_NO_FAILURES = frozenset({"auto_nbands", "elf_ncl"})
"""Remarks of VASP on a number of bands that it raises itself, and on a file that it does not write."""

MESSAGES: Mapping[str, list[str]] = {
    "kpoints_trans": StdErrHandler.error_msgs["kpoints_trans"],
    "aliasing_incar": AliasingErrorHandler.error_msgs["aliasing_incar"],
    **{name: words for name, words in VaspErrorHandler.error_msgs.items() if name not in _NO_FAILURES},
}
"""custodian's name of an error -> what VASP prints."""

WARNINGS = frozenset({"algo_tet", "amin", "eddrmm", "subspacematrix", "symprec_noise"})
"""Errors that VASP often survives: they explain a run that ended early, and mean nothing in any other."""

_SCF = """
algo_tet amin brmix edddav eddiag eddrmm grad_not_orth nbands_not_sufficient pdsyevx pssyevx subspacematrix
too_few_bands zheev
"""
_GEOMETRY = """
bravais brions fexcf hnform ibzkpt inv_rot_mat kpoints_trans ksymm nicht_konv point_group posmap pricel
pricelv rhosyg rot_matrix symprec_noise triple_product zbrent zpotrf
"""
_INPUT = """
aliasing_incar dentet dfpt_ncore elf_kpar incorrect_shift read_error real_optlay rspher set_core_wf
spin_polarized_harris tet tetirr
"""

KINDS: dict[str, FailureKind] = {
    **dict.fromkeys(_SCF.split(), FailureKind.SCF),
    **dict.fromkeys(_GEOMETRY.split(), FailureKind.GEOMETRY),
    **dict.fromkeys(_INPUT.split(), FailureKind.INPUT),
    "coef": FailureKind.NODE,
    "out_of_memory": FailureKind.MEMORY,
}
"""Class of failure by custodian's name of an error. Errors of symmetry count as geometry: it depends on the
structure whether they strike, and switching symmetry off is the user's decision."""

INPUT_PATTERNS = (
    FailurePattern(
        r"(?=.*\b(POTCAR|POSCAR|INCAR|KPOINTS)\b)"
        r".*(not found|does not exist|No such file|Error reading|missing).*",
        FailureKind.INPUT,
        False,
    ),
    FailurePattern(
        r".*(Error reading item|number of potentials on File POTCAR incompatible|"
        r"charge density could not be read|error while loading shared libraries|command not found|"
        r"Exec format error|Permission denied|I REFUSE TO CONTINUE).*",
        FailureKind.INPUT,
        False,
    ),
)


def said(directory: Path) -> str:
    """The last 200 kB of what VASP printed, and what it sent to standard error."""
    return tail(directory / OUTPUT, TAIL_BYTES) + "\n" + tail(directory / ERRORS_FILE)


def errors_in(directory: Path) -> list[str]:
    """Names of the errors that VASP reports, in custodian's order."""
    text = said(directory)
    found = [name for name, words in MESSAGES.items() if any(word in text for word in words)]
    if "brmix" in found and _is_charged(directory):
        # The density of a charged cell differs from that of its atoms by intention.
        found.remove("brmix")
    return found


def words_of(name: str, directory: Path) -> str:
    """The line in which VASP reports an error."""
    lines = said(directory).splitlines()
    return next((" ".join(line.split()) for line in lines if any(w in line for w in MESSAGES[name])), name)


def _is_charged(directory: Path) -> bool:
    try:
        return "NELECT" in Incar.read(directory / "INCAR")
    except InputError:
        return False
