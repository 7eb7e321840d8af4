from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, make_supercell
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure
from pymatgen.core.surface import SlabGenerator
from pymatgen.io.ase import AseAtomsAdaptor

from alpw.errors import InputError
from alpw.structures.sanity import defect
from alpw.structures.slab import cut_slab, reduced_miller

A_SI, A_NACL = 5.431, 5.64


def silicon() -> Atoms:
    return bulk("Si", a=A_SI)


def rock_salt() -> Atoms:
    return bulk("NaCl", "rocksalt", a=A_NACL)


def rutile() -> Atoms:
    sites = [(0, 0, 0), (0.305, 0.305, 0)]
    return crystal(["Ti", "O"], sites, spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90])


def planes(slab: Atoms) -> np.ndarray:
    """Heights of the planes of atoms in Å; atoms within 0.01 Å are in one plane."""
    z = np.sort(slab.positions[:, 2])
    return z[np.insert(np.diff(z) > 0.01, 0, True)]


# d_hkl = a / sqrt(h^2 + k^2 + l^2), halved where a centred cell has a plane in the middle. Diamond has planes
# a/4 apart along (100), half of the face diagonal along (110), a sqrt(3)/12 and thrice that along (111).
@pytest.mark.parametrize(
    ("crystal", "miller", "gaps"),
    [
        (silicon(), (1, 0, 0), [A_SI / 4]),
        (silicon(), (0, 0, -1), [A_SI / 4]),
        (silicon(), (1, -1, 0), [A_SI / math.sqrt(8)]),
        (silicon(), (1, 1, 1), [A_SI * math.sqrt(3) / 12, A_SI * math.sqrt(3) / 4]),
        (rock_salt(), (1, 0, 0), [A_NACL / 2]),
        (rock_salt(), (1, 1, 0), [A_NACL / math.sqrt(8)]),
        (rock_salt(), (1, 1, 1), [A_NACL / math.sqrt(12)]),
        (rock_salt(), (2, 1, 0), [A_NACL / math.sqrt(20)]),
        (bulk("Fe", a=2.87), (1, 1, 0), [2.87 / math.sqrt(2)]),
        (bulk("Mg", a=3.21, c=5.21), (0, 0, 1), [5.21 / 2]),
    ],
)
def test_planes_are_d_hkl_apart(crystal: Atoms, miller: tuple[int, int, int], gaps: list[float]) -> None:
    found = np.diff(planes(cut_slab(crystal, miller, 15, 10)))
    # Symmetry is found numerically; it moves nothing by more than 1e-6 Å in a perfect crystal.
    assert {round(gap, 5) for gap in found} == {round(gap, 5) for gap in gaps}


@pytest.mark.parametrize(
    ("crystal", "miller", "repeat", "planes_each"),
    [
        (silicon(), (1, 0, 0), A_SI / 2, 2),
        (silicon(), (1, 1, 1), A_SI / math.sqrt(3), 2),
        (rock_salt(), (1, 0, 0), A_NACL / 2, 1),
        (rock_salt(), (1, 1, 1), A_NACL / math.sqrt(3), 2),
    ],
)
@pytest.mark.parametrize("repeats", [1, 3, 4])
def test_a_slab_has_the_fewest_repeat_units_that_are_thick_enough(
    crystal: Atoms, miller: tuple[int, int, int], repeat: float, planes_each: int, repeats: int
) -> None:
    for thickness in (repeat * repeats, repeat * (repeats - 0.5)):
        assert len(planes(cut_slab(crystal, miller, thickness, 10))) == repeats * planes_each


@pytest.mark.parametrize(
    ("crystal", "miller", "area"),
    [
        (silicon(), (1, 0, 0), A_SI**2 / 2),
        (silicon(), (1, 1, 0), A_SI**2 / math.sqrt(2)),
        (silicon(), (1, 1, 1), A_SI**2 * math.sqrt(3) / 4),
        (rock_salt(), (1, 0, 0), A_NACL**2 / 2),
        (rock_salt(), (5, 2, 1), A_NACL**2 * math.sqrt(30) / 2),
    ],
)
def test_the_cell_in_the_plane_is_the_smallest(
    crystal: Atoms, miller: tuple[int, int, int], area: float
) -> None:
    slab = cut_slab(crystal, miller, 6, 10)
    assert np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])) == pytest.approx(area, rel=1e-6)


