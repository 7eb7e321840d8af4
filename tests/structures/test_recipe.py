from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from alpw.errors import InputError
from alpw.structures.operations import carry_out
from alpw.structures.recipe import Built, Recipe, Root, Slab, Swap, Vacancy, build, count, leaves, stages
from alpw.structures.sanity import defect


def rock_salt() -> Atoms:
    return bulk("NaCl", "rocksalt", a=5.64, cubic=True)


def names(built: list[Built], stage: str) -> list[str]:
    return [structure.name for structure in built if structure.stage == stage]


def same(first: Atoms, second: Atoms) -> bool:
    """Bit by bit."""
    return (
        np.array_equal(first.numbers, second.numbers)
        and np.array_equal(first.positions, second.positions)
        and np.array_equal(np.asarray(first.cell), np.asarray(second.cell))
    )


# The predecessor's rule, written out: relaxed or user's structure -> supercell -> scaled -> perturbed, where
# the parents of perturbed structures are all scaled > the supercell > the relaxed > the user's.
@pytest.mark.parametrize("root", ["init", "relax"])
@pytest.mark.parametrize(("super_cell", "scales", "perturb"), product((False, True), repeat=3))
def test_the_parent_rule(super_cell: bool, scales: bool, perturb: bool, root: Root) -> None:
    recipe = Recipe(
        super_cell=(1, 1, 2) if super_cell else None,
        scale=(0.95, 1.05) if scales else (),
        perturb=3 if perturb else 0,
    )
    built = build(rock_salt(), recipe, seed=1, root=root)
    expected = {}
    if super_cell:
        expected["super_cell"] = root
    if scales:
        expected |= dict.fromkeys(["0.95_scale", "1.05_scale"], "super_cell" if super_cell else root)
    if perturb:
        parents = ["0.95_scale", "1.05_scale"] if scales else ["super_cell"] if super_cell else [root]
        expected |= {f"{parent}_pertub/{k}_pertub": parent for parent in parents for k in range(3)}
    assert {structure.name: structure.parent for structure in built} == (expected or {root: None})
    assert Counter(structure.stage for structure in built) == count(recipe)
    assert list(dict.fromkeys(structure.stage for structure in built)) == stages(recipe)
    parents = {structure.parent for structure in built}
    assert [structure.leaf for structure in built] == [s.name not in parents for s in built]
    assert sum(structure.leaf for structure in built) == leaves(recipe)
    # Lengths and numbers of atoms follow the parents, too.
    for structure in built:
        assert len(structure.atoms) == (16 if super_cell else 8)


def test_generators_act_in_a_chain() -> None:
    recipe = Recipe(
        slab=Slab(((1, 0, 0), (1, -1, 0)), thickness=6, vacuum=8),
        super_cell=(2, 2, 1),
        scale=(0.98,),
        swap=Swap(1, copies=2),
        vacancy=Vacancy(1, copies=1, element="Cl"),
        perturb=2,
    )
    assert count(recipe) == {"slab": 2, "super_cell": 2, "scale": 2, "swap": 4, "vacancy": 4, "perturb": 8}
    built = build(rock_salt(), recipe, seed=5)
    assert names(built, "slab") == ["slab_1_0_0", "slab_1_-1_0"]
    assert names(built, "super_cell") == ["slab_1_0_0.super_cell", "slab_1_-1_0.super_cell"]
    assert names(built, "scale") == ["slab_1_0_0.0.98_scale", "slab_1_-1_0.0.98_scale"]
    assert names(built, "swap")[1:3] == ["slab_1_0_0.0.98_scale.1_swap", "slab_1_-1_0.0.98_scale.0_swap"]
    assert names(built, "vacancy")[0] == "slab_1_0_0.0.98_scale.0_swap.0_vacancy"
    leaf = built[-1]
    assert leaf.name == "slab_1_-1_0.0.98_scale.1_swap.0_vacancy_pertub/1_pertub"
    assert [operation["operation"] for operation in leaf.operations] == list(count(recipe))
    populations = Counter(leaf.atoms.symbols)
    assert populations["Na"] == populations["Cl"] + 1


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Recipe(swap=Swap(1)), "0_swap"),
        (Recipe(vacancy=Vacancy(1)), "0_vacancy"),
        (Recipe(swap=Swap(1), vacancy=Vacancy(1)), "0_swap.0_vacancy"),
        (Recipe(super_cell=(1, 1, 1), swap=Swap(1)), "super_cell.0_swap"),
        (Recipe(slab=Slab(((1, 1, 0),), 6, 8)), "slab_1_1_0"),
        (Recipe(slab=Slab(((1, 1, 0),), 6, 8), super_cell=(1, 1, 1)), "super_cell"),
        (Recipe(slab=Slab(((1, 1, 0),), 6, 8), scale=(1.1,)), "1.1_scale"),
        (Recipe(slab=Slab(((1, 1, 0),), 6, 8), vacancy=Vacancy(1)), "slab_1_1_0.0_vacancy"),
        (Recipe(slab=Slab(((1, 1, 0),), 6, 8), perturb=1), "slab_1_1_0_pertub/0_pertub"),
        (Recipe(scale=(1.0,), perturb=1), "1.0_scale_pertub/0_pertub"),
    ],
)
def test_names(recipe: Recipe, expected: str) -> None:
    assert build(rock_salt(), recipe, seed=0)[-1].name == expected


