"""Exported inputs, run as a user runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from ase.build import bulk
from ase.io import read

from alpw.codes.lammps.library import open_lammps
from alpw.errors import AlpwError, InputError
from alpw.potential import DeepPotential
from alpw.potential.interchange import export_model
from alpw.potential.interchange.lammps import ModelForces
from alpw.potential.interchange.scripts import example_structure

from .conftest import first_step, in_bar


def _run(script, *arguments):
    done = subprocess.run(
        [sys.executable, script.name, *arguments],
        cwd=script.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_ase_script_runs_with_the_models_energy(variants, structures, tmp_path):
    model = variants["plain-silicon"]
    script, *others = export_model(model, "ase", tmp_path / "md.py", structure=structures["silicon"])
    assert all(path.exists() for path in others)
    script.write_text(script.read_text().replace("run(100)", "run(10)"))
    expected = model.predict(read(tmp_path / "md.py.extxyz")).energy
    assert f"energy {expected:.6f} eV" in _run(script)


def test_the_lammps_script_runs_with_the_models_energy_and_pressure(variants, structures, tmp_path):
    model, atoms = variants["plain-two-side"], structures["quaternary"]
    model.save(tmp_path / "mine.pt")
    start, *others = export_model(
        model, "lammps", tmp_path / "in.lammps", structure=atoms, model_file=tmp_path / "mine.pt"
    )
    assert [path.name for path in others] == ["in.lammps.data", "run_in_lammps.py"]
    # Without velocities the pressure is the virial's alone.
    start.write_text(re.sub(r"(?m)^velocity .*$", "", start.read_text()))
    energy, pressure = first_step(_run(others[-1]))
    expected = model.predict(atoms)
    assert energy == pytest.approx(expected.energy, rel=1e-7)
    assert pressure == pytest.approx(in_bar(expected.virial, atoms.get_volume()), rel=1e-6)


def test_lammps_conserves_energy_while_atoms_cross_the_boundary(variants, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, atoms = variants["plain-silicon"], bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=1)
    export_model(model, "lammps", tmp_path / "in.lammps", structure=atoms)
    lammps = open_lammps(("-screen", "none", "-log", "none"))
    try:
        lammps.file("in.lammps")
        forces = ModelForces(lammps, model, ["Si"])
        forces.command("run 0")
        before = lammps.get_thermo("etotal")
        # All atoms drift by more than a cell, and LAMMPS wraps them back each time it sorts.
        forces.command("velocity all set 80.0 60.0 40.0 sum yes")
        forces.command("run 0")
        before = lammps.get_thermo("etotal")
        forces.command("run 100")
        assert lammps.get_thermo("etotal") == pytest.approx(before, abs=1e-3)
    finally:
        lammps.close()


def test_an_error_of_the_model_ends_the_run(variants, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, atoms = variants["plain-silicon"], bulk("Si", cubic=True)
    export_model(model, "lammps", tmp_path / "in.lammps", structure=atoms)
    lammps = open_lammps(("-screen", "none", "-log", "none"))
    try:
        lammps.file("in.lammps")
        forces = ModelForces(lammps, model, ["Si"])
        lammps.command("set atom 2 x 0.0 y 0.0 z 0.0")
        lammps.command("set atom 1 x 0.0 y 0.0 z 0.0")
        with pytest.raises(AlpwError, match="not finite"):
            forces.command("run 5")
        with pytest.raises(InputError, match="1 atom types"):
            ModelForces(lammps, model, ["Si", "Ge"])
    finally:
        lammps.close()


def test_an_input_for_deepmd_without_deepmd_says_how_to_convert(variants, structures, tmp_path, monkeypatch):
    monkeypatch.delenv("ALPW_DEEPMD_PYTHON", raising=False)
    start, _, model = export_model(
        variants["plain-two-side"],
        "lammps",
        tmp_path / "in.lammps",
        engine="deepmd",
        structure=structures["quaternary"],
    )
    assert model.name == "in.lammps.yaml"
    text = start.read_text()
    assert "dp convert-backend in.lammps.yaml in.lammps.pb" in text
    assert re.search(r"(?m)^pair_style +deepmd in\.lammps\.pb$", text)
    assert re.search(r"(?m)^pair_coeff +\* \* Si Ge C O$", text)
    assert re.findall(r"(?m)^mass +(\d) (\S+)", text) == [
        ("1", "28.085"), ("2", "72.63"), ("3", "12.011"), ("4", "15.999")
    ]  # fmt: skip


@pytest.mark.parametrize("symbol", ["Si", "Fe", "O", "He", "Cm"])
def test_any_element_has_an_example_to_start_from(symbol):
    crystal = example_structure([symbol])
    distances = crystal.get_all_distances(mic=True)
    assert 4 <= len(crystal) <= 64 and distances[distances > 0].min() > 1.5


def test_what_cannot_be_written_is_refused(variants, structures, tmp_path):
    model = variants["plain-silicon"]
    with pytest.raises(InputError, match="deepmd, torchscript, ase, lammps"):
        export_model(model, "onnx", tmp_path / "model.onnx")
    with pytest.raises(InputError, match="no such folder"):
        export_model(model, "ase", tmp_path / "missing" / "md.py")
    with pytest.raises(InputError, match="contains C Ge O"):
        export_model(model, "lammps", tmp_path / "in.lammps", structure=structures["quaternary"])


def test_a_script_loads_the_model_it_was_written_for(variants, tmp_path):
    export_model(variants["plain-silicon"], "ase", tmp_path / "md.py")
    loaded = DeepPotential.load(tmp_path / "md.py.pt")
    assert loaded.config == variants["plain-silicon"].config
