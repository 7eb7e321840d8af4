"""Failures on request.

A list in JSON, in the environment variable ``VASP_FAULTS`` (the text or the path of a file) or in the file
``vasp_faults.json`` of the working directory:

    [{"fault": "brmix", "step": 2, "times": 2, "until": {"IMIX": 1}, "exit": 1, "go_on": false}]

| key | meaning |
| --- | --- |
| fault | what happens, see below |
| step | ionic step at which it strikes, from 1 (default); 0: before any file is written |
| last | for wrong numbers: last step concerned (default: that of ``step``; for ``nelm``: all from there) |
| times | how many runs it hits (default: all) |
| until | tags of INCAR; once all of them have these values (or ``">=100"``), it no longer strikes |
| exit | exit status after a message (default 1) |
| go_on | print the message and carry on |
| seconds | length of ``hang`` (default: a day) and of each step when ``slow`` (default 1) |
| keep | fraction of the file that ``truncate`` leaves (default 0.6) |
| files | what ``truncate`` cuts (default: vasprun.xml and OUTCAR) |

Faults: the names of `MESSAGES` (the program prints what VASP prints, and stops); ``exit`` (stops without a
word), ``stdout:TEXT``, ``stderr:TEXT``, ``licence``, ``oom``, ``full_disk``, ``sigkill``, ``segv``, ``hang``,
``hang_hard`` (deaf to SIGTERM), ``slow``; ``nelm`` (the electronic loop ends at NELM), ``positive_energy``,
``nan_forces``, ``huge_forces``, ``net_force``, ``no_stress``; ``truncate``, ``no_vasprun`` (exit status 0).

How often each has struck is kept in ``.vasp_standin.json`` of the working directory, over all runs there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from vasp.fortran import read_real
from vasp.inputs import Incar

STATE = Path(".vasp_standin.json")

MESSAGES = {
    "tet": " Tetrahedron method fails (number of k-points < 4)",
    "ksymm": " Fatal error detecting k-mesh symmetry",
    "inv_rot_mat": " VERY BAD NEWS! internal error in subroutine INVGRP:\n"
    " inverse of rotation matrix was not found (increase SYMPREC)       5",
    "brmix": " BRMIX: very serious problems\n the old and the new charge density differ",
    "subspacematrix": " WARNING: Sub-Space-Matrix is not hermitian in DAV            1",
    "tetirr": " Routine TETIRR needs special values",
    "incorrect_shift": " Could not get correct shifts",
    "real_optlay": " REAL_OPTLAY: internal error (1)",
    "rspher": " ERROR RSPHER",
    "dentet": " WARNING: DENTET: can't reach specified precision",
    "too_few_bands": " TOO FEW BANDS",
    "triple_product": " ERROR: the triple product of the basis vectors is negative"
    " exchange two basis vectors",
    "rot_matrix": " Found some non-integer element in rotation matrix",
    "brions": " BRIONS problems: POTIM should be increased",
    "pricel": " internal error in subroutine PRICEL",
    "zpotrf": " LAPACK: Routine ZPOTRF failed!           1",
    "amin": " One of the lattice vectors is very long (>50 A), but AMIN is rather large",
    "zbrent": " ZBRENT: fatal error in bracketing\n"
    "     please rerun with smaller EDIFF, or copy CONTCAR\n     to POSCAR and continue",
    "pssyevx": " ERROR in subspace rotation PSSYEVX: not enough eigenvalues found",
    "pdsyevx": " ERROR in subspace rotation PDSYEVX: not enough eigenvalues found",
    "eddrmm": " WARNING in EDDRMM: call to ZHEGV failed, returncode =   6  3      9",
    "edddav": " Error EDDDAV: Call to ZHEGV failed. Returncode =  16  2  16",
    "algo_tet": " ALGO=A and IALGO=5X tend to fail with the tetrahedron method",
    "grad_not_orth": " EDWAV: internal error, the gradient is not orthogonal",
    "nicht_konv": " ERROR: SBESSELITER : nicht konvergent",
    "zheev": " ERROR EDDIAG: Call to routine ZHEEV failed!",
    "eddiag": " ERROR in EDDIAG: call to ZHEEV/ZHEEVX/DSYEV/DSYEVX failed! error code was   10",
    "elf_kpar": " ELF: KPAR>1 not implemented, sorry.",
    "elf_ncl": " WARNING: ELF not implemented for non collinear case.",
    "rhosyg": " RHOSYG internal error: stars are not distinct",
    "posmap": " POSMAP internal error: symmetry equivalent atom not found",
    "point_group": " group operation missing",
    "pricelv": " PRICELV: current lattice and primitive lattice are incommensurate",
    "symprec_noise": " determination of the symmetry of your systems shows a strong sensitivity on SYMPREC",
    "dfpt_ncore": " PEAD routines do not work for NCORE",
    "bravais": " Inconsistent Bravais lattice types found for crystalline and reciprocal lattice",
    "nbands_not_sufficient": " ERROR: the number of bands is not sufficient to hold all electrons",
    "hnform": " HNFORM: k-point generating error",
    "coef": " ERROR: while reading WAVECAR, plane wave coefficients changed",
    "set_core_wf": " internal error in SET_CORE_WF",
    "read_error": " Error reading item 'ENCUT' from file INCAR.",
    "ibzkpt": " VERY BAD NEWS! internal error in subroutine IBZKPT:\n"
    " not all point group operations associated with the symmetry of the lattice",
    "fexcf": " ERROR FEXCF: supplied exchange-correlation table\n is too small, maximal index :        2000",
    "spin_polarized_harris": " Spin polarized Harris functional dynamics is a good joke",
    "aliasing_incar": " Your FFT grids (NGX,NGY,NGZ) are not sufficient for an accurate calculation.",
}
"""By the name that custodian gives the error: what VASP prints on its standard output."""

ERRORS = {
    "licence": "ERROR: no license available: license server does not respond (checkout failed, code -15)",
    "oom": "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.0. Some of your processes may have"
    " been killed by the cgroup out-of-memory handler.\nOut of memory: Killed process 4242 (vasp_std)",
    "full_disk": "forrtl: No space left on device\n"
    "forrtl: severe (38): error during write, unit 13, file OUTCAR",
    "segv": "forrtl: severe (174): SIGSEGV, segmentation fault occurred",
}
"""What the runtime or the system prints on the standard error."""

WRONG_NUMBERS = ("positive_energy", "nan_forces", "huge_forces", "net_force", "no_stress", "nelm")
AT_THE_END = ("truncate", "no_vasprun")
ACTIONS = ("exit", "licence", "oom", "full_disk", "sigkill", "segv", "hang", "hang_hard", "slow")


class Faults:
    """The faults that strike this run.

    Args:
        incar: tags, for the conditions of ``until``.
    """

    def __init__(self, incar: Incar) -> None:
        text = os.environ.get("VASP_FAULTS", "")
        if not text and Path("vasp_faults.json").is_file():
            text = "vasp_faults.json"
        if text and not text.lstrip().startswith("["):
            text = Path(text).read_text()
        self.faults: list[dict[str, Any]] = json.loads(text or "[]")
        for fault in self.faults:
            name = fault["fault"]
            known = (*MESSAGES, *WRONG_NUMBERS, *AT_THE_END, *ACTIONS)
            if name not in known and not name.startswith(("stdout:", "stderr:")):
                raise SystemExit(f"vasp_std stand-in: unknown fault {name!r}")
        state = json.loads(STATE.read_text()) if STATE.is_file() else {"runs": 0, "hits": {}}
        self.runs: int = state["runs"] + 1
        self.hits: dict[str, int] = state["hits"]
        self.active = [
            number
            for number, fault in enumerate(self.faults)
            if not _cured(fault, incar) and self.hits.get(str(number), 0) < fault.get("times", 10**9)
        ]
        self.struck: set[int] = set()
        self._save()

    def _save(self) -> None:
        # Only runs with faults leave a trace.
        if self.faults:
            STATE.write_text(json.dumps({"runs": self.runs, "hits": self.hits}))

    def _hit(self, number: int) -> None:
        """Count a fault once per run."""
        if number not in self.struck:
            self.struck.add(number)
            self.hits[str(number)] = self.hits.get(str(number), 0) + 1
            self._save()

    def wrong(self, name: str, step: int) -> bool:
        """Whether a result of an ionic step is to be wrong in some way."""
        for number in self.active:
            fault = self.faults[number]
            first = fault.get("step", 1)
            last = fault.get("last", 10**9 if name == "nelm" else first)
            if fault["fault"] == name and first <= step <= last:
                self._hit(number)
                return True
        return False

    def strike(self, step: int, say, flush) -> float | None:
        """Do what is asked for at the beginning of an ionic step.

        Args:
            step: number of the ionic step, 0 before anything is written.
            say: prints a line on the standard output.
            flush: writes out what the output files still buffer.

        Returns:
            Seconds that each step shall take from now on, or None.
        """
        seconds = None
        for number in self.active:
            fault = self.faults[number]
            name = fault["fault"]
            if name in WRONG_NUMBERS or name in AT_THE_END or fault.get("step", 1) != step:
                continue
            if number in self.struck:
                continue
            self._hit(number)
            flush()
            if name == "slow":
                seconds = float(fault.get("seconds", 1.0))
            else:
                _act(name, fault, say)
        return seconds

    def finish(self) -> None:
        """Damage the finished output."""
        for number in self.active:
            fault = self.faults[number]
            if fault["fault"] == "truncate":
                self._hit(number)
                for name in fault.get("files", ("vasprun.xml", "OUTCAR")):
                    path = Path(name)
                    os.truncate(path, int(path.stat().st_size * fault.get("keep", 0.6)))
            elif fault["fault"] == "no_vasprun":
                self._hit(number)
                Path("vasprun.xml").unlink()


def _cured(fault: dict[str, Any], incar: Incar) -> bool:
    conditions = fault.get("until")
    return bool(conditions) and all(_holds(incar.get(tag, ""), value) for tag, value in conditions.items())


def _holds(found: str, wanted: Any) -> bool:
    if isinstance(wanted, str) and wanted[:2] in (">=", "<="):
        try:
            value = read_real(found.split()[0])
        except (ValueError, IndexError):
            return False
        limit = float(wanted[2:])
        return value >= limit if wanted[0] == ">" else value <= limit
    return _plain(found) == _plain(wanted)


def _plain(value: Any) -> str:
    """A value of INCAR or JSON in one spelling: ``.TRUE.`` and true are t, 0.10 and 1e-1 are 0.1."""
    text = " ".join(str(value).lower().split()).strip(".")
    text = {"true": "t", "false": "f"}.get(text, text)
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _act(name: str, fault: dict[str, Any], say) -> None:
    if name in ERRORS:
        sys.stderr.write(ERRORS[name] + "\n")
    if name in ("hang", "hang_hard"):
        if name == "hang_hard":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        until = time.monotonic() + fault.get("seconds", 86400)
        while time.monotonic() < until:
            time.sleep(0.1)
        return
    if name.startswith("stderr:"):
        sys.stderr.write(name[7:] + "\n")
    elif name in MESSAGES or name.startswith("stdout:"):
        say(MESSAGES.get(name, name[7:]))
    sys.stderr.flush()
    if name in ("sigkill", "oom"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "segv":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "exit" or not fault.get("go_on"):
        sys.exit(fault.get("exit", 38 if name == "full_disk" else 1))
