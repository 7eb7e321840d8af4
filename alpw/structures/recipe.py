"""Which structures are made of a start structure: a tree, grown by stages in a chain.

    root  ->  slab  ->  super_cell  ->  scale  ->  swap  ->  vacancy  ->  perturb

A stage that is not asked for is left out. One that is makes its number of structures of *each* structure of
the last stage before it that is asked for (else of the root), which thereby become intermediate: two scales
and three perturbations are two scaled and six perturbed structures, and only the six are leaves. AL-PWMLFF
has this rule for super_cell, scale and perturb. The names are its, too, down to the spelling of "pertub",
because its users' param.json refers to files of these names.

| stage | name |
| --- | --- |
| slab | ``slab_1_-1_0`` |
| super_cell | ``super_cell`` |
| scale | ``0.9_scale`` |
| swap, vacancy | ``<parent>.0_swap``, ``<parent>.0_vacancy``; of the root ``0_swap``, ``0_vacancy`` |
| perturb | ``<parent>_pertub/0_pertub`` |

With several slabs, the names of what is made of one begin with its own: ``slab_1_1_1.0.9_scale``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from operator import mul
from typing import Any, Literal, NamedTuple, get_args

from ase import Atoms

from alpw.errors import InputError
from alpw.structures.miller import reduced_miller
from alpw.structures.operations import carry_out
from alpw.structures.perturb import ScaleBy, supercell_matrix
from alpw.structures.sanity import MINIMUM_FRACTION, defect
from alpw.structures.seeds import derive_seed

Root = Literal["init", "relax"]
"""The user's structure, or the same after relaxation."""


@dataclass(frozen=True)
class Slab:
    """One slab per plane, see :func:`alpw.structures.slab.cut_slab`.

    Attributes:
        miller: planes (h, k, l) of the conventional cell.
        thickness: at least, in Å.
        vacuum: between a slab and its image, in Å.
        termination: which of the inequivalent places to cut at.
    """

    miller: tuple[tuple[int, int, int], ...]
    thickness: float
    vacuum: float
    termination: int = 0

    def __post_init__(self) -> None:
        planes = [reduced_miller(miller) for miller in self.miller]
        _require(len(planes) > 0, "slab.miller", "empty; give at least one plane (h, k, l)")
        _require(len(set(planes)) == len(planes), "slab.miller", f"{self.miller} names a plane twice")
        for key in ("thickness", "vacuum"):
            _require(getattr(self, key) > 0, f"slab.{key}", f"{getattr(self, key)} Å must be positive")
        _require(self.termination >= 0, "slab.termination", f"{self.termination} must be at least 0")


@dataclass(frozen=True)
class Swap:
    """Copies in which ``pairs`` pairs of atoms of different elements have changed places."""

    pairs: int
    copies: int = 1

    def __post_init__(self) -> None:
        for key in ("pairs", "copies"):
            _require(getattr(self, key) >= 1, f"swap.{key}", f"{getattr(self, key)} must be at least 1")


@dataclass(frozen=True)
class Vacancy:
    """Copies without ``number`` atoms, of one element or (None) of any."""

    number: int
    copies: int = 1
    element: str | None = None

    def __post_init__(self) -> None:
        for key in ("number", "copies"):
            _require(getattr(self, key) >= 1, f"vacancy.{key}", f"{getattr(self, key)} must be at least 1")


