"""The level of theory of a tight-binding run; `alpw.codes.ase.outputs` reads everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alpw.codes.ase.outputs import described
from alpw.codes.corrections import is_numerical
from alpw.codes.xtb.corrections import INPUT, RULES


def settings(directory: Path) -> dict[str, Any]:
    """Level of theory as run: method, electronic temperature in K, accuracy, k-points, version of tblite."""
    record = described(directory)
    entries = {
        key: value
        for block in ("theory", "scf")
        for key, value in record[block].items()
        if not is_numerical(RULES, f"{INPUT}/{block}/{key}")
    }
    return {"code": "tblite", "version": record["tblite"], "kpoints": "gamma", "charge": 0, **entries}
