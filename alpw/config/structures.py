"""An entry of ``sys_configs`` of init_param.json: a start structure, and what is to be made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from ase.data import atomic_numbers
from pydantic import BeforeValidator, Field

from alpw.config.explore import Count, Index, StructureFile
from alpw.config.section import Problem, Section, choices, setting
from alpw.errors import InputError
from alpw.structures.perturb import supercell_matrix
from alpw.structures.read import read_structure
from alpw.structures.recipe import Recipe, leaves
from alpw.structures.recipe import Slab as SlabRecipe
from alpw.structures.recipe import Swap as SwapRecipe
from alpw.structures.recipe import Vacancy as VacancyRecipe
from alpw.structures.sanity import MINIMUM_FRACTION

MOST_STRUCTURES = 100_000
"""of one entry: more are a slip of the finger"""

MOST_ATOMS = 100_000
"""of one structure: far beyond what any code here labels"""

Matrix = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
Miller = tuple[int, int, int]


def _words(value: Any) -> Any:
    """Text with numbers between blanks or commas, as the predecessor takes it, as a list of numbers."""
    if not isinstance(value, str):
        return value
    words = re.split(r"[\s,]+", value.strip())
    try:
        return [int(word) if re.fullmatch(r"[+-]?\d+", word) else float(word) for word in words]
    except ValueError as error:
        raise ValueError(f"{value!r} is no list of numbers") from error


def _matrix(value: Any) -> Any:
    if value is None:
        return None
    words = _words(value)
    if isinstance(words, list) and all(isinstance(x, (int, float)) and x == int(x) for x in words):
        words = [int(x) for x in words]
    try:
        return tuple(tuple(int(x) for x in row) for row in supercell_matrix(words))
    except InputError as error:
        raise ValueError(error.message) from error


def _factors(value: Any) -> Any:
    texts = value if isinstance(value, list) else [value]
    factors: list[Any] = []
    for entry in texts:
        found = _words(entry)
        factors += found if isinstance(found, list) else [found]
    return factors


def _axes(value: Any) -> Any:
    if not (isinstance(value, (list, tuple)) and len(value) == 3 and all(axis in (0, 1) for axis in value)):
        raise ValueError(f"{value!r} must be three numbers 0 or 1")
    return tuple(map(int, value))


def _planes(value: Any) -> Any:
    """One plane or several, each as three whole numbers."""
    one = isinstance(value, (list, tuple)) and not any(isinstance(part, (list, tuple)) for part in value)
    planes = [value] if one else value
    if not isinstance(planes, (list, tuple)) or not all(
        isinstance(plane, (list, tuple)) and len(plane) == 3 and all(type(x) is int for x in plane)
        for plane in planes
    ):
        raise ValueError(f"{value!r} is no plane; give three whole numbers [h, k, l], or a list of such")
    return tuple(map(tuple, planes))


class Slab(Section):
    """Surface slabs cut from the structure, one for each plane."""

    section: ClassVar[str] = "init_bulk.sys_configs.slab"

    miller: Annotated[
        tuple[Miller, ...], BeforeValidator(_planes, json_schema_input_type=list[list[int]])
    ] = setting(meaning="planes by Miller indices of the conventional cell: [1, 1, 1] or a list of such")
    thickness: float = setting(10.0, meaning="least thickness of the slab", unit="Å", gt=0, le=200)
    vacuum: float = setting(15.0, meaning="least width of the vacuum", unit="Å", gt=0, le=200)
    termination: int = setting(0, meaning="which of the plane's terminations, from 0", ge=0)

    def problems(self) -> Iterator[Problem]:
        for i, plane in enumerate(self.miller):
            if not any(plane):
                yield Problem(("miller", i), "[0, 0, 0] is no plane")
        if len(set(self.miller)) < len(self.miller) or not self.miller:
            yield Problem(("miller",), "names a plane twice, or none")


class Swap(Section):
    """Copies in which atoms of different elements have changed places."""

    section: ClassVar[str] = "init_bulk.sys_configs.swap"

    copies: int = setting(1, meaning="copies per parent", ge=1)
    pairs: int = setting(1, meaning="pairs of atoms that change places in a copy", ge=1)


class Vacancy(Section):
    """Copies that lack atoms."""

    section: ClassVar[str] = "init_bulk.sys_configs.vacancy"

    copies: int = setting(1, meaning="copies per parent", ge=1)
    number: int = setting(1, meaning="atoms that are taken out of a copy", ge=1)
    element: str | None = setting(None, meaning="element of the atoms that are taken out; absent: any")

    def problems(self) -> Iterator[Problem]:
        if self.element is not None and self.element not in atomic_numbers:
            yield Problem(("element",), f"{self.element!r} is not an element")


class StartConfig(StructureFile):
    """A start structure and its way through relaxation, generators, sampling and labels."""

    section: ClassVar[str] = "init_bulk.sys_configs"

    pbc: Annotated[tuple[int, int, int], BeforeValidator(_axes, json_schema_input_type=list[int])] = setting(
        (1, 1, 1), meaning="axes along which supercells are wrapped, 0 or 1"
    )
    relax: bool | None = setting(None, meaning="relax it first; absent: if there is a relax_input")
    relax_input_idx: Index = setting(0, meaning="entry of relax_input")
    slab: Slab | None = setting(None, meaning="block: cut surface slabs")
    super_cell: Annotated[Matrix | None, BeforeValidator(_matrix, json_schema_input_type=list[int])] = (
        setting(None, meaning="supercell: 3 repetitions, or a matrix as 9 numbers or 3 x 3")
    )
    scale: Annotated[
        list[Annotated[float, Field(gt=0.5, lt=2)]],
        BeforeValidator(_factors, json_schema_input_type=list[float]),
    ] = setting([], meaning="factors of the cell, one structure each")
    scale_by: Annotated[Literal["length", "volume"], choices("length", "volume")] = setting(
        "length", meaning="what the factors scale: length (of the cell vectors), volume"
    )
    swap: Swap | None = setting(None, meaning="block: exchange atoms of different elements")
    vacancy: Vacancy | None = setting(None, meaning="block: take atoms out")
    perturb: int = setting(0, meaning="perturbed copies per parent", ge=0, le=100_000)
    cell_pert_fraction: float = setting(0.03, meaning="largest component of the random strain", ge=0, le=0.3)
    atom_pert_distance: float = setting(
        0.01, meaning="root mean square displacement of an atom", unit="Å", ge=0, le=2
    )
    minimum_distance: float = setting(
        MINIMUM_FRACTION,
        meaning="least distance in a generated structure, as a part of the sum of covalent radii",
        gt=0,
        le=1,
    )
    aimd: bool | None = setting(None, meaning="run AIMD; absent: if there is an aimd_input, and no bigmodel")
    aimd_input_idx: Index = setting(0, meaning="entry of aimd_input")
    bigmodel: bool = setting(False, meaning="run MD with a force field in place of AIMD")
    bigmodel_input_idx: Index = setting(0, meaning="entry of bigmodel_input")
    direct: bool = setting(False, meaning="choose a diverse part of the sampled frames")
    direct_max_num: Count = setting(50, meaning="largest number of frames that direct chooses")
    scf: bool = setting(False, meaning="label by single-point calculations what sampling found")
    scf_input_idx: Index = setting(0, meaning="entry of scf_input")

    def problems(self) -> Iterator[Problem]:
        if len(set(self.scale)) < len(self.scale):
            yield Problem(("scale",), f"{self.scale} names a factor twice")
        if self.aimd and self.bigmodel:
            yield Problem(("bigmodel",), "stands in place of AIMD; set one of aimd and bigmodel to false")
        try:
            number = leaves(self.recipe)
        except InputError as error:
            yield Problem(tuple((error.key or "").split(".")), error.message)
        else:
            if number > MOST_STRUCTURES:
                yield Problem(
                    ("perturb",), f"makes {number} structures in all; allowed are {MOST_STRUCTURES}"
                )

    def file_problems(self) -> Iterator[Problem]:
        yield from super().file_problems()
        if self.super_cell is not None and self.files:
            cells = round(np.linalg.det(self.super_cell))
            largest = cells * max(len(read_structure(path, self.format)) for path in self.files)
            if largest > MOST_ATOMS:
                yield Problem(("super_cell",), f"makes {largest} atoms; allowed are {MOST_ATOMS}")

    @property
    def recipe(self) -> Recipe:
        """The generators that are asked for."""
        slab, swap, vacancy = self.slab, self.swap, self.vacancy
        x, y, z = map(bool, self.pbc)
        return Recipe(
            slab=SlabRecipe(slab.miller, slab.thickness, slab.vacuum, slab.termination) if slab else None,
            super_cell=self.super_cell,
            scale=tuple(self.scale),
            scale_by=self.scale_by,
            swap=SwapRecipe(swap.pairs, swap.copies) if swap else None,
            vacancy=VacancyRecipe(vacancy.number, vacancy.copies, vacancy.element) if vacancy else None,
            perturb=self.perturb,
            cell_pert_fraction=self.cell_pert_fraction,
            atom_pert_distance=self.atom_pert_distance,
            minimum_fraction=self.minimum_distance,
            wrap=(x, y, z),
        )