@dataclass(frozen=True)
class Recipe:
    """What is made of a start structure.

    Attributes:
        slab: planes to cut the crystal along.
        super_cell: three repetitions, or the matrix as nine numbers by row or ``(3, 3)``.
        scale: factors, one structure each.
        scale_by: whether a factor multiplies lengths or the volume.
        swap: exchanged atoms.
        vacancy: removed atoms.
        perturb: number of randomly strained and displaced copies.
        cell_pert_fraction: largest component of the strain of a copy.
        atom_pert_distance: root mean square displacement of its atoms in Å.
        minimum_fraction: smallest distance allowed, as a fraction of the sum of covalent radii.
        wrap: along which cell vectors the atoms of a supercell are moved into it.

    Raises:
        InputError: on construction, for a number that makes no sense whatever the structure.
    """

    slab: Slab | None = None
    super_cell: tuple[Any, ...] | None = None
    scale: tuple[float, ...] = ()
    scale_by: ScaleBy = "length"
    swap: Swap | None = None
    vacancy: Vacancy | None = None
    perturb: int = 0
    cell_pert_fraction: float = 0.03
    atom_pert_distance: float = 0.01
    minimum_fraction: float = MINIMUM_FRACTION
    wrap: tuple[bool, bool, bool] = (True, True, True)

    def __post_init__(self) -> None:
        if self.super_cell is not None:
            supercell_matrix(self.super_cell)
        factors, names = list(self.scale), {str(factor) for factor in self.scale}
        positive = all(factor > 0 and math.isfinite(factor) for factor in factors)
        _require(positive, "scale", f"{factors} must be positive numbers")
        _require(len(names) == len(factors), "scale", f"{factors} names a factor twice")
        _require(self.perturb >= 0, "perturb", f"{self.perturb} must be at least 0")
        # Below one half no strain can turn a cell inside out: its matrix is diagonally dominant.
        fraction, distance = self.cell_pert_fraction, self.atom_pert_distance
        _require(0 <= fraction < 0.5, "cell_pert_fraction", f"{fraction} must be at least 0 and below 0.5")
        _require(0 <= distance < math.inf, "atom_pert_distance", f"{distance} Å must be at least 0")
        _require(self.minimum_fraction > 0, "minimum_fraction", f"{self.minimum_fraction} must be positive")


class Built(NamedTuple):
    """A structure of the tree."""

    name: str
    """unique among the structures of one start structure"""
    stage: str
    """``root``, or the stage that made it"""
    parent: str | None
    """name of the structure that it was made of; None for the root"""
    atoms: Atoms
    operations: list[dict[str, Any]]
    """from the root on, each as :func:`alpw.structures.operations.carry_out` takes it"""
    leaf: bool
    """whether nothing is made of it, so that calculations start from it"""


def stages(recipe: Recipe) -> list[str]:
    """The stages asked for, in order, the last of which makes the leaves; ``["root"]`` if there is none."""
    return list(count(recipe))


def count(recipe: Recipe) -> dict[str, int]:
    """Number of structures by stage, in order, without building any; ``{"root": 1}`` if no stage is asked."""
    each = {stage: len(list(children(recipe, "init", 0))) for stage, children in _CHILDREN.items()}
    asked = {stage: number for stage, number in each.items() if number}
    return dict(zip(asked, accumulate(asked.values(), mul), strict=True)) or {"root": 1}


def leaves(recipe: Recipe) -> int:
    """Number of structures that calculations start from."""
    return list(count(recipe).values())[-1]


def trial(recipe: Recipe) -> Recipe:
    """The same with one copy of what draws at random: enough to see whether it can be built at all."""
    return replace(
        recipe,
        swap=recipe.swap and replace(recipe.swap, copies=1),
        vacancy=recipe.vacancy and replace(recipe.vacancy, copies=1),
        perturb=min(1, recipe.perturb),
    )


def build(atoms: Atoms, recipe: Recipe, seed: int, root: Root = "init") -> list[Built]:
    """All structures that the stages make, in order; the root alone if no stage is asked for.

    Args:
        atoms: the start structure.
        recipe: what to make.
        seed: of all random draws. A structure's own seed follows from it, the parent's name and the number of
            the copy alone: asking for more copies leaves the others as they were, and start structures that
            shall be perturbed differently need different seeds.
        root: name of the start structure.

    Raises:
        InputError: a structure cannot be made, or is not physical; its name and the stage are given.
    """
    asked = stages(recipe)
    start = Built(root, "root", None, atoms.copy(), [], leaf=asked == ["root"])
    if start.leaf:
        _require_physical(start, recipe.minimum_fraction)
        return [start]
    generation, built = [start], []
    for stage in asked:
        generation = [
            _grow(parent, child, stage, recipe.minimum_fraction, leaf=stage == asked[-1])
            for parent in generation
            for child in _CHILDREN[stage](recipe, parent.name, seed)
        ]
        built += generation
    return built


class _Child(NamedTuple):
    name: str
    operation: dict[str, Any]


