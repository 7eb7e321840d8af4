"""Operations that make one structure of another, written down as documents.

An operation is a dictionary of its name, of what the function behind it takes and, if it draws, of its
seed: ``{"operation": "scale", "factor": 0.9, "by": "length"}``. Carried out again on the same structure it
makes the same structure, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ase import Atoms

from alpw.errors import InputError
from alpw.structures.defects import remove_atoms, swap_atoms
from alpw.structures.perturb import perturb, scale, supercell


def _slab(atoms: Atoms, **settings: Any) -> Atoms:
    # Imported when a slab is cut, because nothing else needs pymatgen, which takes a second.
    from alpw.structures.slab import cut_slab

    return cut_slab(atoms, **settings)


DETERMINISTIC: dict[str, Callable[..., Atoms]] = {"slab": _slab, "super_cell": supercell, "scale": scale}
"""operation -> function of a structure and the operation's settings"""

DRAWN: dict[str, Callable[..., Atoms]] = {"swap": swap_atoms, "vacancy": remove_atoms, "perturb": perturb}
"""operation -> function of a structure, a random generator and the operation's settings"""

# Say which operation it is, not how it is done.
_NAMES = ("operation", "index", "seed")


def carry_out(atoms: Atoms, operation: Mapping[str, Any]) -> Atoms:
    """The structure that an operation makes.

    Args:
        atoms: the structure that it acts on, which stays as it is.
        operation: its name (``operation``), its ``seed`` if it draws, and its settings; an ``index`` only
            numbers copies.

    Raises:
        InputError: no operation has this name, or it cannot be done on this structure.
    """
    name = operation["operation"]
    settings = {key: value for key, value in operation.items() if key not in _NAMES}
    if name in DRAWN:
        return DRAWN[name](atoms, np.random.default_rng(operation["seed"]), **settings)
    if name in DETERMINISTIC:
        return DETERMINISTIC[name](atoms, **settings)
    raise InputError(f"{name!r} is no operation; known are {', '.join([*DETERMINISTIC, *DRAWN])}")
