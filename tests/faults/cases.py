"""The faults, and what must become of a calculation that meets each: data, no code.

``REPAIRED`` means a label equal to that of an undisturbed run, or a relaxation or AIMD run that ends as it
would have ended. Anything else is the class under which it must be quarantined. A fault without ``times``
strikes every run, so that no ladder of repairs can hide it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

REPAIRED = "repaired"


@dataclass(frozen=True)
class Case:
    """One fault of one code in one kind of calculation.

    Attributes:
        code: ``dft_style``.
        task: ``label``, ``relax`` or ``aimd``.
        name: what the table calls it.
        faults: what the stand-in is told; for CP2K, what the wrapper around the real program does.
        expected: ``REPAIRED`` or the class of the failure.
    """

    code: str
    task: str
    name: str
    faults: tuple[dict[str, Any], ...]
    expected: str


def once(fault: str, **more: Any) -> dict[str, Any]:
    """A fault that strikes one run."""
    return {"fault": fault, "times": 1, **more}


def always(fault: str, **more: Any) -> dict[str, Any]:
    """A fault that strikes every run."""
    return {"fault": fault, **more}


def _cases(code: str, task: str, rows: list[tuple[str, dict[str, Any], str]]) -> list[Case]:
    return [Case(code, task, name, (fault,), expected) for name, fault, expected in rows]


VASP_LABEL = _cases(
    "vasp",
    "label",
    [
        ("none", once("slow", seconds=0.0), REPAIRED),
        ("SCF at NELM, until ALGO = Normal", always("nelm", until={"ALGO": "Normal"}), REPAIRED),
        ("SCF at NELM, until ALGO = All", always("nelm", until={"ALGO": "All"}), REPAIRED),
        ("SCF at NELM, whatever is tried", always("nelm"), "scf"),
        ("BRMIX once", once("brmix"), REPAIRED),
        ("BRMIX always: needs another mesh or symmetry", always("brmix"), "scf"),
        ("EDDDAV once", once("edddav"), REPAIRED),
        ("EDDDAV before the first SCF line", once("edddav", step=0), REPAIRED),
        ("EDDDAV always", always("edddav"), "scf"),
        ("EDDRMM once", once("eddrmm"), REPAIRED),
        ("ZHEEV once", once("zheev"), REPAIRED),
        ("sub-space matrix not hermitian, once", once("subspacematrix"), REPAIRED),
        ("k-mesh symmetry: needs ISYM = 0", always("ibzkpt"), "geometry"),
        ("inverse rotation matrix: needs SYMPREC", always("inv_rot_mat"), "geometry"),
        ("tetrahedron method: needs ISMEAR", always("tet"), "input"),
        ("real-space projectors: needs LREAL", always("rspher"), "input"),
        ("aliasing: needs another FFT grid", always("aliasing_incar"), "input"),
        ("positive energy, once", once("positive_energy"), REPAIRED),
        ("error reading INCAR", always("read_error"), "input"),
        ("killed midway, once", once("sigkill"), REPAIRED),
        ("killed in every run", always("sigkill"), "node"),
        ("segmentation fault, once", once("segv"), REPAIRED),
        ("files cut short, once", once("truncate"), REPAIRED),
        ("files cut short in every run", always("truncate"), "node"),
        ("OUTCAR cut short, once", once("truncate", files=["OUTCAR"]), REPAIRED),
        ("no vasprun.xml, once", once("no_vasprun"), REPAIRED),
        ("hang, once", once("hang"), REPAIRED),
        ("hang that is deaf to SIGTERM, once", once("hang_hard"), REPAIRED),
        ("hang in every run", always("hang"), "node"),
        ("exit status without a word, every run", always("exit", exit=3), "unknown"),
        ("no licence, once", once("licence"), REPAIRED),
        ("no licence at all", always("licence"), "licence"),
        ("out of memory", always("oom"), "memory"),
        ("disk full, once", once("full_disk"), REPAIRED),
        ("NaN forces", always("nan_forces"), "unknown"),
        ("forces of hundreds of eV/Å", always("huge_forces"), "unknown"),
        ("forces that do not sum to zero", always("net_force"), "unknown"),
        ("no stress", always("no_stress"), "unknown"),
    ],
)

VASP_RELAX = _cases(
    "vasp",
    "relax",
    [
        ("none", once("slow", seconds=0.0), REPAIRED),
        ("ZBRENT once", once("zbrent", step=3), REPAIRED),
        ("killed midway", once("sigkill", step=3), REPAIRED),
        ("files cut short", once("truncate"), REPAIRED),
        ("hang midway", once("hang", step=3), REPAIRED),
        ("out of memory", always("oom"), "memory"),
    ],
)

VASP_AIMD = _cases(
    "vasp",
    "aimd",
    [
        ("none", once("slow", seconds=0.0), REPAIRED),
        ("killed midway", once("sigkill", step=4), REPAIRED),
        ("killed midway, twice", {"fault": "sigkill", "step": 4, "times": 2}, REPAIRED),
        ("EDDRMM midway", once("eddrmm", step=3), REPAIRED),
        ("hang midway", once("hang", step=4), REPAIRED),
        ("files cut short", once("truncate"), REPAIRED),
        ("no licence at all", always("licence", step=0), "licence"),
    ],
)

PWMAT_LABEL = _cases(
    "pwmat",
    "label",
    [
        ("none", once("slow", seconds=0.0), REPAIRED),
        (
            "SCF out of steps, until 200 are allowed",
            always("scf_unconverged", until={"SCF_ITER0_2": ">=200 * * * * *"}),
            REPAIRED,
        ),
        ("SCF out of steps, whatever is tried", always("scf_unconverged"), "scf"),
        ("killed midway, once", once("sigkill"), REPAIRED),
        ("killed in every run", always("sigkill"), "node"),
        ("GPU library fails, once", once("crash"), REPAIRED),
        ("GPU out of memory", always("oom"), "memory"),
        ("no licence, once", once("licence"), REPAIRED),
        ("no licence at all", always("licence"), "licence"),
        ("exit status without a word, every run", always("exit"), "unknown"),
        ("hang, once", once("hang"), REPAIRED),
        ("hang that is deaf to SIGTERM, once", once("hang_hard"), REPAIRED),
        ("REPORT cut short, once", once("truncate_report"), REPAIRED),
        ("OUT.MLMD cut short, once", once("truncate_mlmd"), REPAIRED),
        ("OUT.MLMD cut short in every run", always("truncate_mlmd"), "node"),
        ("no OUT.MLMD, once", once("no_mlmd"), REPAIRED),
        ("no OUT.FORCE, once", once("no_force"), REPAIRED),
        ("NaN forces", always("nan"), "unknown"),
        ("a field of stars", always("stars"), "unknown"),
        ("forces of hundreds of eV/Å", always("huge_forces"), "unknown"),
        ("forces that do not sum to zero", always("net_force"), "unknown"),
        ("no stress", always("no_stress"), "unknown"),
    ],
)

PWMAT_RELAX = _cases(
    "pwmat",
    "relax",
    [
        ("none", once("slow", seconds=0.0), REPAIRED),
        ("killed midway", once("sigkill", step=3), REPAIRED),
        ("MOVEMENT cut short", once("truncate_movement"), REPAIRED),
        ("stuck", always("relax_stuck"), "geometry"),
        ("GPU out of memory", always("oom"), "memory"),
    ],
)

PWMAT_AIMD = _cases(
    "pwmat",
    "aimd",
    [
        ("none", once("slow", seconds=0.0), REPAIRED),
        ("killed midway", once("sigkill", step=4), REPAIRED),
        ("killed midway, twice", {"fault": "sigkill", "step": 4, "times": 2}, REPAIRED),
        ("hang midway", once("hang", step=4), REPAIRED),
        ("MOVEMENT cut short", once("truncate_movement"), REPAIRED),
        ("NaN midway, once", once("nan", step=4), REPAIRED),
        ("no licence at all", always("licence", step=0), "licence"),
    ],
)

CP2K_LABEL = _cases(
    "cp2k",
    "label",
    [
        ("none", once("nothing"), REPAIRED),
        ("SCF out of steps, until 150 are allowed", always("few_scf_steps", until="MAX_SCF 150"), REPAIRED),
        ("SCF out of steps, whatever is tried", always("few_scf_steps"), "scf"),
        ("killed midway, once", once("sigkill"), REPAIRED),
        ("killed in every run", always("sigkill"), "node"),
        ("output cut short, once", once("truncate"), REPAIRED),
        ("hang, once", once("hang"), REPAIRED),
        ("exit status without a word, every run", always("exit"), "unknown"),
        ("no licence at all", always("licence"), "licence"),
        ("out of memory", always("oom"), "memory"),
        ("a keyword that CP2K does not know", always("bad_keyword"), "input"),
    ],
)

CP2K_RELAX = _cases(
    "cp2k",
    "relax",
    [
        ("none", once("nothing"), REPAIRED),
        ("killed after the second step", once("sigkill", step=2), REPAIRED),
        ("out of memory", always("oom"), "memory"),
    ],
)

CP2K_AIMD = _cases(
    "cp2k",
    "aimd",
    [
        ("none", once("nothing"), REPAIRED),
        ("killed after the second step", once("sigkill", step=2), REPAIRED),
        ("hang after the second step", once("hang", step=2), REPAIRED),
    ],
)

CASES = [
    *VASP_LABEL,
    *VASP_RELAX,
    *VASP_AIMD,
    *PWMAT_LABEL,
    *PWMAT_RELAX,
    *PWMAT_AIMD,
    *CP2K_LABEL,
    *CP2K_RELAX,
    *CP2K_AIMD,
]
