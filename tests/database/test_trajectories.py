"""Trajectories: stored once, read back whole, also those from before there was a choice of deviations."""

import numpy as np
import pytest
from ase.build import bulk
from gridfs import NoFile

from alpw.database import blobs, trajectories
from alpw.errors import DatabaseError


@pytest.fixture
def frames():
    start = bulk("Si", cubic=True)
    moved = start.copy()
    moved.set_cell(moved.cell.array * 1.01, scale_atoms=True)
    return [start, moved]


def store(db, frames, key="a", columns=tuple(trajectories.DEVIATION_SERIES), **record):
    series = {"step": np.array([0, 10])}
    for number, name in enumerate(columns):
        kind = int if name == "worst_atom" else float
        series[trajectories.DEVIATION_SERIES[name]] = np.array([number, number + 1], dtype=kind)
    return trajectories.store(db, "c", 0, key, frames, series, {"end": "uncertain", **record})


def test_every_column_comes_back_with_its_definition(mongo, frames):
    identity = store(mongo, frames, deviation="legacy")
    document = trajectories.find(mongo, "c", 0, "a")
    assert document["_id"] == identity
    assert (document["end"], trajectories.deviation(document)) == ("uncertain", "legacy")
    assert trajectories.measures(document) == ["committee", "kpu"]
    for number, name in enumerate(trajectories.DEVIATION_SERIES.values()):
        np.testing.assert_array_equal(trajectories.series(document, name), [number, number + 1])
    for found, expected in zip(trajectories.frames(mongo, document), frames, strict=True):
        np.testing.assert_array_equal(found.positions, expected.positions)
        np.testing.assert_array_equal(found.cell.array, expected.cell.array)


def test_document_without_virial_deviation_and_definition_is_still_read(mongo, frames):
    store(mongo, frames, columns=("max_f", "mean_f", "min_f", "worst_atom", "energy_deviation"))
    document = trajectories.find(mongo, "c", 0, "a")
    assert trajectories.deviation(document) == "dpgen"
    assert trajectories.measures(document) == ["committee"]
    np.testing.assert_array_equal(trajectories.series(document, "max_force_deviation"), [0, 1])
    np.testing.assert_array_equal(trajectories.series(document, "mean_virial_deviation"), [np.nan, np.nan])
    with pytest.raises(KeyError, match="forces"):
        trajectories.series(document, "forces")


def test_same_trajectory_is_stored_once(mongo, frames):
    assert store(mongo, frames) == store(mongo, frames[:1])
    assert trajectories.find(mongo, "c", 0, "a")["n_frames"] == 2


def test_trajectories_without_frames_are_forgotten_by_name(mongo, frames):
    store(mongo, frames, "kept")
    trajectories.store(mongo, "c", 0, "lost", [], {"step": np.empty(0, int)}, {"end": "error"})
    assert trajectories.forget_failed(mongo, "c", 0) == ["lost"]
    assert [document["key"] for document in trajectories.of_iteration(mongo, "c", 0)] == ["kept"]


def test_trajectory_without_forces_is_still_read(mongo, frames):
    store(mongo, frames)
    document = trajectories.find(mongo, "c", 0, "a")
    np.testing.assert_array_equal(trajectories.series(document, trajectories.MAX_FORCE), [np.nan, np.nan])


def test_coordinates_are_forgotten_unless_another_campaign_names_them(mongo, frames):
    for key in "ab":
        store(mongo, frames, key=key)
    mine, shared = trajectories.of_iteration(mongo, "c", 0)
    copied = {name: value for name, value in shared.items() if name != "_id"} | {"campaign": "branch"}
    mongo[trajectories.COLLECTION].insert_one(copied)
    for _ in range(2):
        trajectories.forget_frames(mongo, "c", 0)
    for run in trajectories.of_iteration(mongo, "c", 0):
        np.testing.assert_array_equal(trajectories.series(run, "step"), [0, 10])
        with pytest.raises(DatabaseError, match=rf"{run['key']} of iteration 0.*reserve_md_traj"):
            trajectories.frames(mongo, run)
    (other,) = trajectories.of_iteration(mongo, "branch", 0)
    assert len(trajectories.frames(mongo, other)) == 2
    with pytest.raises(NoFile):
        blobs.get(mongo, mine["coordinates"])
    trajectories.forget_frames(mongo, "branch", 0)
    with pytest.raises(NoFile):
        blobs.get(mongo, shared["coordinates"])
