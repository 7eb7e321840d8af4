"""Lines of ``custom_flags``: options of sbatch, but for those that a key or ALPW itself sets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from alpw.config.amounts import asked_duration, duration

PREFIX = "#SBATCH"

OURS = {
    "--time": "walltime",
    "--mem": "memory",
    "--nodes": "number_node",
    "--ntasks-per-node": "cpu_per_node",
    "--partition": "queue_name",
    "--account": "account",
    "--exclude": "exclude_nodes",
    "--gres=gpu": "gpu_per_node",
    "--array": None,
    "--job-name": None,
    "--output": None,
    "--error": None,
    "--chdir": None,
    "--requeue": None,
    "--parsable": None,
    "--wait": None,
    "--test-only": None,
}
"""Option -> the key of the block that sets it; None: how jobs are submitted is ALPW's."""

SHORT = {
    "-t": "--time",
    "-N": "--nodes",
    "-p": "--partition",
    "-A": "--account",
    "-x": "--exclude",
    "-a": "--array",
    "-J": "--job-name",
    "-o": "--output",
    "-e": "--error",
    "-D": "--chdir",
    "-W": "--wait",
}


NOT_YOURS = "how a job is submitted is ALPW's"


class Option(NamedTuple):
    """An option of sbatch as it was written, its full name, and its value."""

    written: str
    name: str
    value: str


def directive(line: str) -> str:
    """A line of ``custom_flags`` as sbatch reads it, whether it was written with ``#SBATCH`` or not."""
    return f"{PREFIX} {_said(line)}"


def options(line: str) -> Iterator[Option]:
    """The options of a line.

    Raises:
        ValueError: a quote that is not closed.
    """
    words = shlex.split(_said(line), comments=True)
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word.startswith("--"):
            written, equals, value = word.partition("=")
        elif word.startswith("-"):
            written, equals, value = word[:2], word[2:], word[2:].removeprefix("=")
        else:
            continue
        if not equals and not following.startswith("-"):
            value = following
        name = SHORT.get(written, written)
        # Other generic resources than cards are the user's.
        name = "--gres=gpu" if name == "--gres" and "gpu" in value else name
        yield Option(written, name, value)


def is_comment(line: str) -> bool:
    """Whether a line says nothing to sbatch: it is empty, or a comment."""
    said = line.strip()
    return not said or (said.startswith("#") and not said.startswith(PREFIX))


def fault(line: str, block: Mapping[str, Any]) -> str | None:
    """Why a line cannot stand in a job script, and what to write; None if it can.

    Args:
        line: of ``custom_flags``.
        block: the other keys.
    """
    try:
        found = list(options(line))
    except ValueError:
        return f"{line!r} has a quote that is not closed"
    if not _said(line).startswith("-"):
        return f"{line!r} is no option of sbatch; one begins with '-', e.g. --exclusive"
    for option in found:
        key = OURS.get(option.name)
        if key is None and option.name in OURS:
            return f"{option.written}: {NOT_YOURS}"
        said = _value(option) if key else {}
        if said is None:
            return f"{option.written} {option.value} is not understood; write it as {key}"
        for name, value in said.items():
            if block.get(name) != value:
                return f"{option.written} asks for {name} {value}, {name} is {block.get(name)}; leave one out"
    return None


def _said(line: str) -> str:
    return line.strip().removeprefix(PREFIX).strip()


def take_flags(block: dict[str, Any]) -> list[tuple[str, str]]:
    """Move flags that a block of resource.json has keys for to these keys, and drop those that ALPW sets.

    The predecessor has no keys for them. A flag stays, and the check of the block names it, if its value is
    not understood, or if its key says something else.

    Args:
        block: in our words; changed in place.

    Returns:
        Each such flag as it was written, and the key that says it now; an empty one where it is dropped.
        Comments go without a word.
    """
    given = block.get("custom_flags")
    lines: list[Any] = given if isinstance(given, list) else [given]
    if not all(isinstance(line, str) for line in lines):
        return []
    kept: list[str] = []
    moved: list[tuple[str, str]] = []
    wrong = False
    for line in lines:
        try:
            found = list(options(line))
        except ValueError:
            found = []
        values = {option: _value(option) for option in found if option.name in OURS}
        said = [item for value in values.values() for item in (value or {}).items()]
        # Of several lines in one, which is an error, nothing may be lost.
        whole = len(line.splitlines()) > 1 or None in values.values()
        if whole or any(block.get(key, value) != value for key, value in said):
            kept.append(line)
            wrong = True
            continue
        block.update(said)
        moved += [(option.written, OURS[option.name] or "") for option in values]
        if not values and not is_comment(line):
            kept.append(line)
        else:
            # One line for each, so that an error counts them as they are written.
            kept.append(" ".join(_again(option) for option in found if option not in values))
    block["custom_flags"] = kept if wrong else [line for line in kept if line]
    return moved


def take_all_flags(content: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """`take_flags` of every block of resource.json: the block, the flag as it was written, and its key."""
    for name, block in content.items():
        for flag, key in take_flags(block) if isinstance(block, dict) else ():
            yield name, flag, key


def flag_text(flag: str, key: str) -> str:
    """What to note of a flag that was moved or dropped."""
    return f"{flag} is taken for {key}" if key else f"{flag} is left out: {NOT_YOURS}"


def _value(option: Option) -> dict[str, Any] | None:
    """What a flag says, in our keys; None if that is not understood."""
    key, value = OURS[option.name], option.value
    if key is None:
        return {}
    if key == "walltime":
        limit = asked_duration(value)
        return {key: duration(limit)} if limit else None
    if key == "memory":
        size = re.fullmatch(r"(\d+)([KMGT]?)B?", value.upper())
        return {key: size[1] + size[2]} if size else None
    if key == "gpu_per_node":
        card = re.fullmatch(r"gpu(?::([A-Za-z][\w.-]*))?(?::(\d+))?", value)
        return ({key: int(card[2] or 1)} | ({"gpu_type": card[1]} if card[1] else {})) if card else None
    if key in ("number_node", "cpu_per_node"):
        return {key: int(value)} if value.isdigit() else None
    if key == "exclude_nodes" and "/" in value:
        # The name of a file with nodes: none could be added to it.
        return None
    return {key: value} if value else None


def _again(option: Option) -> str:
    """A flag that shared its line with one that was moved."""
    between = ("=" if option.written.startswith("--") else " ") if option.value else ""
    return option.written + between + option.value
