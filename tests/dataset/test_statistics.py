"""Counts and ranges against what pymongo and NumPy say; pictures of what there is."""

import json
from pathlib import Path

import bson
import numpy as np
import pytest
from typer.testing import CliRunner

from alpw.cli.main import app
from alpw.dataset import Dataset
from alpw.dataset.descriptors import principal
from alpw.dataset.statistics import statistics
from alpw.report import dataset as pictures


def test_statistics_are_those_of_the_documents(db):
    facts, groups = statistics(Dataset(db), ["campaign", "iteration"])
    documents = list(db.configurations.find({"state": {"$ne": "removed"}}))
    assert facts["configurations"] == len(documents)
    for name in ("state", "role", "formula", "code"):
        wanted = {key: sum(d.get(name) == key for d in documents) for key in {d.get(name) for d in documents}}
        wanted.pop(None, None)
        assert facts["counts"][name] == wanted
    energies = [d["energy_per_atom"] for d in documents if "energy_per_atom" in d]
    assert facts["ranges"]["energy_per_atom"] == {
        "min": min(energies),
        "median": float(np.median(energies)),
        "max": max(energies),
    }
    assert facts["origins"] == {"trajectory": 2, "file": 1}
    mean = np.mean([len(bson.encode(document)) for document in documents])
    assert facts["bytes_per_configuration"] == pytest.approx(mean, abs=0.5)
    first = groups[0]["group"] | {"state": {"$ne": "removed"}}
    assert groups[0]["configurations"] == db.configurations.count_documents(first)
    assert sum(group["configurations"] for group in groups) == len(documents)


def test_statistics_as_json(db):
    result = CliRunner().invoke(app, ["dataset", "stats", "campaign=tiny", "--by", "tag", "--json"])
    assert result.exit_code == 0
    groups = json.loads(result.stdout)["groups"]
    assert {tuple(group["group"]["tags"] or ()) for group in groups} == {(), ("liquid",)}


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (260, 230)])
def test_principal_components_diagonalise_the_covariance(shape):
    points = np.random.default_rng(1).normal(size=shape) * np.linspace(3, 1, shape[1])
    coordinates, shares = principal(points, 3)
    values = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    assert np.cov(coordinates.T) == pytest.approx(np.diag(values[:3]), abs=1e-8)
    assert shares == pytest.approx(values[:3] / values.sum(), rel=1e-8)


@pytest.mark.parametrize(
    ("kind", "suffix", "start"),
    [
        (["energy-volume", "--colour", "uncertainty"], ".png", b"\x89PNG"),
        (["forces"], ".pdf", b"%PDF"),
        (["composition"], ".svg", b"<?xml"),
        (["map"], ".png", b"\x89PNG"),
    ],
)
def test_pictures_are_written(db, tmp_path, monkeypatch, kind, suffix, start):
    monkeypatch.setattr(pictures, "MOST", 5)
    file = tmp_path / f"picture{suffix}"
    result = CliRunner().invoke(app, ["dataset", "plot", "campaign=tiny", "-o", str(file), "-k", *kind])
    assert result.exit_code == 0, result.output
    assert file.read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["formula=Xe", "-k", "forces", "-o", "a.png"], 1, "nothing to draw"),
        (["formula=Xe", "-k", "composition", "-o", "a.png"], 1, "nothing to draw"),
        (["-k", "forces", "-o", "a.gif"], 2, "allowed suffixes"),
        (["-k", "forces", "-c", "energy", "-o", "a.png"], 2, "no points to colour"),
        (["-k", "pie", "-o", "a.png"], 2, "allowed: energy-volume"),
    ],
)
def test_what_cannot_be_drawn_leaves_no_file(db, words, status, complaint):
    result = CliRunner().invoke(app, ["dataset", "plot", *words])
    assert result.exit_code == status and complaint in result.output
    assert not list(Path.cwd().glob("a.*"))
