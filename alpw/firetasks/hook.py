"""Call a function of the user's between two stages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

from bson import encode
from bson.errors import BSONError
from fireworks import FWAction, explicit_serialize

from alpw import hooks
from alpw.config.param import Hook
from alpw.database import campaigns
from alpw.errors import AlpwError
from alpw.firetasks.base import CampaignTask, Context

IDENTITY = ("after", "function", "arguments")
"""What makes an entry of ``hooks`` the one that was called: its place in the list may be another's by now."""


def called(iteration: dict[str, Any], entries: Sequence[Hook]) -> set[int]:
    """Indices of the entries of ``hooks`` that an iteration has called, as they are now."""
    found = set()
    for key, record in iteration.get("hooks", {}).items():
        index = int(key)
        if index < len(entries) and all(getattr(entries[index], name) == record[name] for name in IDENTITY):
            found.add(index)
    return found


@explicit_serialize
class CallHook(CampaignTask):
    """Call one entry of ``hooks`` and keep what it returns with the iteration, once.

    A function that raises fizzles its Firework, which is tried again like any other.

    Required parameters:
        hook: index of the entry.
    """

    required_params: ClassVar = ["hook"]

    def work(self, context: Context) -> FWAction:
        """Import, call, record."""
        entries = context.param.hooks
        # Changed inputs of a campaign that had stalled may have fewer entries than its Fireworks know.
        if self["hook"] >= len(entries) or self["hook"] in called(context.iteration, entries):
            return FWAction()
        hook, key = entries[self["hook"]], str(self["hook"])
        directory = context.directory("hooks", f"{key}.{hook.function}")
        stage = hooks.Stage(context.campaign, context.index, hook.after, directory, context.db, context.param)
        started = time.monotonic()
        returned = hooks.load(context.param, self["hook"])(stage, **hook.arguments)
        record: dict[str, Any] = {
            "after": hook.after,
            "function": hook.function,
            "arguments": hook.arguments,
            "returned": returned,
            "wall_time": time.monotonic() - started,
            "finished": campaigns.now(),
        }
        try:
            encode(record)
        except BSONError as error:
            text = f"{hook.function} returned {type(returned).__name__}, which cannot be stored: {error}"
            raise AlpwError(text) from error
        context.record(**{f"hooks.{key}": record})
        return FWAction()
