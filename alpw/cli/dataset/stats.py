"""``alpw dataset stats``: what is in a data set."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.cli.data import Query, opened, progress, selected
from alpw.dataset.language import field
from alpw.dataset.statistics import MEASURED, statistics

SHOWN = 8
"""values of a field that are named"""
GROUP_COLUMNS = (
    "\nall",
    "\nlabelled",
    "eV per atom\nleast",
    "\nlargest",
    "max force\neV/Å",
    "Å^3 per atom\nleast",
    "\nlargest",
)
GROUPS = 40
"""rows of a table of groups"""

ORIGINS = {"trajectory": "trajectories", "calculation": "AIMD and relaxations", "file": "files"}
HASHES = ("settings_hash",)
"""fields of which the beginning is enough"""


def stats(
    texts: Query = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAMES", help="Fields that make groups, a,b,c.")
    ] = None,
    as_json: AsJson = False,
    launchpad: LaunchpadFile = None,
) -> None:
    """Count states, systems, levels of theory and origins; show ranges of energies, forces and densities.

    Example: `alpw dataset stats chemsys=Si --by campaign,iteration`
    """
    with errors_as_exit_status():
        names = [field(name.strip()) for name in (by or "").split(",") if name.strip()]
        facts, groups = statistics(selected(opened(launchpad), texts), names, progress)
        if as_json:
            print_json(_for_json(facts) | ({"groups": list(map(_for_json, groups))} if names else {}))
            return
        console.print(_counts(facts))
        if facts["ranges"]:
            console.print(_ranges(facts))
        if names:
            console.print(_groups(groups, names))
            if len(groups) > GROUPS:
                console.print(f"{GROUPS} of {len(groups)} groups; --json shows all")


def _for_json(facts: dict[str, Any]) -> dict[str, Any]:
    """Keys of JSON are text."""
    counts = facts["counts"].items()
    return facts | {"counts": {name: {str(key): n for key, n in found.items()} for name, found in counts}}


def _counts(facts: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("configurations", f"{facts['configurations']}")
    for name, counts in facts["counts"].items():
        named = [f"{_value(name, key)} {n}" for key, n in list(counts.items())[:SHOWN]]
        rest = [f"and {len(counts) - SHOWN} more"] if len(counts) > SHOWN else []
        table.add_row(name, ", ".join([*named, *rest]))
    if facts["origins"]:
        table.add_row("from", ", ".join(f"{n} {ORIGINS[name]}" for name, n in facts["origins"].items()))
    if "bytes_per_configuration" in facts:
        table.add_row("size", f"{facts['bytes_per_configuration']} bytes each")
    return table


def _value(name: str, key: Any) -> str:
    if name == "iteration":
        return f"{key}:"
    return str(key)[:12] if name in HASHES else str(key)


def _ranges(facts: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for title in ("", "unit", "least", "median", "largest"):
        table.add_column(title, justify="left" if title in ("", "unit") else "right")
    for name, found in facts["ranges"].items():
        table.add_row(
            name.replace("_", " "),
            MEASURED[name][0],
            *(f"{found[which]:.6g}" for which in ("min", "median", "max")),
        )
    return table


def _groups(groups: list[dict[str, Any]], names: list[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in names:
        table.add_column(f"\n{name}")
    for title in GROUP_COLUMNS:
        table.add_column(title, justify="right")
    for facts in groups[:GROUPS]:
        table.add_row(
            *("-" if key is None else _value("", key) for key in facts["group"].values()),
            str(facts["configurations"]),
            str(facts["labelled"]),
            _number(facts, "energy_per_atom", "min"),
            _number(facts, "energy_per_atom", "max"),
            _number(facts, "max_force", "max"),
            _number(facts, "volume_per_atom", "min"),
            _number(facts, "volume_per_atom", "max"),
        )
    return table


def _number(facts: dict[str, Any], name: str, which: str) -> str:
    found = facts["ranges"].get(name)
    return f"{found[which]:.5g}" if found else "-"