def test_the_root_is_a_copy() -> None:
    atoms = rock_salt()
    (root,) = build(atoms, Recipe(), seed=0)
    root.atoms.positions += 1
    assert same(atoms, rock_salt())
    assert root.operations == [] and root.leaf


SLABS = st.builds(
    Slab,
    st.lists(st.sampled_from([(1, 0, 0), (1, 1, 0), (1, -1, 0)]), min_size=1, max_size=2, unique=True).map(
        tuple
    ),
    st.just(5.0),
    st.just(8.0),
)
RECIPES = st.builds(
    Recipe,
    slab=st.none() | SLABS,
    super_cell=st.none() | st.sampled_from([(1, 1, 1), (1, 2, 1), (1, 1, 0, 0, 1, 0, 0, 0, 1)]),
    scale=st.lists(st.sampled_from([0.97, 1.0, 1.03]), max_size=2, unique=True).map(tuple),
    scale_by=st.sampled_from(["length", "volume"]),
    swap=st.none() | st.builds(Swap, st.just(1), st.integers(1, 2)),
    vacancy=st.none() | st.builds(Vacancy, st.just(1), st.integers(1, 2), st.sampled_from([None, "Na"])),
    perturb=st.integers(0, 2),
)


@given(RECIPES, st.integers(0, 2**31), st.sampled_from(["init", "relax"]))
@settings(max_examples=15)
def test_of_any_recipe_names_are_unique_numbers_as_counted_and_structures_physical(
    recipe: Recipe, seed: int, root: Root
) -> None:
    built = build(rock_salt(), recipe, seed, root)
    by_name = {structure.name: structure for structure in built}
    assert len(by_name) == len(built)
    assert Counter(structure.stage for structure in built) == count(recipe)
    assert {structure.parent for structure in built} <= {None, root, *by_name}
    for structure in built:
        assert defect(structure.atoms) is None
        if structure.parent in by_name:
            assert structure.operations[:-1] == by_name[structure.parent].operations


@given(RECIPES, st.integers(0, 2**31))
@settings(max_examples=5)
def test_operations_carried_out_again_from_a_document_make_the_same_structure(
    recipe: Recipe, seed: int
) -> None:
    for structure in build(rock_salt(), recipe, seed):
        operations: list[dict[str, Any]] = json.loads(json.dumps(structure.operations))
        assert same(reduce(carry_out, operations, rock_salt()), structure.atoms)


MANY = Recipe(scale=(0.95, 1.05), swap=Swap(2, copies=2), vacancy=Vacancy(1), perturb=2)


@pytest.mark.parametrize(
    "more",
    [
        replace(MANY, perturb=4),
        replace(MANY, scale=(1.05, 1.0, 0.95)),
        replace(MANY, swap=Swap(2, copies=3)),
        replace(MANY, vacancy=Vacancy(1, copies=2)),
    ],
)
def test_asking_for_more_or_in_another_order_leaves_the_others_as_they_were(more: Recipe) -> None:
    before = {structure.name: structure.atoms for structure in build(rock_salt(), MANY, seed=9)}
    after = {structure.name: structure.atoms for structure in build(rock_salt(), more, seed=9)}
    assert len(before) < len(after)
    assert all(same(atoms, after[name]) for name, atoms in before.items())


