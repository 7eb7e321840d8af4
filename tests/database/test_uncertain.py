"""Start structures drawn from the data set."""

import numpy as np
from ase.build import bulk

from alpw.database import configurations, reading, trajectories
from alpw.database.configurations import Role
from alpw.database.uncertain import most_uncertain


def test_labelled_training_frames_of_a_structure_come_in_order_of_their_uncertainty(mongo):
    atoms = bulk("Si", cubic=True)
    runs = {
        structure: trajectories.store(
            mongo, "c", 1, f"s{structure}", [atoms], {"step": np.array([0])}, {"structure": structure}
        )
        for structure in (0, 1)
    }
    ids = {}
    for name, structure, role, uncertainty, state in [
        ("low", 0, Role.TRAIN, 0.1, "labelled"),
        ("high", 0, Role.TRAIN, 0.3, "labelled"),
        ("middle", 0, Role.TRAIN, 0.2, "labelled"),
        ("unlabelled", 0, Role.TRAIN, 0.9, "quarantined"),
        ("validation", 0, Role.VALIDATION, 0.9, "labelled"),
        ("other", 1, Role.TRAIN, 0.9, "labelled"),
    ]:
        source = {"trajectory": runs[structure], "uncertainty": {"max_force_deviation": uncertainty}}
        ids[name] = configurations.propose(mongo, "c", 1, name, atoms, role, source)
        mongo[configurations.COLLECTION].update_one({"_id": ids[name]}, {"$set": {"state": state}})
    assert most_uncertain(mongo, "c", 1, 0, 9) == [ids["high"], ids["middle"], ids["low"]]
    assert most_uncertain(mongo, "c", 1, 0, 1) == [ids["high"]]
    assert most_uncertain(mongo, "c", 0, 0, 9) == []
    # A branch has labels that name the trajectories and the structures of its parent.
    collection = mongo[configurations.COLLECTION]
    shared = collection.find_one({"_id": ids["low"]}, {"_id": 0, "structure": 0})
    shared |= {"campaign": "b", "reference": ids["low"]}
    branched = collection.insert_one(shared).inserted_id
    assert most_uncertain(mongo, "b", 1, 0, 9) == [branched]
    assert np.allclose(reading.structure(mongo, branched).positions, atoms.positions)
