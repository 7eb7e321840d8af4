"""Errors are root mean squares and mean absolutes in the units of the labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms

from alpw.errors import InputError
from alpw.potential import DeepPotential
from alpw.potential import test as evaluate
from alpw.potential.dataset import prepare
from alpw.potential.evaluation import compare
from alpw.structures.frame import Label, LabelledFrame


def test_errors_are_those_of_the_differences_put_into_the_labels(
    make_model: Callable[..., DeepPotential], triclinic: Atoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    # Small groups, so that the frames are spread over several.
    monkeypatch.setattr("alpw.potential.evaluation.PAIRS_PER_BATCH", 300)
    rng = np.random.default_rng(1)
    df, de, dw, numbers, frames = [], [], [], [], []
    for k, atoms in enumerate([triclinic, triclinic[[0, 1]], Atoms("Si"), triclinic]):
        found, n = model.predict(atoms), len(atoms)
        force, energy, virial = rng.normal(size=(n, 3)), rng.normal(), rng.normal(size=(3, 3))
        label = Label(found.energy + energy, found.forces + force, None if k == 1 else found.virial + virial)
        frames.append(LabelledFrame(atoms, label))
        df.append(force)
        numbers.append(atoms.numbers)
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
    assert errors.virial_mae == pytest.approx(np.mean(np.abs(dw)), rel=1e-9)
    assert list(errors.elements) == ["Si", "Ge"]
    for symbol, number in (("Si", 14), ("Ge", 32)):
        part = forces[np.concatenate(numbers) == number]
        found = errors.elements[symbol]
        assert found.n_atoms == len(part)
        assert found.force_rmse == pytest.approx(np.sqrt(np.mean(part**2)), rel=1e-9)
        assert found.force_mae == pytest.approx(np.mean(np.abs(part)), rel=1e-9)


def test_a_comparison_keeps_every_frame_in_its_place(
    make_model: Callable[..., DeepPotential], triclinic: Atoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alpw.potential.evaluation.PAIRS_PER_BATCH", 300)
    model = make_model()
    structures = [triclinic, triclinic[[0, 1]], Atoms("Si"), triclinic[[3]]]
    label = [Label(float(k), np.full((len(atoms), 3), k)) for k, atoms in enumerate(structures)]
    frames = [LabelledFrame(*pair) for pair in zip(structures, label, strict=True)]
    found = compare(model, prepare(model, frames))
    assert found.frame.tolist() == [0, 0, 0, 0, 1, 1, 2, 3]
    assert found.n_atoms.tolist() == [4, 2, 1, 1]
    assert (found.force_labels[:, 0] == found.frame).all() and found.energy_labels.tolist() == [0, 1, 2, 3]
    for k, atoms in enumerate(structures):
        alone = model.predict(atoms)
        assert found.energies[k] == pytest.approx(alone.energy, abs=1e-9)
        assert found.forces[found.frame == k] == pytest.approx(alone.forces, abs=1e-9)
        assert found.virials[k] == pytest.approx(alone.virial, abs=1e-9)


def test_a_missing_virial_is_absent_and_not_a_number(
    make_model: Callable[..., DeepPotential], triclinic: Atoms
) -> None:
    frame = LabelledFrame(triclinic, Label(0.0, np.zeros((4, 3))))
    errors = evaluate(make_model(), [frame])
    assert errors.virial_rmse is None and errors.virial_mae is None


def test_no_frames_are_an_error(make_model: Callable[..., DeepPotential]) -> None:
    with pytest.raises(InputError, match="no frames"):
        evaluate(make_model(), [])
