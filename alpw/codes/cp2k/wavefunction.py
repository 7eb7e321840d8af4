"""Start the SCF of a label from the orbitals of an earlier label of the same atoms.

That is numerical: the SCF runs until EPS_SCF as from atomic guesses. It is left out where there may be more
than one solution (spin polarisation), and with k-points, whose file CP2K cannot carry over to another cell.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from alpw.codes.cp2k.corrections import INPUT
from alpw.codes.cp2k.sections import Section, read

if TYPE_CHECKING:
    from alpw.config import Dft

WAVEFUNCTION = "run-RESTART.wfn"
START = "start.wfn"
_SPIN = ("UKS", "LSD", "SPIN_POLARIZED", "UNRESTRICTED_KOHN_SHAM", "ROKS")
_OFF = {"", "F", "FALSE", ".FALSE.", "OFF", "NO"}


def start_from(root: Section, directory: Path, dft: Dft, reuse: Path | None) -> list[str]:
    """Let the SCF start from the orbitals in folder ``reuse``, and leave its own for the next label.

    The default input writes them where they can be used; in the control file of a user they are what
    ``&SCF/&PRINT/&RESTART`` says. Returns the changes; none where the orbitals must not or cannot be used.
    """
    (directory / START).unlink(missing_ok=True)
    if not dft.reuse_wavefunctions or not _may_reuse(root):
        return []
    section = root.need("FORCE_EVAL/DFT")
    if dft.input is None:
        section.need("SCF/PRINT").remove("RESTART")
        section.need("SCF/PRINT").sections.append(Section("RESTART", "ON", [("BACKUP_COPIES", "0")]))
    if reuse is None or not (reuse / WAVEFUNCTION).is_file() or not _same_atoms(root, reuse):
        return []
    shutil.copyfile(reuse / WAVEFUNCTION, directory / START)
    section.set("WFN_RESTART_FILE_NAME", START, aliases=("RESTART_FILE_NAME",))
    section.need("SCF").set("SCF_GUESS", "RESTART")
    return [f"FORCE_EVAL/DFT/SCF/SCF_GUESS: RESTART, from the orbitals of {reuse.name}"]


def _may_reuse(root: Section) -> bool:
    section = root.need("FORCE_EVAL/DFT")
    polarised = any(
        section.values(name) and section.get(name, "T").strip(".").upper() not in _OFF - {""}
        for name in _SPIN
    )
    return section.find("KPOINTS") is None and not polarised


def _same_atoms(root: Section, folder: Path) -> bool:
    """Whether the earlier input holds the same elements in the same order, with the same kinds."""
    if not (folder / INPUT).is_file():
        return False
    earlier = read(folder / INPUT)
    symbols = [
        [name for name, _ in tree.need("FORCE_EVAL/SUBSYS/COORD").keywords] for tree in (root, earlier)
    ]
    kinds = [
        sorted(str(kind) for kind in tree.need("FORCE_EVAL/SUBSYS").all("KIND")) for tree in (root, earlier)
    ]
    return symbols[0] == symbols[1] and kinds[0] == kinds[1]
