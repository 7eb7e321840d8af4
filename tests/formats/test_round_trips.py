"""What is written in a format comes back, whatever the cell, the composition and the order of the atoms.

Text with all digits and NumPy files give the same doubles. Fractional coordinates cost two solves of the
cell: 1e-12 Å is a hundred roundings at 10 Å. Frames are compared sorted where a format sorts atoms.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alpw.formats.registry import NOTHING_SAID, Options, find
from alpw.structures.frames import LabelledFrames, single_frames

PATIENT = settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

LABELLED = {
    # format: tolerance of positions in Å, of labels (relative, and in eV or eV/Å), what the writer sorts by
    "extxyz": (0.0, 0.0, None),
    "deepmd/npy": (0.0, 0.0, None),
    "deepmd/mixed": (0.0, 0.0, None),
    "deepmd/hdf5": (0.0, 0.0, None),
    "lmdb": (0.0, 0.0, None),
    "ase-db": (0.0, 0.0, None),
    "pwmlff/npy": (1e-12, 0.0, "number"),
    "pwmat/movement": (1e-12, 1e-15, None),
}


def key(frame):
    return round(frame.label.energy, 6)


def same(one, other, positions, labels, order, name):
    assert one.atoms.numbers[order].tolist() == other.atoms.numbers.tolist()
    assert np.asarray(other.atoms.cell) == pytest.approx(np.asarray(one.atoms.cell), abs=positions, rel=0)
    assert other.atoms.positions == pytest.approx(one.atoms.positions[order], abs=positions, rel=0)
    assert other.label.energy == pytest.approx(one.label.energy, rel=labels, abs=labels)
    assert other.label.forces == pytest.approx(one.label.forces[order], rel=labels, abs=labels)
    assert (one.label.virial is None) == (other.label.virial is None)
    if one.label.virial is not None:
        virial, noise = one.label.virial, labels
        if name == "ase-db":
            # Six components, and divided by the volume and multiplied again.
            virial, noise = (virial + virial.T) / 2, 1e-13
        assert other.label.virial == pytest.approx(virial, rel=noise, abs=noise)


@pytest.mark.parametrize("name", LABELLED)
@given(seed=st.integers(0, 2**32 - 1), virials=st.sampled_from(["all", "some", "none"]))
@PATIENT
def test_labelled_frames(tmp_path_factory, batch, name, seed, virials):
    positions, labels, sorted_by = LABELLED[name]
    path = tmp_path_factory.mktemp("data") / f"frames{find(name).suffix}"
    written = [batch(seed, virials=virials), batch(seed + 1), batch(seed + 2, n_atoms=4)]
    find(name).write(path, iter(written))
    back = list(single_frames(find(name).read(path, NOTHING_SAID)))
    frames = list(single_frames(written))
    if find(name).suffix == "" or name == "deepmd/hdf5":
        # Systems are read by name, not in the order in which they were written.
        frames, back = sorted(frames, key=key), sorted(back, key=key)
    assert len(back) == len(frames)
    for one, other in zip(frames, back, strict=True):
        order = (
            np.argsort(one.atoms.numbers, kind="stable") if sorted_by else np.arange(len(one.atoms.numbers))
        )
        same(one, other, positions, labels, order, name)


BOTH = ("extxyz", "deepmd/npy", "deepmd/mixed", "deepmd/hdf5", "lmdb", "ase-db")
"""Formats of periodic frames and of molecules."""

STRUCTURES = {
    "lammps/lmp": (1e-12, Options()),
    "vasp/poscar": (1e-12, Options()),
    "pwmat/config": (1e-12, Options()),
}


@pytest.mark.parametrize("name", STRUCTURES)
@given(seed=st.integers(0, 2**32 - 1))
@PATIENT
def test_structures(tmp_path_factory, structure, name, seed):
    tolerance, options = STRUCTURES[name]
    path = tmp_path_factory.mktemp("data") / "file"
    atoms = structure(seed)
    find(name).write(path, iter((atoms,)), options)
    (back,) = find(name).read(path, options)
    order = np.arange(len(atoms))
    if name == "vasp/poscar":
        first = {z: k for k, z in reversed(list(enumerate(atoms.numbers)))}
        order = np.array(sorted(range(len(atoms)), key=lambda k: first[atoms.numbers[k]]))
    assert back.numbers.tolist() == atoms.numbers[order].tolist()
    assert np.asarray(back.cell) == pytest.approx(np.asarray(atoms.cell), abs=tolerance, rel=0)
    assert back.positions == pytest.approx(atoms.positions[order], abs=tolerance, rel=0)
    assert back.pbc.all()


@pytest.mark.parametrize("name", ["extxyz", "ase-db"])
def test_unconverged_frames_and_extras_survive(tmp_path, batch, name):
    plain = batch(3)
    marked = LabelledFrames(
        **{
            **plain.__dict__,
            "converged": np.array([True, False, True]),
            "extras": {"time": np.array([0.0, 0.5, 1.0]), "temperature": np.array([300.0, 310.5, 290.25])},
        }
    )
    find(name).write(tmp_path / "frames", [marked])
    (back,) = find(name).read(tmp_path / "frames", NOTHING_SAID)
    assert back.converged.tolist() == [True, False, True]
    assert back.extras["time"].tolist() == [0.0, 0.5, 1.0]
    assert back.extras["temperature"].tolist() == [300.0, 310.5, 290.25]


@pytest.mark.parametrize("name", BOTH)
def test_molecules_without_periodicity(tmp_path, batch, name):
    periodic = batch(5, virials="none")
    molecules = LabelledFrames(
        **{**periodic.__dict__, "pbc": (False,) * 3, "cells": np.zeros_like(periodic.cells)}
    )
    path = tmp_path / f"frames{find(name).suffix}"
    find(name).write(path, [molecules])
    back = list(single_frames(find(name).read(path, NOTHING_SAID)))
    assert len(back) == 3 and not any(frame.atoms.pbc.any() for frame in back)
    assert all(frame.atoms.cell.rank == 0 for frame in back)


@pytest.mark.parametrize("name", [name for name in LABELLED if name not in BOTH])
def test_a_molecule_without_cell_is_refused_where_there_is_no_word_for_it(tmp_path, batch, name):
    from alpw.errors import InputError

    periodic = batch(5, virials="none")
    molecules = LabelledFrames(
        **{**periodic.__dict__, "pbc": (False,) * 3, "cells": np.zeros_like(periodic.cells)}
    )
    with pytest.raises(InputError, match="volume"):
        find(name).write(tmp_path / "data", [molecules])
    assert list(tmp_path.rglob("*.npy")) == []
