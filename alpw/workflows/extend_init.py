"""Which changes of init_param.json a campaign can take while it lives: what is there keeps its meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ase import Atoms

from alpw.config import InitBulk, StartConfig
from alpw.errors import InputError
from alpw.structures.hash import structure_hash

FREE = frozenset(
    {"config", "format", "files", "relax_input_idx", "aimd_input_idx", "bigmodel_input_idx", "scf_input_idx"}
)
"""Keys of an entry that may change: names of files, and control files that are mended."""

GROWING: dict[str, Callable[[Any, Any], bool]] = {
    "scale": lambda before, after: bool(before) and set(before) <= set(after),
    "perturb": lambda before, after: 0 < before <= after,
    "direct_max_num": lambda before, after: before <= after,
}
"""Keys that may grow: the structures that are there stay, and stay what calculations start from."""

FIXED = ("seed", "interval", "train_valid_ratio", "scf_style")
"""Keys of the whole file that may not change."""


def check_extension(before: InitBulk, were: Sequence[Atoms], after: InitBulk, are: Sequence[Atoms]) -> None:
    """See that new inputs only add to what old ones have made.

    Args:
        before: the old inputs.
        were: their start structures.
        after: the new inputs.
        are: their start structures.

    Raises:
        InputError: names the key that would give another meaning to what is there.
    """
    for key in FIXED:
        if getattr(before, key) != getattr(after, key):
            text = f"was {getattr(before, key)!r} when what is there was made; name another campaign"
            raise InputError(text, after.file, key)
    advice = "name another campaign, or put new structures behind the old ones"
    if len(are) < len(were):
        raise InputError(
            f"{len(are)} structures where there were {len(were)}; {advice}", after.file, "sys_configs"
        )
    for index, (old, new) in enumerate(zip(were, are, strict=False)):
        key = f"sys_configs[{after.starts[index].entry}]"
        if structure_hash(old) != structure_hash(new):
            raise InputError(f"is another structure than before; {advice}", after.file, key)
        if changed := _changed(before, after, index):
            text = f"{', '.join(changed)} changed: what is there was made otherwise; name another campaign"
            raise InputError(text, after.file, key)


def _changed(before: InitBulk, after: InitBulk, index: int) -> list[str]:
    """What of a start structure's entry is not the same and may not change."""
    old, new = before.entry(index), after.entry(index)
    keys = StartConfig.model_fields.keys() - FREE - {"relax", "aimd"}
    found = [
        key
        for key in keys
        if getattr(old, key) != getattr(new, key)
        and not (key in GROWING and GROWING[key](getattr(old, key), getattr(new, key)))
    ]
    # What an entry leaves open is decided by the rest of the file.
    if before.relaxes(old) != after.relaxes(new):
        found.append("relax")
    if before.runs_aimd(old) and not after.runs_aimd(new):
        found.append("aimd")
    if not {name for name, _ in before.runs_of(old)} <= {name for name, _ in after.runs_of(new)}:
        found.append("temps")
    dynamics = before.dynamics_of(old), after.dynamics_of(new)
    if all(dynamics) and dynamics[0].discard != dynamics[1].discard:  # type: ignore[union-attr]
        found.append("discard")
    return sorted(found)
