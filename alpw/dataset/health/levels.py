"""Levels of theory: several in one set, and labels of which nobody knows how they were made."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from alpw.database.configurations import COLLECTION
from alpw.dataset.health.problem import Problem, display, removal
from alpw.dataset.health.survey import Row, Survey
from alpw.findings import Severity

MOST_DIFFERENCES = 6
"""settings that a sentence names"""

UNKNOWN = ("", "imported")
"""``settings_hash`` of labels that were not run, but taken as the campaign's level at their user's word"""

SETTINGS = {"settings": 1, "source": 1, "settings_hash": 1}


def level_problems(found: Survey) -> Iterator[Problem]:
    """Labels of several levels of theory, in one campaign or in the whole set."""
    campaigns: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for row in found.rows:
        campaigns[row.campaign][row.level] += 1
    mixed = {name: levels for name, levels in campaigns.items() if len(_known(levels)) > 1}
    total = sum(campaigns.values(), Counter())
    if mixed:
        for name, levels in mixed.items():
            rows = [row for row in found.rows if row.campaign == name]
            yield _mixture(found, rows, Counter(_known(levels)), f"campaign {name} has", Severity.FAIL)
    elif len(total) > 1:
        yield _mixture(found, found.rows, total, "there are", Severity.WARN)


def _known(levels: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    return {level: count for level, count in levels.items() if level[1] not in UNKNOWN}


def _mixture(
    found: Survey, rows: list[Row], levels: Counter[tuple[str, str]], who: str, severity: Severity
) -> Problem:
    (common, n_common), (second, n_second), *_ = levels.most_common()
    which = [(row.id, _name(row.level)) for row in rows if row.level in levels and row.level != common]
    text = (
        f"{who} labels of {len(levels)} levels of theory, whose energies have nothing in common: "
        f"{n_common} of {_name(common)}, {n_second} of {_name(second)}; {_difference(found, common, second)}"
    )
    ids = [one for one, _ in which]
    if severity is Severity.FAIL:
        command = removal(ids, "another level of theory", "levels", found.words)
    else:
        command = display(ids, ("campaign", "code", "settings_hash"), "levels", found.words)
    return Problem("levels", severity, text, tuple(which), command)


def _name(level: tuple[str, str]) -> str:
    code, digest = level
    return f"{code or 'an unknown code'}, settings {digest[:12] or 'unknown'}"


def _difference(found: Survey, one: tuple[str, str], other: tuple[str, str]) -> str:
    """Which settings differ between two levels."""
    first, second = (dict(_leaves(_settings(found, level))) for level in (one, other))
    if not first or not second:
        return "the settings of one are not known"
    names = [name for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)]
    told = [f"{name} {first.get(name, '-')} and {second.get(name, '-')}" for name in names]
    rest = f" and {len(told) - MOST_DIFFERENCES} more" if len(told) > MOST_DIFFERENCES else ""
    return (
        f"they differ in {', '.join(told[:MOST_DIFFERENCES])}{rest}" if told else "their settings are equal"
    )


def _leaves(settings: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of everything in a nested document."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, settings


def _settings(found: Survey, level: tuple[str, str]) -> dict[str, Any]:
    wanted = next(row.id for row in found.rows if row.level == level)
    document = found.dataset.db[COLLECTION].find_one({"_id": wanted}, {"settings": 1}) or {}
    return document.get("settings") or {}


def settings_problems(found: Survey) -> Iterator[Problem]:
    """Labels that do not say with which settings they were computed."""
    without = {"$or": [{"settings": None}, {"settings_hash": None}]}
    which = []
    for document in found.dataset.labelled.where(without).documents(SETTINGS):
        origin = (document.get("source") or {}).get("file")
        which.append((document["_id"], f"from {origin}" if origin else "no settings"))
    if which:
        text = (
            f"{len(which)} labels do not say with which settings they were computed: whether they belong to "
            "the others nobody can check"
        )
        ids = [one for one, _ in which]
        command = display(ids, ("campaign", "code", "settings_hash", "source.file"), "settings", found.words)
        yield Problem("settings", Severity.WARN, text, tuple(which), command)
