"""Faults on demand: what goes wrong on real clusters, at a given step, a given number of times.

``PWMAT_FAULTS`` (JSON, or the path of a JSON file) or ``pwmat_faults.json`` in the working folder holds a
list of ``{"fault": NAME, "step": n, "times": n, "until": {KEY: VALUE}}``:

* ``step``: ionic step at which it strikes, default 1. In an MD run 0 is the structure of IN.ATOM, which is
  not in MOVEMENT; steps count anew in each run.
* ``times``: how often it strikes in this folder, counted in ``.pwmat_faults_state.json``; without it, always.
* ``until``: it strikes until etot.input has these values. Numbers are compared as numbers; ``*`` stands for
  any word, ``>=100`` for any number of at least 100.

| fault | what happens | more fields |
| --- | --- | --- |
| scf_unconverged | SCF runs out of steps from ``step`` on (default 0), results are off | ``needs`` |
| sigkill | killed as by the kernel | |
| crash | ``error in gpu fft, stop``, exit 1 | |
| oom | GPU out of memory, exit 1 | |
| licence | the licence server does not answer, exit 1 | |
| exit | ends without a word | ``code``, default 3 |
| hang, hang_hard | stops working; the second ignores SIGTERM | ``seconds`` |
| slow | every step from ``step`` on takes longer | ``seconds``, default 1 |
| nan | energy and forces are NaN; MD and relaxation end there, exit 1 | |
| huge_forces | the largest force is 500 eV/Å | ``value`` |
| net_force | every atom is pulled along x | ``value``, default 0.5 eV/Å |
| stars | a force is too large for its field: ``****`` | |
| no_mlmd, no_force, no_stress | OUT.MLMD, OUT.FORCE, all stresses are not written | |
| truncate_movement, truncate_mlmd, truncate_report | the file is cut | ``fraction``, default 0.63 |
| relax_stuck | the relaxation does not move | |

With ``needs`` the SCF converges after so many iterations if etot.input allows as many.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pwmat.fortran import number
from pwmat.inputs import Refused, Settings

STATE = Path(".pwmat_faults_state.json")
LASTING = frozenset({"scf_unconverged", "slow"})
_NAMES = """
    scf_unconverged sigkill crash oom licence exit hang hang_hard slow nan huge_forces net_force stars
    no_mlmd no_force no_stress truncate_movement truncate_mlmd truncate_report relax_stuck
"""
FAULTS = frozenset(_NAMES.split())


class Faults:
    """The faults that may strike in this run."""

    def __init__(self, settings: Settings) -> None:
        """Read the list and count this run.

        Raises:
            Refused: a fault that does not exist, so that a test cannot pass by a slip of the pen.
        """
        text = os.environ.get("PWMAT_FAULTS", "")
        if not text and Path("pwmat_faults.json").is_file():
            text = "pwmat_faults.json"
        if text and not text.lstrip().startswith(("[", "{")):
            text = Path(text).read_text()
        listed = json.loads(text) if text else []
        self.faults: list[dict[str, Any]] = [listed] if isinstance(listed, dict) else listed
        if unknown := {str(fault.get("fault")) for fault in self.faults} - FAULTS:
            raise Refused(f" stand-in: no such fault: {sorted(unknown)}")
        state = json.loads(STATE.read_text()) if STATE.is_file() else {}
        self.runs = state.get("runs", 0) + 1
        self.hits: dict[str, int] = state.get("hits", {})
        self.active = [i for i, fault in enumerate(self.faults) if not _cured(settings, fault.get("until"))]
        self.struck: set[int] = set()
        if self.faults:
            self._save()

    def take(self, name: str, step: int | None = None) -> dict[str, Any] | None:
        """The fault of this name if it strikes now; it is counted once per run.

        Args:
            name: of the fault.
            step: ionic step, or None for what happens at the end of a run.
        """
        for i in self.active:
            fault = self.faults[i]
            if fault["fault"] != name or (step is not None and not _due(fault, step)):
                continue
            if i in self.struck:
                return fault
            if self.hits.get(str(i), 0) < fault.get("times", float("inf")):
                self.hits[str(i)] = self.hits.get(str(i), 0) + 1
                self.struck.add(i)
                self._save()
                return fault
        return None

    def _save(self) -> None:
        STATE.write_text(json.dumps({"runs": self.runs, "hits": self.hits}))


def _due(fault: dict[str, Any], step: int) -> bool:
    if fault["fault"] == "scf_unconverged":
        return step >= fault.get("step", 0)
    return step >= fault.get("step", 1) if fault["fault"] in LASTING else step == fault.get("step", 1)


def _cured(settings: Settings, until: dict[str, Any] | None) -> bool:
    return bool(until) and all(
        key.upper() in settings.values and _fits(settings.text(key.upper()), str(value))
        for key, value in until.items()
    )


def _fits(found: str, wanted: str) -> bool:
    have, want = found.replace(",", " ").split(), wanted.replace(",", " ").split()
    return len(have) == len(want) and all(map(_word_fits, have, want))


def _word_fits(have: str, want: str) -> bool:
    if want == "*" or have.upper() == want.upper():
        return True
    try:
        if want.startswith(">="):
            return number(have) >= number(want[2:])
        return number(have) == number(want)
    except ValueError:
        return False


def die(faults: Faults, step: int) -> None:
    """End the run here, or stop working, if a fault says so."""
    if faults.take("sigkill", step):
        os.kill(os.getpid(), signal.SIGKILL)
    if faults.take("crash", step):
        complain(" error in gpu fft, stop")
        sys.exit(1)
    if faults.take("oom", step):
        complain(" CUDA MEMORY INSUFFICIENT\n CUDA error: out of memory")
        sys.exit(1)
    if fault := faults.take("exit", step):
        sys.exit(fault.get("code", 3))
    for name in ("hang", "hang_hard"):
        if fault := faults.take(name, step):
            if name == "hang_hard":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sleep(fault.get("seconds", 86400))


def sleep(seconds: float) -> None:
    """Wait, whatever signals arrive."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))


def complain(message: str) -> None:
    """Say something on the screen, where PWmat's users find it."""
    sys.stdout.write(message + "\n")
    sys.stdout.flush()
