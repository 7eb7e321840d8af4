"""Where init_bulk behaves otherwise than the predecessor, and why: notes on what an input file asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from alpw.config.section import Loc, Problem

if TYPE_CHECKING:
    from alpw.config.init_bulk import InitBulk

Asked = Callable[["InitBulk"], bool]


def _any(key: str) -> Asked:
    return lambda init: any(bool(getattr(entry, key)) for entry in init.sys_configs)


def _unsaid(key: str) -> Asked:
    return lambda init: any(key not in entry.model_fields_set for entry in init.sys_configs)


def _symmetry_unsaid(init: InitBulk) -> bool:
    controls = [*init.relax_input, *init.aimd_input]
    return init.dft.dft_style == "pwmat" and any(control.flag_symm is None for control in controls)


NOTES: tuple[tuple[Loc, Asked, str], ...] = (
    (
        ("interval",),
        lambda init: init.interval != 1,
        "one sampled frame in so many is taken; the predecessor accepts the key and takes them all",
    ),
    (
        ("train_valid_ratio",),
        lambda init: init.ratio < 1,
        "a hash of its structure decides for each frame, so that a frame stays where it is when others come; "
        "the predecessor shuffles and takes the first ceil(n x ratio)",
    ),
    (
        ("flag_symm",),
        _symmetry_unsaid,
        "not given: 0 for relaxations and 3, no symmetry, for AIMD, as the manual says and dynamics need; "
        "the predecessor's code has the two the other way round",
    ),
    (
        ("sys_configs", "relax"),
        _unsaid("relax"),
        "not given: true if there is a relax_input, as in AL-PWMLFF and its manual; PWact's code takes false",
    ),
    (
        ("sys_configs", "aimd"),
        _unsaid("aimd"),
        "not given: true if there is an aimd_input and no bigmodel, as in AL-PWMLFF and its manual; PWact's "
        "code takes false",
    ),
    (
        ("sys_configs", "perturb"),
        _unsaid("perturb"),
        "not given: no copies, as in PWact; AL-PWMLFF makes 3",
    ),
    (
        ("sys_configs", "perturb"),
        _any("perturb"),
        "symmetric strain and Gaussian displacements, as the predecessor computes, not as its manual says; "
        "seeded, and drawn again while atoms are too close",
    ),
    (
        ("sys_configs", "direct"),
        lambda init: any(entry.bigmodel and not entry.direct for entry in init.sys_configs),
        "false is heeded: all sampled frames are taken; the predecessor chooses whenever there is a bigmodel",
    ),
    (
        ("sys_configs", "direct"),
        _any("direct"),
        "frames are chosen structure by structure, farthest points first, on our own descriptor; the "
        "predecessor runs a script over the frames of all structures",
    ),
    (
        ("scf_max_num",),
        lambda init: init.scf_max_num is not None,
        "shared evenly between the structures with scf; the predecessor draws from all frames together",
    ),
)
"""place, whether an input is concerned, what is different and why"""


def notes(init: InitBulk) -> Iterator[Problem]:
    """The notes that concern an input file."""
    for loc, concerns, text in NOTES:
        if concerns(init):
            yield Problem(loc, f"compat: {text}")
