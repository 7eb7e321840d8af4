"""What is known of a campaign that another program ran: its input as it was written, and what it lacks."""

from __future__ import annotations

import json
from typing import Any

from alpw.report.page.blocks import Block, Folded, Section, Table, Text
from alpw.report.page.material import Material

PROGRAMS = {"pwact": "PWact (AL-PWMLFF)", "dpgen": "DP-GEN"}


def subtitle(material: Material) -> str:
    """What kind of campaign it is."""
    return f"Campaign of {_program(material)}, imported"


def _program(material: Material) -> str:
    family = str(material.campaign["imported"]["family"])
    return PROGRAMS.get(family, family)


def overview_section(material: Material) -> Section:
    """Where it comes from, its thresholds, its input, and what is not known of it."""
    campaign = material.campaign
    blocks: list[Block] = [
        Text(
            f"{_program(material)} ran this campaign in {campaign['work_dir']}. Its labels and the counts of "
            "its iterations were imported from there; times, costs and errors of its models are not known."
        )
    ]
    bounds = [
        [str(view.index), bound.group, f"{bound.lower:.4g}", f"{bound.upper:.4g}"]
        for view in material.views
        for bound in view.thresholds
    ]
    if bounds:
        headings = ("iteration", "trajectories", "lower (eV/Å)", "upper (eV/Å)")
        blocks.append(Table(headings, bounds, "Force deviations between which it labelled", 2))
    if notes := campaign.get("notes"):
        blocks.append(Table(("not known, or left where it was",), [[note] for note in notes]))
    if param := campaign.get("param"):
        blocks.append(Folded("Its input", [Table(("key", "value"), _rows(param))]))
    return Section("overview", "Where it comes from", blocks)


def _rows(param: dict[str, Any], limit: int = 400) -> list[list[str]]:
    texts = {key: json.dumps(value, default=str) for key, value in param.items() if not key.startswith("_")}
    return [[key, text if len(text) <= limit else f"{text[:limit]}…"] for key, text in texts.items()]
