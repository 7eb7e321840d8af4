"""Frames become batches once, and what a model cannot take is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from alpw.errors import InputError
from alpw.potential import DeepPotential
from alpw.potential.dataset import join, prepare
from alpw.structures.frame import Label, LabelledFrame

MakeModel = Callable[..., DeepPotential]


def labelled(atoms: Atoms) -> LabelledFrame:
    return LabelledFrame(atoms, Label(-1.0, np.zeros((len(atoms), 3))))


@pytest.mark.parametrize(
    ("sel", "message"),
    [
        (15, r"frames\[1\]: atom 0 has 16 neighbours within 4\.0 Å, .* allows 15; give 16 or more"),
        ((15, 0), r"frames\[2\]: atom 0 has 16 Ge neighbours within 4\.0 Å, .* allows 0; give 16"),
        ((12, 16), r"frames\[1\]: atom 0 has 16 Si neighbours within 4\.0 Å, .* allows 12"),
    ],
)
def test_more_neighbours_than_a_given_sel_name_the_frame_the_atom_and_the_number(
    make_model: MakeModel, sel: Any, message: str
) -> None:
    germanium = bulk("Si")
    germanium.numbers[:] = 32
    frames = [labelled(Atoms("Si")), labelled(bulk("Si")), labelled(germanium)]
    with pytest.raises(InputError, match=message):
        prepare(make_model(sel=sel), frames)


def test_an_automatic_sel_limits_nothing(make_model: MakeModel) -> None:
    assert len(prepare(make_model(), [labelled(bulk("Si", a=4.0))])) == 1


def test_coinciding_atoms_are_named(make_model: MakeModel) -> None:
    twice = Atoms("Si3", positions=[[0, 0, 0], [2, 0, 0], [2, 0, 0.01]])
    with pytest.raises(InputError, match=r"frames\[1\]: atoms 1 and 2 are 0\.01 Å apart"):
        prepare(make_model(), [labelled(bulk("Si")), labelled(twice)])


def test_an_absurd_force_is_refused_before_it_spoils_a_training(make_model: MakeModel) -> None:
    atoms, label = labelled(bulk("Si"))
    label.forces[1, 2] = -1e30
    with pytest.raises(InputError, match=r"frames\[0\]: atom 1 has a force of 1e\+30 eV/Å"):
        prepare(make_model(), [LabelledFrame(atoms, label)])


@pytest.mark.parametrize("type_embedding", [None, "learned"])
def test_joined_frames_have_the_results_of_single_ones(
    make_model: MakeModel, structure: Atoms, triclinic: Atoms, type_embedding: str | None
) -> None:
    model = make_model(type_embedding=type_embedding)
    batches = prepare(model, [labelled(atoms) for atoms in (triclinic, structure, Atoms("Ge"))])
    together = model.evaluate(join(batches).environment)
    apart = [model.evaluate(batch.environment) for batch in batches]
    for name in ("energy", "forces", "virial", "atomic_energies"):
        expected = torch.cat([getattr(result, name) for result in apart])
        assert torch.allclose(getattr(together, name), expected, rtol=0, atol=1e-10), name


def test_an_environment_outlives_a_change_of_weights_and_scale(
    make_model: MakeModel, triclinic: Atoms
) -> None:
    model = make_model()
    (batch,) = prepare(model, [labelled(triclinic)])
    with torch.no_grad():
        model.descriptor.dstd *= 1.7
        for parameter in model.parameters():
            parameter += 0.1
    cached, fresh = model.evaluate(batch.environment), model.evaluate(model.neighbors(triclinic).graph())
    assert torch.equal(cached.forces, fresh.forces)
