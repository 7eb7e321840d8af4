"""Whether a frame is worth a label: the user's own limits beside what no matter can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ase import Atoms
from ase.neighborlist import neighbor_list

from alpw.sampling.select import CLOSE, FORCE, UNPHYSICAL, VOLUME
from alpw.structures.sanity import defect


@dataclass(frozen=True)
class Limits:
    """What a frame must keep to be labelled.

    Attributes:
        min_distance: smallest distance in Å by pair of elements, ``{"Si-O": 1.2}``, in either order.
        volume_range: smallest and largest volume per atom in Å^3.
        max_force: largest force on an atom in eV/Å that the model may give.
    """

    min_distance: Mapping[str, float] = field(default_factory=dict)
    volume_range: Sequence[float] | None = None
    max_force: float | None = None

    def broken(self, atoms: Atoms, force: float | None = None) -> str | None:
        """Which limit a structure does not keep, as `alpw.sampling.select.DECISIONS` has it; or None.

        Args:
            atoms: the structure.
            force: largest force on an atom, in eV/Å; None if it is not known, which breaks no limit.
        """
        if defect(atoms) is not None:
            return UNPHYSICAL
        cutoffs = {tuple(pair.split("-")): distance for pair, distance in self.min_distance.items()}
        if cutoffs and len(neighbor_list("d", atoms, cutoffs)):
            return CLOSE
        if self.volume_range is not None:
            lowest, highest = self.volume_range
            if not lowest <= atoms.get_volume() / len(atoms) <= highest:
                return VOLUME
        # Written so that a force which is not a number is too large.
        if self.max_force is not None and force is not None and not force <= self.max_force:
            return FORCE
        return None