def _grow(parent: Built, child: _Child, stage: str, minimum_fraction: float, *, leaf: bool) -> Built:
    try:
        atoms = carry_out(parent.atoms, child.operation)
    except InputError as error:
        raise InputError(f"{child.name} (by {stage} of {parent.name}): {error.message}") from error
    built = Built(child.name, stage, parent.name, atoms, [*parent.operations, child.operation], leaf)
    _require_physical(built, minimum_fraction)
    return built


def _require_physical(built: Built, minimum_fraction: float) -> None:
    if reason := defect(built.atoms, minimum_fraction):
        how = f" (by {built.stage} of {built.parent})" if built.parent else ""
        raise InputError(f"{built.name}{how}: the structure is not physical: {reason}")


def _slabs(recipe: Recipe, parent: str, seed: int) -> Iterator[_Child]:
    if recipe.slab is not None:
        for miller in recipe.slab.miller:
            name = "slab_" + "_".join(str(index) for index in miller)
            yield _Child(name, {"operation": "slab", **asdict(recipe.slab), "miller": list(miller)})


def _supercells(recipe: Recipe, parent: str, seed: int) -> Iterator[_Child]:
    if recipe.super_cell is not None:
        repeats = supercell_matrix(recipe.super_cell).tolist()
        operation = {"operation": "super_cell", "repeats": repeats, "wrap": list(recipe.wrap)}
        yield _Child(f"{_slab_of(recipe, parent)}super_cell", operation)


def _scaled(recipe: Recipe, parent: str, seed: int) -> Iterator[_Child]:
    for factor in recipe.scale:
        operation = {"operation": "scale", "factor": factor, "by": recipe.scale_by}
        # As JSON writes the number: 1.0_scale.
        yield _Child(f"{_slab_of(recipe, parent)}{factor}_scale", operation)


def _swapped(recipe: Recipe, parent: str, seed: int) -> Iterator[_Child]:
    yield from _defective("swap", recipe.swap, recipe, parent, seed)


def _with_vacancies(recipe: Recipe, parent: str, seed: int) -> Iterator[_Child]:
    yield from _defective("vacancy", recipe.vacancy, recipe, parent, seed)


def _perturbed(recipe: Recipe, parent: str, seed: int) -> Iterator[_Child]:
    settings = {key: getattr(recipe, key) for key in ("cell_pert_fraction", "atom_pert_distance")}
    for operation in _copies("perturb", recipe.perturb, settings, recipe, parent, seed):
        yield _Child(f"{parent}_pertub/{operation['index']}_pertub", operation)


_CHILDREN: dict[str, Callable[[Recipe, str, int], Iterator[_Child]]] = {
    "slab": _slabs,
    "super_cell": _supercells,
    "scale": _scaled,
    "swap": _swapped,
    "vacancy": _with_vacancies,
    "perturb": _perturbed,
}
"""stage, in order -> what it makes of a parent, by its name; of every parent the same number"""


def _defective(
    stage: str, defects: Swap | Vacancy | None, recipe: Recipe, parent: str, seed: int
) -> Iterator[_Child]:
    if defects is not None:
        settings = asdict(defects)
        prefix = "" if parent in get_args(Root) else f"{parent}."
        for operation in _copies(stage, settings.pop("copies"), settings, recipe, parent, seed):
            yield _Child(f"{prefix}{operation['index']}_{stage}", operation)


def _copies(
    name: str, number: int, settings: dict[str, Any], recipe: Recipe, parent: str, seed: int
) -> Iterator[dict[str, Any]]:
    """The same random operation, with a seed of its own for each copy."""
    for index in range(number):
        own = {"operation": name, "index": index, "seed": derive_seed(seed, name, parent, index)}
        yield {**own, **settings, "minimum_fraction": recipe.minimum_fraction}


def _slab_of(recipe: Recipe, parent: str) -> str:
    """Name of the slab that the parent is, or is made of, and a dot; empty unless there are several."""
    return parent.split(".")[0] + "." if recipe.slab and len(recipe.slab.miller) > 1 else ""


def _require(holds: bool, key: str, message: str) -> None:
    if not holds:
        raise InputError(message, key=key)
