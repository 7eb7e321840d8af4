"""What a job asks SLURM for, in the words of FireWorks' queue adapters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from alpw.config.resource import ResourceBlock

KEYS = {
    "nodes": "number_node",
    "ntasks_per_node": "cpu_per_node",
    "walltime": "walltime",
    "mem": "memory",
    "exclude_nodes": "exclude_nodes",
}
"""Key of a queue adapter -> key of a block."""


def request(block: ResourceBlock) -> dict[str, Any]:
    """What every job of a block asks for; None where the cluster's own default holds."""
    asked = {key: getattr(block, name) for key, name in KEYS.items()}
    cards = ":".join(filter(None, ["gpu", block.gpu_type, str(block.gpu_per_node)]))
    return {**asked, "gres": cards if block.gpu_per_node else None}


def request_for(block: ResourceBlock, sizes: Iterable[int]) -> dict[str, Any]:
    """What a job asks for in place of what its block says: the ``_queueadapter`` of a Firework's spec.

    Args:
        block: with its rules by size.
        sizes: numbers of atoms of the structures of the Firework.
    """
    usual, wanted = request(block), request(block.sized(max(sizes, default=0)))
    return {key: value for key, value in wanted.items() if value != usual[key]}


def granted(block: ResourceBlock, asked: Mapping[str, Any]) -> ResourceBlock:
    """A block as it holds for a Firework with a ``_queueadapter`` of its own."""
    return block.model_copy(update={name: asked[key] for key, name in KEYS.items() if key in asked})
