"""Names under which a stored record says how its force deviation was computed; see `committee` and `kpu`."""

from __future__ import annotations

from typing import Literal, get_args

Definition = Literal["dpgen", "legacy"]
DEFINITIONS: tuple[Definition, ...] = get_args(Definition)
"""Of the deviation of a committee."""

KPU = "kpu"
"""In the same place when one model and draws of its weights gave the numbers."""
