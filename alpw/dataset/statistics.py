"""How many of what a data set has, and in which range its numbers are."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
import numpy as np

from alpw.database.configurations import State
from alpw.database.reading import by_ids
from alpw.dataset.dataset import Dataset, value
from alpw.dataset.split import ORIGINS

COUNTED = (
    "state",
    "role",
    "campaign",
    "iteration",
    "chemical_system",
    "formula",
    "code",
    "settings_hash",
    "error.kind",
)
"""fields of which the values are counted"""

Document = Mapping[str, Any]


def _volume_per_atom(document: Document) -> float | None:
    volume = document.get("volume")
    return None if volume is None else float(volume) / int(document["n_atoms"])


MEASURED: dict[str, tuple[str, Callable[[Document], float | None]]] = {
    "energy_per_atom": ("eV", lambda document: document.get("energy_per_atom")),
    "max_force": ("eV/Å", lambda document: document.get("max_force")),
    "volume_per_atom": ("Å^3", _volume_per_atom),
    "density": ("g/cm^3", lambda document: document.get("density")),
    "pressure": ("GPa", lambda document: document.get("pressure")),
    "temperature": ("K", lambda document: value(document, "source.temperature")),
    "n_atoms": ("", lambda document: document.get("n_atoms")),
}
"""quantity -> unit, and its value in a document; None if it does not apply"""

FIELDS = dict.fromkeys(
    (
        *COUNTED,
        *(f"source.{name}" for name in (*ORIGINS, "temperature")),
        *("energy_per_atom", "max_force", "volume", "n_atoms", "density", "pressure"),
    ),
    1,
)

SAMPLE = 200
"""documents of which the size is measured"""


@dataclass
class Tally:
    """What has been counted: a number per quantity and frame stays in memory.

    Attributes:
        n: configurations.
        counts: field -> value -> how many.
        origins: trajectory, calculation or file -> ids or names of those that frames are from.
        numbers: quantity -> finite values.
    """

    n: int = 0
    counts: dict[str, Counter[Any]] = field(default_factory=lambda: {name: Counter() for name in COUNTED})
    origins: dict[str, set[Any]] = field(default_factory=lambda: {name: set() for name in ORIGINS})
    numbers: dict[str, array[float]] = field(default_factory=lambda: {name: array("d") for name in MEASURED})

    def add(self, document: Document) -> None:
        """Count one."""
        self.n += 1
        for name, counter in self.counts.items():
            found = value(document, name)
            if found is not None:
                counter[found] += 1
        for name, origins in self.origins.items():
            if (found := value(document, f"source.{name}")) is not None:
                origins.add(found)
        for name, (_, of) in MEASURED.items():
            number = of(document)
            if number is not None and np.isfinite(number):
                self.numbers[name].append(number)

    def facts(self) -> dict[str, Any]:
        """What was counted, the most frequent value first; ranges are (least, median, largest)."""
        return {
            "configurations": self.n,
            "labelled": self.counts["state"][State.LABELLED.value],
            "counts": {name: dict(counter.most_common()) for name, counter in self.counts.items() if counter},
            "origins": {name: len(found) for name, found in self.origins.items() if found},
            "ranges": {
                name: {"min": min(numbers), "median": float(np.median(numbers)), "max": max(numbers)}
                for name, numbers in self.numbers.items()
                if numbers
            },
        }


def statistics(
    dataset: Dataset, by: Sequence[str] = (), progress: Callable[[int], object] = lambda done: None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Statistics of a data set, and of its groups.

    Args:
        dataset: of which.
        by: fields whose values make a group.
        progress: told how many documents have been counted.

    Returns:
        `Tally.facts` of all, with ``bytes_per_configuration``, the mean of up to `SAMPLE` whole documents as
        BSON; the same of each group, with its ``group``, field -> value, the largest group first.
    """
    whole, groups, ids = Tally(), dict[tuple[Any, ...], Tally](), []
    for document in dataset.documents(FIELDS | dict.fromkeys(by, 1)):
        ids.append(document["_id"])
        whole.add(document)
        if by:
            groups.setdefault(tuple(_key(value(document, name)) for name in by), Tally()).add(document)
        if whole.n % 1000 == 0:
            progress(whole.n)
    sample = ids[:: -(-len(ids) // SAMPLE)] if ids else []
    sizes = [len(bson.encode(document)) for document in by_ids(dataset.db, sample)]
    size = {"bytes_per_configuration": round(sum(sizes) / len(sizes))} if sizes else {}
    ordered = sorted(groups.items(), key=lambda item: -item[1].n)
    return whole.facts() | size, [
        {"group": dict(zip(by, key, strict=True)), **tally.facts()} for key, tally in ordered
    ]


def _key(found: Any) -> Any:
    return tuple(found) if isinstance(found, list) else found
