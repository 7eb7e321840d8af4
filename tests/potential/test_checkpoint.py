"""Models survive storage bit by bit, and nothing but a model is ever read as one."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from alpw.errors import InputError
from alpw.potential import DeepPotential
from alpw.potential.compression import compress

MakeModel = Callable[..., DeepPotential]


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_stored_model_is_the_same_model(
    make_model: MakeModel, triclinic: Atoms, tmp_path: Path, precision: str
) -> None:
    model = make_model(precision=precision, type_one_side=False)
    model.save(tmp_path / "model.pt")
    for read in (DeepPotential.load(tmp_path / "model.pt"), DeepPotential.from_bytes(model.to_bytes())):
        assert read.config == model.config
        assert read.state_dict().keys() == model.state_dict().keys()
        assert all(
            torch.equal(tensor, model.state_dict()[name]) for name, tensor in read.state_dict().items()
        )
        assert read.predict(triclinic).energy == model.predict(triclinic).energy


def test_a_stored_compressed_model_is_the_same_compressed_model(
    make_model: MakeModel, triclinic: Atoms, tmp_path: Path
) -> None:
    compressed, _ = compress(make_model(), spacing=0.1, order=3, shortest=0.7)
    compressed.save(tmp_path / "model.pt")
    read = DeepPotential.load(tmp_path / "model.pt")
    assert read.tables is not None
    assert compressed.tables is not None
    assert read.tables.options == compressed.tables.options
    assert torch.equal(read.tables.rows, compressed.tables.rows)
    assert not any(parameter.requires_grad for parameter in read.parameters())
    assert np.array_equal(read.predict(triclinic).forces, compressed.predict(triclinic).forces)
    assert read.parent().predict(triclinic).energy == compressed.parent().predict(triclinic).energy


def test_tables_that_cannot_be_made_are_refused(make_model: MakeModel) -> None:
    content = torch.load(io.BytesIO(compress(make_model())[0].to_bytes()), weights_only=True)
    content["tables"] = {"width": 1}
    with pytest.raises(InputError, match="do not fit"):
        DeepPotential.from_bytes(_stored(content))


@pytest.mark.parametrize("keep", [0, 1, 100, 2000, -1])
def test_a_truncated_file_is_refused(make_model: MakeModel, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(make_model().to_bytes()[:keep])
    with pytest.raises(InputError, match=r"model\.pt: not a readable deep potential"):
        DeepPotential.load(path)


def _stored(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_another_version_is_refused_by_number(make_model: MakeModel) -> None:
    content = torch.load(io.BytesIO(make_model().to_bytes()), weights_only=True)
    with pytest.raises(InputError, match="version: deep potential format 999"):
        DeepPotential.from_bytes(_stored({**content, "version": 999}))


def test_weights_of_another_architecture_are_refused(make_model: MakeModel) -> None:
    content = torch.load(io.BytesIO(make_model().to_bytes()), weights_only=True)
    content["config"]["axis_neuron"] = 4
    with pytest.raises(InputError, match="do not fit"):
        DeepPotential.from_bytes(_stored(content))


@pytest.mark.parametrize("content", [{"weights": 1}, [1, 2], torch.zeros(3)])
def test_a_foreign_torch_file_is_refused(content: object) -> None:
    with pytest.raises(InputError, match="not a deep potential"):
        DeepPotential.from_bytes(_stored(content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.pt: cannot read the model"):
        DeepPotential.load(tmp_path / "nowhere.pt")


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("serialise", [_stored, pickle.dumps])
def test_code_in_a_file_is_not_executed(tmp_path: Path, serialise: Callable[[object], bytes]) -> None:
    marker = tmp_path / "executed"
    with pytest.raises(InputError, match="not a readable deep potential"):
        DeepPotential.from_bytes(serialise(_Payload(marker)))
    assert not marker.exists()


def test_a_failed_write_leaves_the_old_file(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    make_model(seed=1).save(path)
    before = path.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        make_model(seed=2).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
