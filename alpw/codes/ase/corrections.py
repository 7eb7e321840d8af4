"""Which entry of ``ase.json`` is numerical and which one changes the physics; why, in one line each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alpw.codes.corrections import Effect, Rule, Rules

INPUT = "ase.json"

_ONE_ENTRY = ("structure", "start")


def motion_rules(name: str) -> dict[str, Rule]:
    """The rules of what every document of a driver holds: structure, start and task.

    Args:
        name: of the document.
    """
    return {
        f"{name}/structure": Rule(Effect.PHYSICS, "the structure itself", harmless_in=("relax",)),
        f"{name}/start": Rule(Effect.PHYSICS, "the state of MD", never_in=("aimd",)),
        f"{name}/task/*": Rule(Effect.PHYSICS, "another relaxation or MD", never_in=("relax", "aimd")),
    }


RULES: Rules = {
    f"{INPUT}/theory/*": Rule(Effect.PHYSICS, "another potential", never_in=("relax", "aimd")),
    **motion_rules(INPUT),
}
"""An entry that is not here changes the physics. Nothing here is numerical: no handler changes anything."""


def settings_of_document(directory: Path, name: str) -> dict[str, str]:
    """Every entry of a document by its path, such as ``xtb.json/scf/max_iterations``; a structure is one."""
    path = directory / name
    settings: dict[str, str] = {}
    if not path.is_file():
        return settings
    document: dict[str, Any] = json.loads(path.read_text())
    for block_name, block in document.items():
        if block_name in _ONE_ENTRY or not isinstance(block, dict):
            settings[f"{name}/{block_name}"] = json.dumps(block)
        else:
            entries = {f"{name}/{block_name}/{key}": json.dumps(value) for key, value in block.items()}
            settings.update(entries)
    return settings
