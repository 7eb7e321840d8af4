"""Pictures of a data set: energy and volume, forces, composition, and where its frames lie."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase.data import chemical_symbols
from bson import ObjectId
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from alpw.database.arrays import decode
from alpw.database.configurations import Role, State
from alpw.database.documents import atoms_of
from alpw.database.reading import by_ids
from alpw.dataset.dataset import Dataset
from alpw.dataset.descriptors import described, elements_of, principal
from alpw.errors import AlpwError
from alpw.report.dataset_colours import COLOURS, FIELDS, above_lowest, reduced, scatter
from alpw.report.style import GREY, PALETTE, drawing, logarithmic

MOST = 20_000
"""frames of a picture; of more, every so many-th is drawn"""
MOST_ON_MAP = 5_000
"""frames of which features are computed, some milliseconds each"""

MOST_BARS = 20
BINS_PER_DECADE = 15
DECADES = (-4, 4)
"""of eV/Å; what is beyond is in the first or the last bin"""

Progress = Callable[[int], object]
Floats = NDArray[np.float64]


class Picture(NamedTuple):
    """What a picture shows, and where it goes.

    Attributes:
        dataset: of which.
        file: to write, with one of `alpw.report.style.SUFFIXES`.
        colour: one of `COLOURS`, for those kinds that have coloured points.
        title: what the data set is called.
        dpi: dots per inch.
        progress: told how many frames have been seen to.
    """

    dataset: Dataset
    file: Path
    colour: str
    title: str
    dpi: int
    progress: Progress


def draw_energies(picture: Picture) -> None:
    """Energy per atom against volume per atom; of several compositions, above the lowest of each."""
    ids, note = _sampled(picture.dataset.labelled.where({"volume": {"$exists": True}}), MOST, "with a volume")
    fields = FIELDS | {"volume": 1, "n_atoms": 1}
    documents = list(by_ids(picture.dataset.db, ids, fields))
    volumes = np.array([document["volume"] / document["n_atoms"] for document in documents])
    several = len({reduced(document["formula"]) for document in documents}) > 1
    energies = above_lowest(documents)
    if not several:
        energies = np.array([document["energy_per_atom"] for document in documents])
    with drawing(picture.file, 7.0, 4.4, _title(picture, note), picture.dpi) as figure:
        axes = figure.subplots()
        scatter(figure, axes, volumes, energies, COLOURS[picture.colour](documents))
        what = "energy above its composition's lowest" if several else "energy"
        axes.set(xlabel="volume per atom (Å$^3$)", ylabel=f"{what} (eV/atom)")
        axes.ticklabel_format(useOffset=False)
        axes.grid(alpha=0.2)


def draw_forces(picture: Picture) -> None:
    """How many atoms feel which force, by element, on logarithmic axes."""
    ids, note = _sampled(picture.dataset.labelled, MOST)
    edges = np.logspace(*DECADES, (DECADES[1] - DECADES[0]) * BINS_PER_DECADE + 1)
    counts: dict[int, NDArray[np.int64]] = defaultdict(lambda: np.zeros(len(edges) - 1, dtype=np.int64))
    for k, document in enumerate(by_ids(picture.dataset.db, ids)):
        numbers = decode(document["structure"]["numbers"])
        forces = np.linalg.norm(decode(document["forces"]), axis=1)
        for number in np.unique(numbers).tolist():
            inside = np.clip(forces[numbers == number], edges[0], edges[-1])
            counts[number] += np.histogram(inside, edges)[0]
        if k % 100 == 0:
            picture.progress(k)
    occupied = np.flatnonzero(sum(counts.values()))
    # An empty bin at either side closes the steps.
    shown = slice(max(occupied[0] - 1, 0), min(occupied[-1] + 2, len(edges) - 1))
    with drawing(picture.file, 6.4, 4.0, _title(picture, note), picture.dpi) as figure:
        axes = figure.subplots()
        order = sorted(counts, key=lambda number: -counts[number].sum())
        for k, number in enumerate(order):
            colour, line = PALETTE[k % len(PALETTE)], ("-", "--", ":")[k // len(PALETTE) % 3]
            label = f"{chemical_symbols[number]} ({counts[number].sum():,})"
            axes.stairs(
                counts[number][shown],
                edges[shown.start : shown.stop + 1],
                color=colour,
                linestyle=line,
                label=label,
                linewidth=1.6,
            )
        axes.set(
            xscale="log", yscale="log", xlabel="force on an atom (eV/Å)", ylabel="atoms", ylim=(0.7, None)
        )
        axes.set_xlim(edges[shown.start], edges[shown.stop])
        logarithmic(axes.xaxis, axes.yaxis)
        axes.grid(alpha=0.2)
        figure.legend(title="element (atoms)", frameon=False, fontsize=9, loc="outside right upper")


def draw_compositions(picture: Picture) -> None:
    """How many configurations there are of each composition, and what they are for."""
    kinds = {"training": PALETTE[0], "validation": PALETTE[4], "no label": GREY}
    found: dict[str, Counter[str]] = defaultdict(Counter)
    fields = {"formula": 1, "role": 1, "state": 1}
    n = 0
    for document in picture.dataset.documents(fields):
        n += 1
        found[reduced(document["formula"])][_kind(document)] += 1
    if not n:
        raise AlpwError("no configuration matches; there is nothing to draw")
    order = sorted(found, key=lambda name: (-found[name].total(), name))
    if len(order) > MOST_BARS:
        rest = sum((found[name] for name in order[MOST_BARS - 1 :]), Counter())
        order = order[: MOST_BARS - 1]
        found, order = {**found, "others": rest}, [*order, "others"]
    with drawing(
        picture.file,
        6.4,
        1.4 + 0.28 * max(len(order), 3),
        _title(picture, f"{n:,} configurations"),
        picture.dpi,
    ) as figure:
        axes = figure.subplots()
        left = np.zeros(len(order))
        for kind, colour in kinds.items():
            widths = np.array([found[name][kind] for name in order], dtype=float)
            if widths.any():
                axes.barh(order, widths, left=left, color=colour, label=kind, height=0.7)
            left += widths
        for place, total in enumerate(left):
            axes.annotate(
                f"{total:.0f}", (total, place), (3, 0), textcoords="offset points", va="center", size=8
            )
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.set_ylim(max(len(order), 3) - 0.5, -0.5)
        axes.set(xlabel="configurations")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        figure.legend(frameon=False, fontsize=9, ncols=3, loc="outside lower center")


def _kind(document: Mapping[str, Any]) -> str:
    state = document["state"]
    if state not in (State.LABELLED.value, State.REMOVED.value):
        return "no label"
    return "validation" if document["role"] == Role.VALIDATION.value else "training"


def draw_map(picture: Picture) -> None:
    """Frames as points, near to each other where their environments are alike.

    The two leading principal components of `alpw.potential.features`, each feature on its own scale.
    """
    # Late: torch takes seconds to import.
    from alpw.potential.features import reference_model
    from alpw.sampling.farthest import standardise

    ids, note = _sampled(picture.dataset, MOST_ON_MAP)
    documents = {document["_id"]: document for document in by_ids(picture.dataset.db, ids, FIELDS)}
    model = reference_model(elements_of([document["formula"] for document in documents.values()]))
    structures = ((document["_id"], atoms_of(document)) for document in by_ids(picture.dataset.db, ids))
    names: list[ObjectId] = []
    parts: list[Floats] = []
    for chunk, features in described(model, structures, picture.progress):
        names += chunk
        parts.append(features)
    if not parts:
        raise AlpwError("the atoms of every frame are in each other; `alpw dataset health` shows them")
    if left := len(ids) - len(names):
        note += f", {left} left out: atoms in each other"
    coordinates, shares = principal(standardise(np.concatenate(parts)), 2)
    # One frame, or copies of one, span no plane.
    missing = 2 - coordinates.shape[1]
    x, y = np.pad(coordinates, ((0, 0), (0, missing))).T
    explained = [*(100 * shares).tolist(), 0.0]
    with drawing(picture.file, 7.0, 5.0, _title(picture, note), picture.dpi) as figure:
        axes = figure.subplots()
        scatter(figure, axes, x, y, COLOURS[picture.colour]([documents[name] for name in names]))
        axes.set(
            xlabel=f"principal component 1 ({explained[0]:.0f} % of the variance)",
            ylabel=f"principal component 2 ({explained[1]:.0f} %)",
        )
        axes.grid(alpha=0.2)


class Kind(NamedTuple):
    """A kind of picture: who draws it, and by what its points are coloured if nothing is said."""

    draw: Callable[[Picture], None]
    colour: str | None


KINDS: dict[str, Kind] = {
    "energy-volume": Kind(draw_energies, "composition"),
    "forces": Kind(draw_forces, None),
    "composition": Kind(draw_compositions, None),
    "map": Kind(draw_map, "iteration"),
}
"""What ``--kind`` takes."""


def _sampled(dataset: Dataset, most: int, which: str = "that matches") -> tuple[list[ObjectId], str]:
    """Ids of up to so many frames, evenly among all, and what the title says of it.

    Raises:
        AlpwError: there are none.
    """
    ids = dataset.ids()
    if not ids:
        raise AlpwError(f"there is no frame {which}; there is nothing to draw")
    if len(ids) <= most:
        return ids, f"{len(ids):,} frames" if len(ids) > 1 else "1 frame"
    places = np.linspace(0, len(ids) - 1, most).round().astype(int)
    return [ids[place] for place in places], f"{most:,} of {len(ids):,} frames"


def _title(picture: Picture, note: str) -> str:
    return f"{picture.title}: {note}" if picture.title else note