def test_copies_and_seeds_and_parents_make_different_structures() -> None:
    recipe = Recipe(perturb=3)
    structures = [
        built.atoms
        for seed in (1, 2)
        for root in ("init", "relax")
        for built in build(rock_salt(), recipe, seed, root)
    ]
    assert len({structure.positions.tobytes() for structure in structures}) == 12


def test_operations_tell_what_was_done() -> None:
    recipe = Recipe(super_cell=(1, 1, 2), scale=(0.9,), scale_by="volume", perturb=1)
    *operations, perturbation = build(rock_salt(), recipe, seed=3)[-1].operations
    assert operations == [
        {"operation": "super_cell", "repeats": [[1, 0, 0], [0, 1, 0], [0, 0, 2]], "wrap": [True, True, True]},
        {"operation": "scale", "factor": 0.9, "by": "volume"},
    ]
    assert perturbation.pop("seed") > 0
    assert perturbation == {
        "operation": "perturb",
        "index": 0,
        "cell_pert_fraction": 0.03,
        "atom_pert_distance": 0.01,
        "minimum_fraction": 0.6,
    }


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(scale=(0.5,)), r"^0.5_scale \(by scale of init\): .* not physical: .* Å apart"),
        (Recipe(minimum_fraction=1.2), r"^init: the structure is not physical"),
        (Recipe(swap=Swap(5)), r"^0_swap \(by swap of init\): 5 pairs cannot be swapped in .*; 1 to 4 can"),
        (
            Recipe(super_cell=(1, 1, 1), vacancy=Vacancy(5, element="Na")),
            r"^super_cell.0_vacancy .* 1 to 4 can",
        ),
        (Recipe(slab=Slab(((1, 0, 0),), 8, 10, termination=3)), r"^slab_1_0_0 .* termination 3 .* not exist"),
        (Recipe(perturb=1, minimum_fraction=1.2), r"^init_pertub/0_pertub .* lower cell_pert_fraction"),
    ],
)
def test_what_cannot_be_built_is_named(recipe: Recipe, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(rock_salt(), recipe, seed=0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scale", (0.9, 0.9)),
        ("scale", (0.0,)),
        ("scale", (float("nan"),)),
        ("perturb", -1),
        ("cell_pert_fraction", 0.5),
        ("cell_pert_fraction", -0.1),
        ("atom_pert_distance", -0.1),
        ("minimum_fraction", 0.0),
        ("super_cell", (1, 1)),
        ("super_cell", (-1, 1, 1)),
    ],
)
def test_recipes_that_make_no_sense_are_refused(key: str, value: Any) -> None:
    with pytest.raises(InputError, match=key.replace("super_cell", "supercell")):
        Recipe(**{key: value})


@pytest.mark.parametrize(
    ("make", "settings", "key"),
    [
        (Swap, {"pairs": 0}, "swap.pairs"),
        (Swap, {"pairs": 1, "copies": 0}, "swap.copies"),
        (Vacancy, {"number": 0}, "vacancy.number"),
        (Vacancy, {"number": 1, "copies": 0}, "vacancy.copies"),
        (Slab, {"miller": (), "thickness": 8, "vacuum": 10}, "slab.miller"),
        (Slab, {"miller": ((1, 0, 0), (2, 0, 0)), "thickness": 8, "vacuum": 10}, "slab.miller"),
        (Slab, {"miller": ((1, 0, 0),), "thickness": 0, "vacuum": 10}, "slab.thickness"),
        (Slab, {"miller": ((1, 0, 0),), "thickness": 8, "vacuum": 0}, "slab.vacuum"),
        (Slab, {"miller": ((1, 0, 0),), "thickness": 8, "vacuum": 10, "termination": -1}, "slab.termination"),
    ],
)
def test_parts_of_recipes_that_make_no_sense_are_refused(
    make: Any, settings: dict[str, Any], key: str
) -> None:
    with pytest.raises(InputError) as error:
        make(**settings)
    assert error.value.key == key


def test_operations_without_a_name_that_is_known() -> None:
    with pytest.raises(InputError, match="'melt' is no operation; known are slab, super_cell, scale, swap"):
        carry_out(rock_salt(), {"operation": "melt"})
