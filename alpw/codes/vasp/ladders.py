"""Numerical remedies, error by error, in the order in which they are tried.

A ladder is climbed by the INCAR itself: what it holds already counts as tried, in this run or in one before.
Nothing here changes what the answer is; remedies that move the ions in another way concern relaxations only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from alpw.codes.vasp.incar import Incar, canonical
from alpw.files import write_atomically

LEFTOVERS = ("WAVECAR", "CHGCAR", "TMPCAR")
"""From which VASP would start again where the last attempt went astray."""


class Step(NamedTuple):
    """One remedy: tags to set, or to remove where the value is None; whether to start from scratch."""

    changes: dict[str, str | None]
    fresh: bool = False

    def holds(self, incar: Incar) -> bool:
        """Whether the INCAR is like that already."""
        return bool(self.changes) and all(
            tag not in incar if value is None else canonical(tag, incar.get(tag)) == canonical(tag, value)
            for tag, value in self.changes.items()
        )


Rung = Callable[[Incar, Path], "Step | None"]
"""Gives a remedy for the INCAR in a folder, or None where it does not apply."""


def next_step(ladder: Sequence[Rung], incar: Incar, folder: Path, tried: int) -> tuple[int, Step] | None:
    """The first remedy that is neither behind us nor in force, and the number of rungs that are behind then.

    Args:
        ladder: remedies in order.
        incar: as it is.
        folder: where it lies.
        tried: rungs that are behind already.
    """
    steps = [rung(incar, folder) for rung in ladder]
    in_force = [number for number, step in enumerate(steps, start=1) if step and step.holds(incar)]
    behind = max([tried, *in_force])
    for number, step in enumerate(steps[behind:], start=behind + 1):
        if step is not None:
            return number, step
    return None


def apply(step: Step, folder: Path) -> list[dict[str, Any]]:
    """Change the INCAR, remove leftovers; returns it as custodian writes actions down."""
    incar = Incar.read(folder / "INCAR")
    actions: list[dict[str, Any]] = []
    for tag, value in step.changes.items():
        if value is None:
            incar.values.pop(tag, None)
            actions.append({"dict": "INCAR", "action": {"_unset": {tag: 1}}})
        else:
            incar.set(tag, value)
            actions.append({"dict": "INCAR", "action": {"_set": {tag: value}}})
    if step.changes:
        write_atomically(folder / "INCAR", str(incar).encode())
    if step.fresh:
        for name in LEFTOVERS:
            (folder / name).unlink(missing_ok=True)
        actions.append({"restart": "from scratch"})
    return actions


def _set(fresh: bool = False, **changes: str) -> Rung:
    return lambda incar, folder: Step(dict(changes), fresh)


def _again(incar: Incar, folder: Path) -> Step:
    """The same once more, from scratch."""
    return Step({}, fresh=True)


def _algo(incar: Incar) -> str:
    """First letter of ALGO, of IALGO where that decides."""
    if "ALGO" in incar:
        return incar.get("ALGO").strip()[:1].upper()
    return {"48": "V", "68": "F", "58": "A", "53": "D", "54": "D"}.get(
        canonical("IALGO", incar.get("IALGO")), "N"
    )


def _is_difficult(incar: Incar) -> bool:
    """Hybrids and meta-GGAs, for which VASP's manual advises ALGO = All or Damped."""
    meta = incar.get("METAGGA", "NONE").upper() not in {"NONE", "--"}
    return meta or incar.logical("LHFCALC")


def _with_algo(name: str, **changes: str) -> dict[str, str | None]:
    # ALGO goes before IALGO in VASP; a tag that is not there need not be removed.
    return {"ALGO": name, **changes}


def _normal(incar: Incar, folder: Path) -> Step | None:
    """Blocked Davidson, the most robust way with density mixing."""
    return None if _is_difficult(incar) else Step(_with_algo("Normal"))


def _conjugate(incar: Incar, folder: Path) -> Step | None:
    """All bands at once, without density mixing; it fails with tetrahedra (ISMEAR below 0)."""
    return None if incar.integer("ISMEAR", 1) < 0 else Step(_with_algo("All"), fresh=True)


def _more_bands(incar: Incar, folder: Path) -> Step | None:
    """A tenth more bands than INCAR or, without a number there, OUTCAR tells."""
    bands = incar.integer("NBANDS", 0) or _bands_of_output(folder / "OUTCAR")
    return Step({"NBANDS": str(max(bands + 1, int(1.1 * bands)))}, fresh=True) if bands else None


def _bands_of_output(path: Path) -> int:
    if path.is_file():
        with path.open(errors="replace") as lines:
            for line in lines:
                words = line.rpartition("NBANDS=")[2].split() if "NBANDS=" in line else []
                if words and words[0].isdigit():
                    return int(words[0])
    return 0


