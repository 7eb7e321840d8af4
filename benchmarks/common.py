"""What the benchmarks share: data, CPU time, memory, and runs in another Python environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.tersoff import Tersoff, TersoffParameters

from alpw.errors import AlpwError
from alpw.structures.frame import Label, LabelledFrame

REPOSITORY = Path(__file__).resolve().parent.parent
DEEPMD_PYTHON = REPOSITORY / ".venv-deepmd" / "bin" / "python"

# J. Tersoff, Phys. Rev. B 39, 5566 (1989), silicon; in eV and Å.
SILICON = TersoffParameters(
    m=3,
    gamma=1.0,
    lambda3=0.0,
    c=1.0039e5,
    d=16.217,
    h=-0.59825,
    n=0.78734,
    beta=1.1e-6,
    lambda2=1.7322,
    B=471.18,
    R=2.85,
    D=0.15,
    lambda1=2.4799,
    A=1830.8,
)


def silicon(count: int, *, cells: int = 2, seed: int = 1, strain: float = 0.03) -> list[Atoms]:
    """Strained and rattled crystals of ``8 cells^3`` atoms; the rattling differs from frame to frame."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = bulk("Si", cubic=True).repeat(cells)
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.uniform(-strain, strain, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0.0, rng.uniform(0.03, 0.2), atoms.positions.shape)
        frames.append(atoms)
    return frames


def labelled(frames: list[Atoms]) -> list[LabelledFrame]:
    """The frames with energies, forces and virials of Tersoff's silicon."""
    calculator = Tersoff({("Si", "Si", "Si"): SILICON})
    results = []
    for atoms in frames:
        copy = atoms.copy()
        copy.calc = calculator
        virial = -copy.get_stress(voigt=False) * copy.get_volume()
        results.append(LabelledFrame(atoms, Label(copy.get_potential_energy(), copy.get_forces(), virial)))
    return results


def cpu_seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """CPU time of one call, the smallest of ``repeats``."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def peak_memory(process: int | str = "self") -> float:
    """Largest resident memory of a process so far, in GB; of this one unless its id is given.

    Linux's own count: that of `getrusage` begins with the memory of the process that started this one.
    """
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 / 1e9 if found else 0.0


def one_thread() -> dict[str, str]:
    """An environment in which numerical libraries use one thread."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    names += ("DP_INTRA_OP_PARALLELISM_THREADS", "DP_INTER_OP_PARALLELISM_THREADS")
    return {**os.environ, **dict.fromkeys(names, "1"), "TF_CPP_MIN_LOG_LEVEL": "2"}


def run_python(
    script: Path,
    arguments: list[str],
    *,
    python: Path | str = sys.executable,
    timeout: float = 3600,
    progress: bool = False,
) -> dict[str, Any]:
    """Run a script in a process of its own, with one thread, and read the JSON object of its last line.

    Args:
        script: the file.
        arguments: of its command line.
        python: runs it.
        timeout: s.
        progress: pass on what it says on standard error.

    Raises:
        AlpwError: the script failed; with the end of what it said.
    """
    if not Path(python).exists():
        raise AlpwError(f"there is no {python}; give the Python of an environment with deepmd-kit")
    done = subprocess.run(
        [str(python), str(script), *arguments],
        env=one_thread(),
        stdout=subprocess.PIPE,
        stderr=None if progress else subprocess.PIPE,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise AlpwError(f"{script.name} failed:\n{(done.stderr or '')[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
