"""Flags of sbatch in another program's block that are keys of ours."""

from __future__ import annotations

import re
from typing import Any

from alpw.config.flags import OURS, Option, options


def take_flags(block: dict[str, Any]) -> list[tuple[str, str]]:
    """Move flags that a block of resource.json has keys for to these keys, and drop those that ALPW sets.

    A flag whose value is not understood stays; the check of the new file names it.

    Args:
        block: in our words; changed in place.

    Returns:
        Each such flag as it was written, and the key that says it now; an empty one where it is dropped.
    """
    given = block.get("custom_flags")
    lines: list[Any] = given if isinstance(given, list) else [given]
    if not all(isinstance(line, str) for line in lines):
        return []
    kept, moved = [], []
    for line in lines:
        try:
            found = list(options(line))
        except ValueError:
            found = []
        values = {option: _value(option) for option in found if option.name in OURS}
        if not values or None in values.values():
            kept.append(line)
            continue
        for option, said in values.items():
            block.update(said or {})
            moved.append((option.written, OURS[option.name] or ""))
        kept += [_again(option) for option in found if option not in values]
    if moved:
        block["custom_flags"] = kept
    return moved


def flag_text(flag: str, key: str) -> str:
    """What to note of a flag that was moved or dropped."""
    return f"{flag} has a key of its own" if key else f"{flag} is left out: ALPW sets it for each job"


def _value(option: Option) -> dict[str, Any] | None:
    """What a flag says, in our keys; None if that is not understood."""
    key, value = OURS[option.name], option.value
    if key is None:
        return {}
    if key == "walltime":
        return _walltime(value)
    if key == "memory":
        size = re.fullmatch(r"(\d+)([KMGT]?)B?", value.upper())
        return {key: size[1] + size[2]} if size and int(size[1]) else None
    if key == "gpu_per_node":
        card = re.fullmatch(r"gpu(?::([A-Za-z][\w.-]*))?(?::(\d+))?", value)
        return ({key: int(card[2] or 1)} | ({"gpu_type": card[1]} if card[1] else {})) if card else None
    if key in ("number_node", "cpu_per_node"):
        return {key: int(value)} if value.isdigit() else None
    return {key: value} if value else None


def _walltime(value: str) -> dict[str, str] | None:
    """sbatch takes ``minutes[:seconds]``, ``hours:minutes:seconds``, ``days-hours[:minutes[:seconds]]``."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", value)
    if match is None:
        return None
    days, *clock = match.groups()
    numbers = [int(part) for part in clock if part]
    # Without days or hours the first number is minutes.
    numbers = numbers if days or len(numbers) == 3 else [0, *numbers]
    hours, minutes, rest = [*numbers, 0, 0][:3]
    total = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest
    whole, left = divmod(total, 86400)
    text = f"{left // 3600:02d}:{left // 60 % 60:02d}:{left % 60:02d}"
    return {"walltime": f"{whole}-{text}" if whole else text} if total else None


def _again(option: Option) -> str:
    """A flag that shared its line with one that was moved."""
    between = ("=" if option.written.startswith("--") else " ") if option.value else ""
    return option.written + between + option.value
