"""The control file of relaxations and MD: a JSON object, or the same keys given in place."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from alpw.codes.protocol import Task
from alpw.errors import InputError

if TYPE_CHECKING:
    from alpw.config import Dft

RELAX = {"optimizer": "bfgs", "fmax": 0.02, "steps": 200, "cell": False}
"""``optimizer`` bfgs or fire, ``fmax`` in eV/Å, largest number of ``steps``, whether the ``cell`` relaxes."""

AIMD = {
    "ensemble": "nvt",
    "temperature": 300.0,
    "timestep": 1.0,
    "steps": 100,
    "friction": 0.01,
    "seed": 1,
    "stride": 1,
    "relax_first": False,
}
"""``ensemble`` nvt (Langevin), nve (velocity Verlet) or npt (Langevin-Hoover, isotropic), K, fs, number of
steps, 1/fs, seed of all draws, one step in so many is kept, whether the atoms relax first at their cell."""

NPT = {"pressure": 1.01325, "taup": 1000.0, "compressibility": 1e-6}
"""bar, period of the volume in fs, 1/bar. The compressibility, here that of a solid with a bulk modulus of
100 GPa, sets the mass of the barostat only; a wrong one changes the period, not the pressure."""

RELAX_FIRST = {"fmax": 0.05}
"""eV/Å; enough to take the strain out of a start structure."""

_DEFAULTS: dict[Task, dict[str, Any]] = {Task.LABEL: {}, Task.RELAX: RELAX, Task.AIMD: AIMD}

_ADDITIONS: tuple[tuple[str, Any, dict[str, Any]], ...] = (
    ("ensemble", "npt", NPT),
    ("relax_first", True, RELAX_FIRST),
)
"""Further keys of AIMD, and the key with the value that they need."""

_CHOICES = {"optimizer": ("bfgs", "fire"), "ensemble": ("nvt", "nve", "npt")}
_POSITIVE = frozenset({"fmax", "temperature", "timestep", "friction", "taup", "compressibility"})
_LEAST = {"steps": 1, "stride": 1, "seed": 0}


def read_control(dft: Dft, task: Task) -> dict[str, Any]:
    """What to do: the control file ``dft.input``, else ``dft.motion``, over the defaults; empty for a label.

    ``dft.temperature`` and ``dft.seed`` go before what these say of AIMD.

    Raises:
        InputError: no JSON object, an unknown key, or a value that cannot be.
    """
    if task is Task.LABEL:
        return {}
    given = _given(dft)
    defaults = _defaults(task, given)
    for key, value in given.items():
        if key not in defaults:
            raise InputError(_unknown(key, task, defaults), dft.input, key)
        _check_value(key, value, dft.input)
    return {"name": task.value, **defaults, **given, **_overrides(dft, task)}


def changes_of(dft: Dft, task: Task) -> list[str]:
    """What the control file leaves open, and what goes before it, in words.

    Raises:
        InputError: as `read_control`.
    """
    control, given, overrides = read_control(dft, task), _given(dft), _overrides(dft, task)
    left_open = [key for key in control if key not in given | overrides and key != "name"]
    return [
        *(f"{key}: {control[key]} by default" for key in left_open),
        *(f"{key}: {value}, asked for by this run" for key, value in overrides.items()),
    ]


def moves_cell(control: dict[str, Any]) -> bool:
    """Whether a relaxation or MD changes the cell, for which the forces alone are not enough."""
    return bool(control.get("cell")) or control.get("ensemble") == "npt"


def check_motion(dft: Dft, task: Task) -> dict[str, Any]:
    """`read_control`, after making sure that this ASE can do it.

    Raises:
        InputError: as `read_control`; npt with an ASE that is too old.
    """
    control = read_control(dft, task)
    if control.get("ensemble") == "npt" and find_spec("ase.md.langevinbaoab") is None:
        raise InputError("npt needs a newer ASE: pip install --upgrade ase", dft.input, "ensemble")
    return control


def check_cell(atoms: Atoms, control: dict[str, Any], file: Path | None = None) -> None:
    """Raise `InputError` if MD at constant pressure is asked for a structure without a volume."""
    if control.get("ensemble") == "npt" and not atoms.pbc.all():
        raise InputError(
            f"npt needs a structure periodic in all directions, not pbc={atoms.pbc}; use nvt",
            file,
            "ensemble",
        )


def _given(dft: Dft) -> dict[str, Any]:
    given: Any = dft.motion or {}
    if dft.input is not None:
        try:
            given = json.loads(Path(dft.input).read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"a JSON object wanted: {error}", dft.input, "dft.input") from error
    if not isinstance(given, dict):
        raise InputError("a JSON object wanted", dft.input, "dft.input")
    return {key: value for key, value in given.items() if not key.startswith("_")}


def _defaults(task: Task, given: dict[str, Any]) -> dict[str, Any]:
    defaults = dict(_DEFAULTS[task])
    for key, value, further in _ADDITIONS:
        if task is Task.AIMD and given.get(key) == value:
            defaults |= further
    return defaults


def _overrides(dft: Dft, task: Task) -> dict[str, Any]:
    if task is not Task.AIMD:
        return {}
    asked = {"temperature": dft.temperature, "seed": dft.seed}
    return {key: value for key, value in asked.items() if value is not None}


def _unknown(key: str, task: Task, defaults: dict[str, Any]) -> str:
    for needed, value, further in _ADDITIONS:
        if task is Task.AIMD and key in further:
            return f"needs {needed} {json.dumps(value)}"
    return f"unknown; allowed are {', '.join(defaults)}"


def _check_value(key: str, value: object, file: Path | None) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if key in _CHOICES and value not in _CHOICES[key]:
        raise InputError(f"{value!r}; one of {', '.join(_CHOICES[key])} wanted", file, key)
    if key in _POSITIVE and not (is_number and float(value) > 0):  # type: ignore[arg-type]
        raise InputError(f"{value!r}; a positive number wanted", file, key)
    if key == "pressure" and not is_number:
        raise InputError(f"{value!r}; a number wanted", file, key)
    if key in _LEAST and not (isinstance(value, int) and is_number and value >= _LEAST[key]):
        raise InputError(f"{value!r}; a whole number of {_LEAST[key]} or more wanted", file, key)
    if key in {"cell", "relax_first"} and not isinstance(value, bool):
        raise InputError(f"{value!r}; true or false wanted", file, key)
