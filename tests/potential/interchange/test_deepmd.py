"""Our models in deepmd-kit and deepmd-kit's models here, against deepmd-kit itself."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from alpw.errors import InputError
from alpw.potential.interchange import export_model, import_model

from .conftest import EVALUATED, MADE, READ_BACK, VARIANTS, agrees, first_step, in_bar

pytestmark = pytest.mark.slow

# Both add in float64, in different orders.
ROUNDING = 1e-11


@pytest.mark.parametrize("name", EVALUATED)
def test_deepmd_computes_what_we_compute(name, variants, structures, reference):
    system, _ = VARIANTS[name]
    assert agrees(variants[name].predict(structures[system]), reference(name)) < ROUNDING


@pytest.mark.parametrize("name", MADE)
def test_a_model_of_deepmd_has_the_energy_of_its_numpy_reference(name, structures, reference):
    ours = import_model(reference.folder / f"{name}.yaml").predict(structures["quaternary"])
    assert ours.energy == pytest.approx(reference.results[f"{name}.numpy"], rel=ROUNDING)


@pytest.mark.parametrize("name", READ_BACK)
def test_a_frozen_model_of_deepmd_computes_here_what_it_computes_there(name, structures, reference):
    # TensorFlow scales energies by `out_std`, and its operators hold radii in single precision.
    ours = import_model(reference.folder / f"{name}.back.yaml")
    assert agrees(ours.predict(structures["quaternary"]), reference(name)) < ROUNDING


def test_a_model_with_a_mean_is_tied_to_its_slots(structures, reference):
    model = import_model(reference.folder / "made-mean.yaml")
    squeezed = structures["quaternary"].copy()
    squeezed.set_cell(squeezed.cell * 0.6, scale_atoms=True)
    with pytest.raises(InputError, match=r"neighbours of type \d.*ties it to the 20"):
        model.predict(squeezed)


def test_a_model_with_a_mean_goes_back_unchanged(structures, reference, tmp_path):
    model = import_model(reference.folder / "made-mean.yaml")
    (file,) = export_model(model, "deepmd", tmp_path / "again.yaml")
    again = import_model(file).predict(structures["quaternary"])
    before = model.predict(structures["quaternary"])
    assert agrees(again, (before.energy, before.forces, before.virial)) < ROUNDING
    with pytest.raises(InputError, match="its empty slots count"):
        export_model(model, "deepmd", tmp_path / "larger.yaml", sel=64)


@pytest.fixture(scope="module")
def lammps_input(variants, structures, deepmd_python, tmp_path_factory):
    """An exported input with its frozen model, which deepmd-kit makes for us."""
    return export_model(
        variants["physical-two-side"],
        "lammps",
        tmp_path_factory.mktemp("lammps") / "in.lammps",
        engine="deepmd",
        deepmd_python=deepmd_python,
        structure=structures["quaternary"],
    )


def test_pair_style_deepmd_runs_the_exported_input(lammps_input, variants, structures, deepmd_python):
    assert [path.name for path in lammps_input] == ["in.lammps", "in.lammps.data", "in.lammps.pb"]
    text = lammps_input[0].read_text()
    # Without velocities the pressure is the virial's alone; ten steps are enough.
    cold = re.sub(r"(?m)^run .*$", "run 10", re.sub(r"(?m)^velocity .*$", "", text))
    site = Path(_ask(deepmd_python, "import deepmd; print(deepmd.__path__[0])")).parent
    libraries = [deepmd_python.parent.parent / "lib", site / "tensorflow", site / "deepmd/lib"]
    done = subprocess.run(
        [site / "lammps/lmp", "-log", "none"],
        input=cold,
        cwd=lammps_input[0].parent,
        env={
            **os.environ,
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "LAMMPS_PLUGIN_PATH": str(site / "deepmd/lib"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    expected = variants["physical-two-side"].predict(structures["quaternary"])
    energy, pressure = first_step(done.stdout)
    assert energy == pytest.approx(expected.energy, rel=1e-7)
    assert pressure == pytest.approx(in_bar(expected.virial, structures["quaternary"].get_volume()), rel=1e-6)


def test_a_frozen_model_of_ours_comes_back(lammps_input, variants, structures, deepmd_python):
    back = import_model(lammps_input[-1], deepmd_python=deepmd_python)
    ours = variants["physical-two-side"].predict(structures["quaternary"])
    assert agrees(back.predict(structures["quaternary"]), (ours.energy, ours.forces, ours.virial)) < ROUNDING


def _ask(python: Path, code: str) -> str:
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
