"""Names under which a stored record says how a committee's force deviation was computed; see `committee`."""

from __future__ import annotations

from typing import Literal, get_args

Definition = Literal["dpgen", "legacy"]
DEFINITIONS: tuple[Definition, ...] = get_args(Definition)
"""The choices."""
