"""Compression: a model whose embedding nets are tables, and what that costs in accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii

from alpw.errors import InputError
from alpw.potential.model import DeepPotential
from alpw.potential.tables import TableOptions
from alpw.structures.frame import LabelledFrame


@dataclass(frozen=True)
class CompressionReport:
    """The largest differences between a compressed model and its parent.

    Attributes:
        spacing, order, shortest: of the tables, see `TableOptions`.
        n_tables: one for each kind of pair.
        n_nodes: of each table.
        size: of all tables in MB.
        n_frames: structures that were compared.
        from_user: whether they were given; otherwise they were random crystals of the model's elements.
        force_error: largest difference of a force component in eV/Å.
        energy_error: largest difference of an energy in eV/atom.
        virial_error: largest difference of a virial component in eV/atom.
    """

    spacing: float
    order: int
    shortest: float
    n_tables: int
    n_nodes: int
    size: float
    n_frames: int
    from_user: bool
    force_error: float
    energy_error: float
    virial_error: float


def compress(
    model: DeepPotential,
    *,
    spacing: float = TableOptions.spacing,
    order: int = TableOptions.order,
    shortest: float = TableOptions.shortest,
    frames: Sequence[Atoms | LabelledFrame] = (),
) -> tuple[DeepPotential, CompressionReport]:
    """Replace the embedding nets of a model by tables of Hermite polynomials.

    Args:
        model: to be compressed; it stays as it is. If it is compressed already, its parent is taken.
        spacing: of the nodes, in units of s~.
        order: of the polynomials, 5 or 3.
        shortest: distance in Å down to which the tables reach. Closer pairs are computed by the net.
        frames: structures on which the error is measured; random crystals if there are none.

    Returns:
        The compressed model, and its error.

    Raises:
        InputError: an impossible setting, or a frame with an unknown element.
    """
    options = TableOptions(spacing, order, shortest)
    parent = model.parent()
    if shortest >= model.config.rcut:
        raise InputError(f"found {shortest}; allowed: less than rcut = {model.config.rcut} Å", key="shortest")
    compressed = parent.tabulated(options)
    tables = compressed.tables
    assert tables is not None
    structures = [frame.atoms if isinstance(frame, LabelledFrame) else frame for frame in frames]
    errors = [_differences(parent, compressed, atoms) for atoms in structures or random_crystals(model)]
    energy, force, virial = np.max(errors, axis=0).tolist()
    report = CompressionReport(
        spacing=spacing,
        order=order,
        shortest=shortest,
        n_tables=compressed.descriptor.n_kinds,
        n_nodes=tables.n_intervals + 1,
        size=tables.rows.nbytes / 1e6,
        n_frames=len(errors),
        from_user=bool(structures),
        force_error=force,
        energy_error=energy,
        virial_error=virial,
    )
    return compressed, report


def _differences(
    parent: DeepPotential, compressed: DeepPotential, atoms: Atoms
) -> tuple[float, float, float]:
    graph = parent.neighbors(atoms).graph()
    exact, found = parent.predict_graph(graph), compressed.predict_graph(graph)
    return (
        abs(found.energy - exact.energy) / len(atoms),
        float(np.abs(found.forces - exact.forces).max()),
        float(np.abs(found.virial - exact.virial).max()) / len(atoms),
    )


def random_crystals(model: DeepPotential, *, count: int = 4, seed: int = 1) -> Iterator[Atoms]:
    """Rattled face-centred cubic crystals of 32 atoms with the model's elements at random places.

    Neighbours are 0.9 to 1.2 times the sum of two mean covalent radii apart before the rattling.
    """
    rng = np.random.default_rng(seed)
    numbers = np.array([atomic_numbers[symbol] for symbol in model.config.elements])
    bond = 2.0 * float(covalent_radii[numbers].mean())
    for stretch in np.linspace(0.9, 1.2, count):
        atoms = bulk("X", "fcc", a=bond * stretch * np.sqrt(2.0), cubic=True).repeat(2)
        atoms.numbers = rng.choice(numbers, len(atoms))
        atoms.positions += rng.normal(0.0, 0.05 * bond, atoms.positions.shape)
        yield atoms