def half_kpar(incar: Incar, folder: Path) -> Step | None:
    """Half as many groups of k-points: each holds all of the wavefunction's coefficients for its points."""
    groups = incar.integer("KPAR", 1)
    return Step({"KPAR": str(groups // 2)}) if groups > 1 else None


def _one_core_per_band(incar: Incar, folder: Path) -> Step | None:
    """Small cells have too few bands and plane waves for large groups of ranks."""
    changes: dict[str, str | None] = {"NPAR": None} if "NPAR" in incar else {}
    if incar.integer("NCORE", 1) > 1:
        changes["NCORE"] = "1"
    return Step(changes) if changes else None


def _without_groups(incar: Incar, folder: Path) -> Step | None:
    given: dict[str, str | None] = {tag: None for tag in ("NCORE", "NPAR") if tag in incar}
    return Step(given) if given else None


def _optimiser(incar: Incar, old: int, new: int, **changes: str) -> Step | None:
    moves = incar.integer("NSW", 0) > 0 and incar.integer("IBRION", 0) == old
    return Step({"IBRION": str(new), **changes}) if moves else None


def _shorter_steps(incar: Incar, folder: Path) -> Step | None:
    moves = incar.integer("NSW", 0) > 0 and incar.integer("IBRION", 0) in (1, 2, 3)
    return Step({"POTIM": f"{incar.real('POTIM', 0.5) / 2:g}"}) if moves else None


def _longer_steps(incar: Incar, folder: Path) -> Step | None:
    moves = incar.integer("NSW", 0) > 0 and incar.integer("IBRION", 0) == 1
    return Step({"POTIM": f"{incar.real('POTIM', 0.5) + 0.1:g}"}) if moves else None


LADDERS: Mapping[str, tuple[Rung, ...]] = {
    "algo_tet": (_normal,),
    "amin": (_set(AMIN="0.01"),),
    "brions": (_longer_steps, lambda incar, folder: _optimiser(incar, 1, 2, POTIM="0.5")),
    "brmix": (_again, _set(IMIX="1", fresh=True), _conjugate),
    "coef": (_again,),
    "dfpt_ncore": (_without_groups,),
    "edddav": (_conjugate,),
    "eddiag": (_normal, _conjugate, _set(LSCALAPACK=".FALSE.")),
    "eddrmm": (_normal, _conjugate),
    "elf_kpar": (_set(KPAR="1"),),
    "fexcf": (lambda incar, folder: _optimiser(incar, 1, 2),),
    "grad_not_orth": (_normal, _more_bands),
    "nbands_not_sufficient": (_more_bands, _more_bands),
    "pdsyevx": (_normal, _set(LSCALAPACK=".FALSE.")),
    "pssyevx": (_normal, _set(LSCALAPACK=".FALSE.")),
    "subspacematrix": (_normal, _conjugate),
    "too_few_bands": (_more_bands, _more_bands),
    "zbrent": (_set(NELMIN="8"), lambda incar, folder: _optimiser(incar, 2, 1)),
    "zheev": (_normal, _conjugate, _set(LSCALAPACK=".FALSE.")),
    "zpotrf": (_one_core_per_band, _shorter_steps),
}
"""Name of an error -> remedies. What is not here has none that leaves the physics alone."""


def _steps(number: int, **changes: str) -> Callable[[Incar], dict[str, str | None]]:
    return lambda incar: {"NELM": str(max(number, incar.integer("NELM", 60))), **changes}


def _more_steps(incar: Incar, folder: Path) -> Step:
    """More electronic steps; with RMM-DIIS, which does not come back from a bad start, Davidson instead."""
    algo = {"ALGO": "Normal"} if _algo(incar) in "VFO" else {}
    return Step(_steps(200, **algo)(incar))


def _all_bands(incar: Incar, folder: Path) -> Step | None:
    return None if incar.integer("ISMEAR", 1) < 0 else Step(_steps(200, ALGO="All")(incar), fresh=True)


def _damped(incar: Incar, folder: Path) -> Step | None:
    return (
        None
        if incar.integer("ISMEAR", 1) < 0
        else Step(_steps(300, ALGO="Damped", TIME="0.4")(incar), fresh=True)
    )


def _linear_mixing(incar: Incar, folder: Path) -> Step:
    """https://www.vasp.at/wiki/index.php/IMIX, for magnets that do not settle."""
    return Step(
        _steps(300, ALGO="Normal", AMIX="0.2", BMIX="0.0001", AMIX_MAG="0.8", BMIX_MAG="0.0001", ICHARG="2")(
            incar
        ),
        fresh=True,
    )


def _long_range_mixing(incar: Incar, folder: Path) -> Step:
    """https://www.vasp.at/wiki/index.php/AMIN, for slabs and long cells in which the charge sloshes."""
    return Step(
        _steps(300, ALGO="Normal", AMIN="0.01", BMIX="3.0", AMIX="0.1", ICHARG="2")(incar), fresh=True
    )


def scf_ladder(incar: Incar) -> tuple[Rung, ...]:
    """Remedies for a self-consistency loop that ended at NELM."""
    if _is_difficult(incar):
        return (_all_bands, _damped)
    return (_more_steps, _all_bands, _linear_mixing, _long_range_mixing)
