"""Errors are root mean squares and mean absolutes in the units of the labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms

from alpw.errors import InputError
from alpw.potential import DeepPotential
from alpw.potential import test as evaluate
from alpw.structures.frame import Label, LabelledFrame


def test_errors_are_those_of_the_differences_put_into_the_labels(
    make_model: Callable[..., DeepPotential], triclinic: Atoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    # Small groups, so that the frames are spread over several.
    monkeypatch.setattr("alpw.potential.evaluation.PAIRS_PER_BATCH", 300)
    rng = np.random.default_rng(1)
    df, de, dw, frames = [], [], [], []
    for k, atoms in enumerate([triclinic, triclinic[[0, 1]], Atoms("Si"), triclinic]):
        found, n = model.predict(atoms), len(atoms)
        force, energy, virial = rng.normal(size=(n, 3)), rng.normal(), rng.normal(size=(3, 3))
        label = Label(found.energy + energy, found.forces + force, None if k == 1 else found.virial + virial)
        frames.append(LabelledFrame(atoms, label))
        df.append(force.ravel())
        de.append(energy / n)
        if k != 1:
            dw.append(virial / n)
    errors = evaluate(model, frames)
    forces = np.concatenate(df)
    assert errors.force_rmse == pytest.approx(np.sqrt(np.mean(forces**2)), rel=1e-9)
    assert errors.force_mae == pytest.approx(np.mean(np.abs(forces)), rel=1e-9)
    assert errors.energy_rmse == pytest.approx(np.sqrt(np.mean(np.square(de))), rel=1e-9)
    assert errors.energy_mae == pytest.approx(np.mean(np.abs(de)), rel=1e-9)
    assert errors.virial_rmse == pytest.approx(np.sqrt(np.mean(np.square(dw))), rel=1e-9)


def test_a_missing_virial_is_absent_and_not_a_number(
    make_model: Callable[..., DeepPotential], triclinic: Atoms
) -> None:
    frame = LabelledFrame(triclinic, Label(0.0, np.zeros((4, 3))))
    assert evaluate(make_model(), [frame]).virial_rmse is None


def test_no_frames_are_an_error(make_model: Callable[..., DeepPotential]) -> None:
    with pytest.raises(InputError, match="no frames"):
        evaluate(make_model(), [])
