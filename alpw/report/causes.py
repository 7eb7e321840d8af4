"""Why a Firework is as it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fireworks import LaunchPad

from alpw.cluster.locks import CHECKED_OUT
from alpw.cluster.queue.ends import RULES, End, Remedy
from alpw.codes.failures import REMEDIES, SYSTEM_PATTERNS, match
from alpw.database.secrets import without_secrets
from alpw.errors import FailureKind
from alpw.report.diagnosis import SHOWN

#: State of a Firework -> what it means when nothing is wrong with it.
STATES = {
    "WAITING": "it waits for what it depends on",
    "READY": "it waits for a worker, or for a launcher that submits it",
    "RESERVED": "its job waits in the queue",
    "RUNNING": "it is running",
    "COMPLETED": "it has ended well",
    "PAUSED": "it is held; `alpw resume` with the campaign's name lets it go on",
    "DEFUSED": "somebody has called it off; `alpw resume` with the campaign's name lets it go on",
    "ARCHIVED": "others have taken its place",
    "FIZZLED": "it failed",
}


@dataclass(frozen=True)
class Cause:
    """A class of causes, what was said, and what to do; the class ``state`` is that of a healthy Firework."""

    kind: str
    message: str
    advice: str = ""


def causes(
    launchpad: LaunchPad,
    firework: dict[str, Any],
    launches: list[dict[str, Any]],
    events: dict[int, dict[str, Any]],
    documents: list[dict[str, Any]],
) -> Iterator[Cause]:
    """Why a Firework is in its state, the nearest cause first.

    Args:
        launchpad: the LaunchPad.
        firework: its document.
        launches: its launches, oldest first.
        events: ends of its jobs, by launch (`alpw.database.queue_events`).
        documents: its calculations, with their ``error``.
    """
    last = launches[-1] if launches else {}
    event = events.get(last["launch_id"]) if last else None
    if event:
        yield Cause(event["end"], event["reason"], RULES[End(event["end"])].advice)
    if firework["state"] == "FIZZLED" and not (event and event["remedy"] == Remedy.FAIL.value):
        yield from _exception(last, event["reason"] if event else None)
    for document in [each for each in documents if each.get("error")][:SHOWN]:
        kind = FailureKind(document["error"]["kind"])
        yield Cause(kind.value, without_secrets(document["error"]["diagnosis"]), REMEDIES[kind].advice)
    meaning = STATES.get(firework["state"], "")
    if firework["state"] == "WAITING":
        meaning += _parents(launchpad, firework["fw_id"])
    elif firework["state"] in CHECKED_OUT and last and last["state"] not in CHECKED_OUT:
        meaning = (
            f"its launch has ended, {last['state']}, and its workflow does not know: whoever supervises the "
            "campaign, or `alpw reconcile`, tells it"
        )
    yield Cause("state", meaning)


def _exception(launch: dict[str, Any], told: str | None) -> Iterator[Cause]:
    """What a Firetask raised, unless it is what has been told of its job."""
    stored = ((launch.get("action") or {}).get("stored_data") or {}).get("_exception") or {}
    trace = (stored.get("_stacktrace") or "").strip()
    if trace and trace != told:
        found = match(trace, SYSTEM_PATTERNS)
        kind = found[0].kind if found else FailureKind.UNKNOWN
        advice = f"{REMEDIES[kind].advice}; the campaign's `alpw run` once more tries again what failed"
        yield Cause(kind.value, without_secrets(trace.splitlines()[-1]), advice)


def _parents(launchpad: LaunchPad, fw_id: int) -> str:
    """What a Firework waits for."""
    workflow = launchpad.workflows.find_one({"nodes": fw_id}, {"links": 1, "fw_states": 1})
    if workflow is None:
        return ""
    parents = [parent for parent, children in workflow["links"].items() if fw_id in children]
    states = {parent: workflow["fw_states"][parent] for parent in parents}
    waits = [f"{parent} {state}" for parent, state in states.items() if state != "COMPLETED"]
    return f": {', '.join(waits[:10])}" if waits else ""