CASES = [
    (crystal, miller)
    for crystal in (silicon(), rock_salt(), rutile(), bulk("Mg"))
    for miller in ((1, 0, 0), (1, 1, 0), (1, 1, 1), (0, -1, 2), (3, 1, 2))
]


@pytest.mark.parametrize(("crystal", "miller"), CASES)
def test_the_slab_lies_in_the_middle_of_the_vacuum_with_c_along_its_normal(
    crystal: Atoms, miller: tuple[int, int, int]
) -> None:
    slab = cut_slab(crystal, miller, 7, 11)
    assert defect(slab) is None and slab.pbc.all()
    cell = np.asarray(slab.cell)
    assert np.abs(np.triu(cell, k=1)).max() < 1e-9 and (np.diag(cell) > 0).all()
    assert np.abs(cell[2, :2]).max() < 1e-9
    z = slab.positions[:, 2]
    assert (z.min(), cell[2, 2] - z.max()) == pytest.approx((5.5, 5.5), abs=1e-9)
    assert (np.diff(slab.numbers) >= 0).all()


def surroundings(atoms: Atoms, cutoff: float) -> list[tuple[int, tuple[tuple[int, float], ...]]]:
    """For each atom its element, and elements and distances (0.01 Å) of its neighbours, sorted."""
    i, j, d = neighbor_list("ijd", atoms, cutoff)
    return [
        (
            int(z),
            tuple(
                sorted((int(atoms.numbers[j[k]]), round(float(d[k]), 2)) for k in np.flatnonzero(i == atom))
            ),
        )
        for atom, z in enumerate(atoms.numbers)
    ]


@pytest.mark.parametrize(("crystal", "miller"), CASES)
def test_inside_a_slab_atoms_have_the_surroundings_of_the_crystal(
    crystal: Atoms, miller: tuple[int, int, int]
) -> None:
    cutoff = 3.3
    slab = cut_slab(crystal, miller, 12, 10)
    z = slab.positions[:, 2]
    inside = (z > z.min() + cutoff) & (z < z.max() - cutoff)
    assert inside.any()
    found = {around for around, within in zip(surroundings(slab, cutoff), inside, strict=True) if within}
    assert found <= set(surroundings(crystal, cutoff))


def test_aluminium_is_cut_as_ase_cuts_it() -> None:
    ours = cut_slab(bulk("Al", a=4.05), (1, 1, 1), 4 * 4.05 / math.sqrt(3), 12)
    theirs = fcc111("Al", (1, 1, 4), a=4.05, vacuum=6, periodic=True)
    assert ours.cell.cellpar()[:3] == pytest.approx(theirs.cell.cellpar()[:3], abs=1e-6)
    assert np.linalg.norm(np.cross(*ours.cell[:2])) == pytest.approx(
        np.linalg.norm(np.cross(*theirs.cell[:2]))
    )
    assert planes(ours) == pytest.approx(planes(theirs), abs=1e-6)


def with_short_vacuum(slab: Structure) -> Structure:
    atoms = AseAtomsAdaptor.get_atoms(slab)
    atoms.center(vacuum=4, axis=2)
    return AseAtomsAdaptor.get_structure(atoms)


@pytest.mark.parametrize("miller", [(1, 0, 0), (1, 1, 0), (1, 1, 1)])
def test_terminations_of_rutile_are_those_of_pymatgen(miller: tuple[int, int, int]) -> None:
    generator = SlabGenerator(AseAtomsAdaptor.get_structure(rutile()), miller, 8, 12, primitive=True)
    # Its vacuum is of whole repeat units.
    theirs = [with_short_vacuum(slab.get_orthogonal_c_slab()) for slab in generator.get_slabs()]
    matcher = StructureMatcher(primitive_cell=False, scale=False)
    matches = []
    for termination in range(len(theirs)):
        ours = with_short_vacuum(
            AseAtomsAdaptor.get_structure(cut_slab(rutile(), miller, 8, 12, termination))
        )
        matches += [k for k, slab in enumerate(theirs) if matcher.fit(ours, slab)]
    assert sorted(matches) == list(range(len(theirs)))
    with pytest.raises(InputError, match="does not exist"):
        cut_slab(rutile(), miller, 8, 12, len(theirs))


