"""Frames of the database as the first data of a campaign."""

import numpy as np
import pytest

from alpw.config import load_inputs
from alpw.database import campaigns, configurations
from alpw.database.configurations import Role
from alpw.dataset import Dataset
from alpw.dataset.lending import lend
from alpw.errors import InputError
from alpw.workflows.check import check_inputs
from alpw.workflows.launch import continue_campaign, start_campaign


def start(launchpad, inputs, **data):
    inputs.param.update({"campaign": "next", **data})
    inputs.param.pop("initial", None)
    inputs.write()
    param, resource = load_inputs("param.json", "resource.json")
    check_inputs(param, resource)
    return start_campaign(launchpad, param, resource)


def test_a_campaign_begins_with_what_a_query_selects(db, launchpad, inputs):
    silicon = Dataset(db, {"chemical_system": "Si"})
    wanted = silicon.labelled.ids()
    silicon.where({"iteration": 0}).snapshot("first")
    data = {"init_data": ["query:chemsys=Si max_force<1000.5"], "valid_data": ["snapshot:first"]}
    assert start(launchpad, inputs, **data)
    own = Dataset(db, {"campaign": "next"})
    theirs = list(Dataset(db, {"_id": {"$in": wanted}}).frames())
    assert own.count() == len(theirs) == len(wanted)
    by_energy = {frame.label.energy: frame for frame in theirs}
    for frame in own.frames():
        assert np.array_equal(frame.label.forces, by_energy[frame.label.energy].label.forces)
        assert np.array_equal(frame.atoms.positions, by_energy[frame.label.energy].atoms.positions)
    # What both name, and what validated before, is never trained on.
    held_out = {e["energy"] for e in db.configurations.find({"campaign": "next", "role": "validation"})}
    old = {"campaign": "tiny", "chemical_system": "Si", "state": "labelled"}
    assert held_out == {
        document["energy"]
        for document in db.configurations.find(old)
        if document["iteration"] == 0 or document["role"] == "validation"
    }
    trained = configurations.ids(db, "next", Role.TRAIN)
    assert len(trained) == len(wanted) - len(held_out)
    assert db.iterations.find_one({"campaign": "next"})["training_set"]["n"] == len(trained)


def test_what_is_selected_is_frozen_and_comes_once(db, launchpad, inputs):
    start(launchpad, inputs, init_data=["query:chemsys=Si", "query:state=labelled chemsys=Si"])
    own = Dataset(db, {"campaign": "next"})
    before = own.ids()
    Dataset(db, {"campaign": "tiny", "chemical_system": "Si"}).remove("another functional")
    (one, _) = campaigns.get(db, "next")["stored_data"]
    assert lend(db, "next", one["snapshot"], Role.TRAIN) == 0
    continue_campaign(launchpad, "next")
    assert own.ids() == before and len(list(own.frames())) == len(before)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("query:max_forec>5", "init_data: .*did you mean 'max_force'"),
        ("query:formula=Ge8", "init_data: .*selects no labelled frame"),
        ("query:chemsys=C-Si", r"init_data: .*frames with C, which train.atom_type \['Si'\] lacks"),
        ("snapshot:nothing", "init_data: no snapshot 'nothing'"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_there_is_a_campaign(
    db, launchpad, inputs, entry, complaint
):
    with pytest.raises(InputError, match=complaint):
        start(launchpad, inputs, init_data=[entry])
    assert campaigns.find(db, "next") is None
