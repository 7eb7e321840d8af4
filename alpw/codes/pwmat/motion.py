"""How atoms move: JOB, RELAX_DETAIL and MD_DETAIL of etot.input.

``MD_DETAIL = method steps dt(fs) T1(K) T2(K)``: the temperature goes from T1 in the first step to T2 in the
last. ``RELAX_DETAIL = method steps force(eV/Å) ...``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alpw.codes.protocol import Task
from alpw.codes.pwmat.etot import Etot
from alpw.codes.pwmat.keys import integer
from alpw.errors import InputError

if TYPE_CHECKING:
    from alpw.config import Dft

JOBS = {Task.LABEL: "SCF", Task.RELAX: "RELAX", Task.AIMD: "MD"}
CONTINUE = 11
"""Method m of MD_DETAIL starts with random velocities, method 11 m with those of IN.ATOM."""
VERLET_CONTINUED = CONTINUE
"""Constant energy from given velocities: the only method in which no temperature plays a part."""
DEFAULT_RELAX_DETAIL = "1 100 0.01"


def check_motion(etot: Etot, dft: Dft, task: Task) -> None:
    """Raise `InputError` if the control file is of another task, or cannot run at ``dft.temperature``."""
    if task is Task.RELAX:
        _check_relaxation(etot)
    if task is Task.AIMD:
        method, _, _ = md_detail(etot)
        if dft.temperature is not None and method == VERLET_CONTINUED:
            raise InputError(
                f"method {method} keeps the energy of the structure's velocities, so that temps changes "
                "nothing; method 1 draws velocities of that temperature",
                etot.file,
                "MD_DETAIL",
            )


def set_motion(etot: Etot, dft: Dft, task: Task) -> list[str]:
    """Set JOB and what belongs to it; returns the changes in words.

    ``dft.seed`` is not used: no page of PWmat's manual that we know describes a seed of the first velocities.
    A RANDOM_SEED of the user's stays.

    Args:
        etot: the user's input, changed in place.
        dft: ``temperature`` in K of AIMD, None for that of the control file.
        task: what to do.

    Raises:
        InputError: as `check_motion`.
    """
    check_motion(etot, dft, task)
    changes = etot.set("JOB", JOBS[task])
    if task is Task.RELAX and "RELAX_DETAIL" not in etot:
        changes += etot.set("RELAX_DETAIL", DEFAULT_RELAX_DETAIL)
    if task is Task.AIMD and dft.temperature is not None:
        method, steps, words = md_detail(etot, dft.temperature)
        told = etot.set("MD_DETAIL", " ".join([str(method), str(steps), *words]))
        changes += [f"{change} ({dft.temperature:.10g} K: asked for by temps)" for change in told]
    return changes


def md_detail(etot: Etot, temperature: float | None = None) -> tuple[int, int, list[str]]:
    """Method and number of steps of MD_DETAIL, and the words after them (time step in fs, temperatures in K).

    Args:
        etot: the input.
        temperature: in K, which replaces those of the file.

    Raises:
        InputError: not given, or not a number of steps.
    """
    words = etot.words("MD_DETAIL")
    if not words:
        raise InputError(
            "AIMD needs MD_DETAIL = method steps dt(fs) T1(K) T2(K), such as 2 1000 1.0 300 300",
            etot.file,
            "MD_DETAIL",
        )
    try:
        method, steps = integer(words[0]), integer(words[1])
    except ValueError as error:
        raise InputError(f"method and steps must be integers: {error}", etot.file, "MD_DETAIL") from error
    if method < 1 or steps < 1:
        raise InputError(f"{etot.get('MD_DETAIL')} makes no step", etot.file, "MD_DETAIL")
    if temperature is None:
        return method, steps, words[2:]
    return method, steps, [words[2], *[f"{temperature:.10g}"] * 2]


def starts_from_velocities(etot: Etot) -> bool:
    """Whether MD_DETAIL of the control file continues from given velocities."""
    return md_detail(etot)[0] >= CONTINUE


def _check_relaxation(etot: Etot) -> None:
    """Raise `InputError` where another JOB is asked for and nothing says how to relax, or for no step."""
    job = etot.get("JOB").upper()
    if "RELAX_DETAIL" not in etot and job not in {"", JOBS[Task.RELAX]}:
        raise InputError(
            f"{job} is no relaxation, and no RELAX_DETAIL says how to relax; set JOB = RELAX and "
            "RELAX_DETAIL = method steps force(eV/Å), such as 1 100 0.01",
            etot.file,
            "JOB",
        )
    if "RELAX_DETAIL" in etot and etot.numbers("RELAX_DETAIL")[1] < 1:
        raise InputError(f"{etot.get('RELAX_DETAIL')} makes no step", etot.file, "RELAX_DETAIL")
