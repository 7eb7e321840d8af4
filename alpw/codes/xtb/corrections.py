"""Which entry of ``xtb.json`` is numerical and which one changes the physics; why, in one line each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alpw.codes.corrections import Effect, Rule, Rules

INPUT = "xtb.json"

RULES: Rules = {
    f"{INPUT}/scf/max_iterations": Rule(Effect.NUMERICAL, "number of SCF iterations"),
    f"{INPUT}/scf/mixer_damping": Rule(Effect.NUMERICAL, "mixing of densities between iterations"),
    f"{INPUT}/theory/method": Rule(Effect.PHYSICS, "another Hamiltonian"),
    f"{INPUT}/theory/electronic_temperature": Rule(Effect.PHYSICS, "another free energy"),
    f"{INPUT}/theory/accuracy": Rule(Effect.PHYSICS, "how well the answer is known"),
    f"{INPUT}/structure": Rule(Effect.PHYSICS, "the structure itself", harmless_in=("relax",)),
    f"{INPUT}/start": Rule(Effect.PHYSICS, "the state of MD", never_in=("aimd",)),
    f"{INPUT}/task/*": Rule(Effect.PHYSICS, "another relaxation or MD", never_in=("relax", "aimd")),
}
"""An entry that is not here changes the physics."""

_ONE_ENTRY = ("structure", "start")


def settings_of_inputs(directory: Path) -> dict[str, str]:
    """Every entry of ``xtb.json`` by its path, such as ``xtb.json/scf/max_iterations``; a structure is
    one."""
    path = directory / INPUT
    settings: dict[str, str] = {}
    if not path.is_file():
        return settings
    document: dict[str, Any] = json.loads(path.read_text())
    for name, block in document.items():
        if name in _ONE_ENTRY or not isinstance(block, dict):
            settings[f"{INPUT}/{name}"] = json.dumps(block)
        else:
            settings.update({f"{INPUT}/{name}/{key}": json.dumps(value) for key, value in block.items()})
    return settings