def test_terminations_are_sorted_by_the_width_of_the_cut_whatever_the_cell_of_the_crystal() -> None:
    narrow, wide = A_SI * math.sqrt(3) / 12, A_SI * math.sqrt(3) / 4
    cells = [
        silicon(),
        bulk("Si", a=A_SI, cubic=True),
        make_supercell(silicon(), [[1, 1, 0], [0, 1, 0], [0, 1, 2]]),
    ]
    cells[1].rotate(40, (1, 2, 3), rotate_cell=True)
    cells[2].translate((0.3, 0.4, 0.5))
    for cell in cells:
        first, second = (planes(cut_slab(cell, (1, 1, 1), 9, 10, termination)) for termination in (0, 1))
        assert first[1] - first[0] == pytest.approx(narrow, abs=1e-5)
        assert second[1] - second[0] == pytest.approx(wide, abs=1e-5)


def test_the_lattice_constant_is_the_structures_own() -> None:
    stretched = silicon()
    stretched.set_cell(stretched.cell * 1.1, scale_atoms=True)
    slab = cut_slab(stretched, (1, 0, 0), 10, 10)
    assert np.diff(planes(slab)) == pytest.approx(1.1 * A_SI / 4, abs=1e-5)


def test_the_same_slab_is_cut_every_time() -> None:
    first, second = (cut_slab(rutile(), (1, 1, 0), 8, 12) for _ in range(2))
    assert np.array_equal(first.positions, second.positions) and np.array_equal(first.cell, second.cell)


def test_indices_with_a_common_divisor_are_the_same_plane() -> None:
    assert reduced_miller((2, -4, 0)) == (1, -2, 0)
    first, second = (cut_slab(silicon(), miller, 8, 12) for miller in ((1, 1, 0), (3, 3, 0)))
    assert np.array_equal(first.positions, second.positions)


def test_moments_of_a_ferromagnet_are_inherited() -> None:
    iron = bulk("Fe", a=2.87)
    iron.set_initial_magnetic_moments([2.2])
    assert cut_slab(iron, (1, 0, 0), 8, 10).get_initial_magnetic_moments() == pytest.approx(2.2)


def test_moments_of_an_antiferromagnet_are_not() -> None:
    chromium = bulk("Cr", a=2.88, cubic=True)
    chromium.set_initial_magnetic_moments([1.0, -1.0])
    with pytest.raises(InputError, match="moments of Cr differ"):
        cut_slab(chromium, (1, 0, 0), 8, 10)


@pytest.mark.parametrize("miller", [(0, 0, 0), (1, 0), (1, 0, -1, 0), (0.5, 0, 0), "111"])
def test_what_is_no_plane_is_refused(miller: object) -> None:
    with pytest.raises(InputError, match="is no plane"):
        cut_slab(silicon(), miller, 8, 10)  # type: ignore[arg-type]


@pytest.mark.parametrize(("thickness", "vacuum"), [(0, 10), (10, 0), (-1, 10), (float("nan"), 10)])
def test_thickness_and_vacuum_must_be_positive(thickness: float, vacuum: float) -> None:
    with pytest.raises(InputError, match="must be positive"):
        cut_slab(silicon(), (1, 0, 0), thickness, vacuum)


@pytest.mark.parametrize("termination", [-1, 1])
def test_a_termination_that_does_not_exist(termination: int) -> None:
    with pytest.raises(InputError, match=r"termination -?1 of the plane \(1, 0, 0\) .* there are 1, counted"):
        cut_slab(silicon(), (1, 0, 0), 8, 10, termination)


def test_a_glass_is_not_crystalline() -> None:
    glass = bulk("Si", cubic=True)
    glass.rattle(0.2, seed=1)
    with pytest.raises(InputError, match="Si8 is not crystalline: it has no symmetry"):
        cut_slab(glass, (1, 0, 0), 8, 10)


def test_a_molecule_is_not_crystalline() -> None:
    with pytest.raises(InputError, match="not periodic"):
        cut_slab(Atoms("H2", positions=[(0, 0, 0), (0, 0, 0.74)]), (1, 0, 0), 8, 10)


def test_atoms_on_top_of_each_other_have_no_symmetry() -> None:
    atoms = Atoms("Si2", positions=[(0, 0, 0), (0, 0, 1e-4)], cell=[4, 4, 4], pbc=True)
    with pytest.raises(InputError, match="no symmetry that could be found"):
        cut_slab(atoms, (1, 0, 0), 8, 10)
