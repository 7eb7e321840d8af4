"""Features of structures: the symmetries of physics, their definition in NumPy, and whether farthest points
in them cover a pool as another fingerprint sees it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import primitive_neighbor_list
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from alpw.errors import InputError
from alpw.potential import DeepPotential
from alpw.potential.features import frame_features, reference_model
from alpw.potential.tables import TableOptions
from alpw.sampling.farthest import farthest_points, standardise
from alpw.structures.perturb import perturb, scale

MakeModel = Callable[..., DeepPotential]


def features_by_numpy(model: DeepPotential, atoms: Atoms) -> NDArray[np.float64]:
    """The equations of the descriptor and of its statistics, atom by atom."""
    config, descriptor = model.config, model.descriptor
    i, j, vectors = primitive_neighbor_list(
        "ijD", atoms.pbc, atoms.cell.complete(), atoms.positions, config.rcut, self_interaction=False
    )
    types = [config.elements.index(symbol) for symbol in atoms.symbols]
    descriptors = []
    for centre in range(len(atoms)):
        moments = np.zeros((4, config.neuron[-1]))
        for pair in np.flatnonzero(i == centre):
            r = np.linalg.norm(vectors[pair])
            u = max(0.0, (r - config.rcut_smth) / (config.rcut - config.rcut_smth))
            s = (u**3 * (-6 * u**2 + 15 * u - 10) + 1) / r
            row = np.array([s, *(s * vectors[pair] / r)]) / descriptor.dstd[types[centre]].numpy()
            kind = len(config.elements) * types[centre] + types[j[pair]]
            with torch.no_grad():
                embedded = descriptor.embed_kind(kind, torch.tensor([[row[0]]], dtype=torch.float64))
            moments += np.outer(row, embedded.numpy())
        moments /= float(descriptor.normaliser)
        descriptors.append((moments.T @ moments[:, : config.axis_neuron]).ravel())
    blocks = []
    for index in range(len(config.elements)):
        of_type = np.array([row for row, type_ in zip(descriptors, types, strict=True) if type_ == index])
        width = descriptor.width
        blocks += [of_type.mean(0), of_type.std(0)] if len(of_type) else [np.zeros(width), np.zeros(width)]
    return np.concatenate(blocks)


def test_features_are_means_and_deviations_of_the_descriptor(make_model: MakeModel, structure: Atoms) -> None:
    model = make_model()
    # Another order of summation and another neighbour list; features are of order 1.
    assert frame_features(model, [structure])[0] == pytest.approx(
        features_by_numpy(model, structure), abs=1e-12
    )


def rotated(atoms: Atoms) -> Atoms:
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
    return Atoms(atoms.numbers, positions=atoms.positions @ turn, cell=atoms.cell.array @ turn, pbc=atoms.pbc)


def translated(atoms: Atoms) -> Atoms:
    moved = atoms.copy()
    moved.positions += [0.31, -2.2, 1.7]
    moved.wrap()
    return moved


def permuted(atoms: Atoms) -> Atoms:
    return atoms[np.random.default_rng(0).permutation(len(atoms))]


def repeated(atoms: Atoms) -> Atoms:
    return atoms.repeat((2, 1, 3))


@pytest.mark.parametrize("change", [rotated, translated, permuted, repeated])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_the_same_matter_has_the_same_features(
    make_model: MakeModel, triclinic: Atoms, change: Callable[[Atoms], Atoms], precision: str
) -> None:
    # Float32 networks would agree to 1e-6 at best: the features are in float64 for them, too.
    features = frame_features(make_model(precision=precision), [triclinic, change(triclinic)])
    assert np.abs(features[1]).max() > 0.1
    assert features[1] == pytest.approx(features[0], abs=1e-10)


def test_features_are_continuous_where_an_atom_crosses_the_cutoff(make_model: MakeModel) -> None:
    model, step = make_model(), 1e-6
    distances = np.array([3.0, 4.0 - step, 4.0, 4.0 + step, 3.0 + step])
    pairs = [Atoms("SiGeSi", positions=[[0, 0, 0], [0, d, 0], [2.2, 0, 0]]) for d in distances]
    inside, before, at, after, inside_after = frame_features(model, pairs)
    # s(r) ends with two continuous derivatives, so that the last step changes nothing that can be seen;
    # well inside, features of order 1 change by their slope of order 1 per Å.
    assert before == pytest.approx(at, abs=1e-12) and after == pytest.approx(at, abs=1e-12)
    assert 0 < np.abs(inside_after - inside).max() < 10 * step


def test_equal_atoms_have_no_deviation(make_model: MakeModel) -> None:
    model = make_model()
    mean, deviation, *germanium = frame_features(model, [bulk("Si", cubic=True)]).reshape(4, -1)
    assert np.abs(mean).max() > 0.1 and np.abs(deviation).max() < 1e-12
    assert (np.array(germanium) == 0).all()


def test_frames_do_not_depend_on_how_they_are_batched(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model()
    frames = [triclinic, bulk("Si", cubic=True), Atoms("Ge"), triclinic[[0, 1]], bulk("Ge")]
    alone = np.concatenate([frame_features(model, [frame]) for frame in frames])
    for batch in (1, 300, 100_000):
        assert frame_features(model, iter(frames), batch=batch) == pytest.approx(alone, abs=1e-12)


def test_no_frames_have_features_of_the_right_width(make_model: MakeModel) -> None:
    model = make_model()
    assert frame_features(model, []).shape == (0, 2 * 2 * model.descriptor.width)


def test_a_compressed_model_has_the_features_of_its_parent(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model()
    compressed = model.tabulated(TableOptions(spacing=0.1))
    assert (frame_features(compressed, [triclinic]) == frame_features(model, [triclinic])).all()


def test_the_model_stays_as_it_is(make_model: MakeModel, triclinic: Atoms) -> None:
    model = make_model(precision="float32")
    before = model.to_bytes()
    frame_features(model, [triclinic])
    assert model.to_bytes() == before


@pytest.mark.parametrize(
    "broken, message",
    [
        (Atoms("C"), "element C"),
        (Atoms("Si2", positions=[[0, 0, 0], [0, 0, 0.01]]), "0.01 Å apart"),
        (Atoms("Si", positions=[[0, np.nan, 0]]), "not finite"),
    ],
)
def test_a_frame_without_features_is_named(make_model: MakeModel, broken: Atoms, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        frame_features(make_model(), [Atoms("Si"), broken])
    assert error.value.key == "frames[1]"


def test_the_reference_model_is_that_of_its_seed(triclinic: Atoms) -> None:
    first, again, other = (
        frame_features(reference_model(("Si", "Ge"), seed), [triclinic]) for seed in (3, 3, 4)
    )
    assert (first == again).all() and not np.allclose(first, other)


CRYSTAL = bulk("Si", cubic=True).repeat((2, 1, 1))

#: Groups of a pool: how many structures, the ideal structure, largest strain, displacement in Å. Most of a
#: pool is dull, and what is rare is what matters.
GROUPS = {
    "crystal": (40, CRYSTAL, 0.0, 0.05),
    "strained": (40, scale(CRYSTAL, 0.95), 0.02, 0.05),
    "hot": (30, CRYSTAL, 0.0, 0.2),
    "liquid-like": (8, CRYSTAL, 0.0, 0.6),
}


def mixed_pool(seed: int) -> tuple[list[Atoms], NDArray[np.str_]]:
    rng = np.random.default_rng(seed)
    frames = [
        perturb(ideal, rng, cell_pert_fraction=strain, atom_pert_distance=displacement)
        for count, ideal, strain, displacement in GROUPS.values()
        for _ in range(count)
    ]
    return frames, np.repeat(list(GROUPS), [count for count, *_ in GROUPS.values()])


def sorted_distances(atoms: Atoms, n_nearest: int = 28) -> NDArray[np.float64]:
    """An independent fingerprint in Å: the distances of all atoms to their nearest neighbours, in order.

    Three shells of the crystal, within 4.5 Å; the adjacent images of the cell hold everything up to 5 Å.
    """
    positions = atoms.get_positions(wrap=True)
    images = np.array(list(product((-1, 0, 1), repeat=3))) @ atoms.cell.array
    distances = cdist(positions, (images[:, None] + positions).reshape(-1, 3))
    nearest = np.sort(distances, axis=1)[:, 1 : 1 + n_nearest]  # the first one is the atom itself
    return np.sort(nearest.ravel()) / np.sqrt(nearest.size)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_farthest_points_cover_a_mixed_pool_better_than_random_ones(seed: int) -> None:
    frames, groups = mixed_pool(seed)
    features = standardise(frame_features(reference_model(["Si"], seed), frames))
    fingerprints = np.array([sorted_distances(atoms) for atoms in frames])
    distances = cdist(fingerprints, fingerprints)
    rng = np.random.default_rng(seed)
    for n in (6, 12):
        chosen = farthest_points(features, n).order
        radius = distances[:, chosen].min(axis=1).max()
        random = [
            distances[:, rng.choice(len(frames), n, replace=False)].min(axis=1).max() for _ in range(50)
        ]
        assert radius < np.median(random)
    # Of random choices of 12, four in ten miss a group.
    assert set(groups[chosen]) == set(GROUPS)
