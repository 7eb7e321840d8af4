"""Whose input file it is, by its content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alpw.config.resource import BLOCKS
from alpw.legacy.dpgen_keys import RECOGNISED

PARAM, RESOURCE, INIT = "param.json", "resource.json", "init_param.json"

_BLOCK_KEYS = frozenset(
    {"command", "group_size", "queue_name", "number_node", "cpu_per_node", "gpu_per_node"}
)
_MACHINE_KEYS = frozenset({"model_devi", "fp", "fp_machine", "model_devi_machine", "train_machine"})


def recognise_input(raw: Mapping[str, Any]) -> tuple[str, str] | None:
    """Whose input file a parsed JSON file is, and which of ours becomes of it; None for another."""
    content = {key.lower(): value for key, value in raw.items()}
    if len(RECOGNISED & content.keys()) > 1:
        return "dpgen", PARAM
    if _MACHINE_KEYS & content.keys():
        return "dpgen", RESOURCE
    if {"strategy", "explore"} & {key for key in content if _is_input(content[key])}:
        return "pwact", PARAM
    if isinstance(content.get("sys_configs"), list | dict):
        return "pwact", INIT
    blocks = [value for key, value in content.items() if key in BLOCKS and isinstance(value, dict)]
    if any(_BLOCK_KEYS & {key.lower() for key in block} for block in blocks):
        return "pwact", RESOURCE
    return None


def _is_input(block: Any) -> bool:
    """Whether a block is of param.json and not one of resource.json by the same name."""
    return isinstance(block, dict) and not _BLOCK_KEYS & {key.lower() for key in block}
