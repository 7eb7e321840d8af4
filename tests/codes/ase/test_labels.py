"""Labels of ASE calculators and of our own models, and the level of theory that they carry."""

import hashlib
import importlib.metadata

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from alpw.codes.protocol import Task
from alpw.codes.registry import available, code_of
from alpw.codes.run import run_label
from alpw.errors import CalculationError
from alpw.potential import DeepPotential, DeepPotentialConfig
from alpw.potential.calculator import DeepPotentialCalculator

ASE = code_of("ase")
LJ = {"epsilon": 0.4, "sigma": 2.3, "rc": 5.0, "smooth": True}


@pytest.fixture
def model(tmp_path):
    """A small model of our own with random weights."""
    nets = {"neuron": (6, 12), "axis_neuron": 4, "fitting_neuron": (10, 10)}
    potential = DeepPotential(
        DeepPotentialConfig(elements=("Cu", "Au"), rcut=4.0, rcut_smth=1.0, seed=3, **nets)
    )
    potential.descriptor.sel.fill_(20)
    potential.descriptor.normaliser.fill_(20.0)
    potential.save(tmp_path / "model.alpw")
    return tmp_path / "model.alpw"


def assert_label_is_that_of(calculator, atoms, label):
    atoms = atoms.copy()
    atoms.calc = calculator
    # The same code on the same machine: rounding of the sums only.
    assert label.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-12, rel=1e-12)
    np.testing.assert_allclose(label.forces, atoms.get_forces(), atol=1e-12)
    virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
    np.testing.assert_allclose(label.virial, virial, atol=1e-12)


@pytest.mark.parametrize("path", ["ase.calculators.lj.LennardJones", "ase.calculators.lj:LennardJones"])
def test_label_is_what_the_calculator_says(copper, with_calculator, tmp_path, path):
    result = run_label(ASE, copper, tmp_path / "run", with_calculator(path, LJ))
    assert_label_is_that_of(LennardJones(**LJ), copper, result.label)
    assert result.corrections == []


def test_function_may_make_the_calculator(copper, with_calculator, drive):
    dft = with_calculator("toys.from_file", {"weights": __file__})
    folder = drive.run(copper, dft, Task.LABEL)
    assert_label_is_that_of(EMT(), copper, ASE.read_label(folder, copper, dft))


def test_label_of_our_own_model_is_that_of_its_calculator(copper, make_dft, model, tmp_path):
    result = run_label(ASE, copper, tmp_path / "run", make_dft(dft_style="ase", model=model))
    calculator = DeepPotentialCalculator(DeepPotential.load(model))
    assert_label_is_that_of(calculator, copper, result.label)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert result.settings == {"code": "ase", "model": f"sha256:{digest}"}


def test_compressed_crystal_has_a_positive_virial(with_calculator, drive):
    atoms = bulk("Cu", a=3.4)
    folder = drive.run(atoms, with_calculator(), Task.LABEL)
    assert np.trace(ASE.read_label(folder, atoms, None).virial) > 0


@pytest.mark.parametrize(
    "atoms", [molecule("CO"), fcc111("Cu", (1, 1, 2), vacuum=5)], ids=["molecule", "slab"]
)
def test_structure_that_is_not_periodic_in_all_directions_has_no_virial(atoms, with_calculator, drive):
    folder = drive.run(atoms, with_calculator(), Task.LABEL)
    assert ASE.read_label(folder, atoms, None).virial is None


def test_calculator_without_stress_gives_labels_without_virial(copper, with_calculator, drive):
    folder = drive.run(copper, with_calculator("toys.without_stress"), Task.LABEL)
    assert ASE.read_label(folder, copper, None).virial is None


def test_result_of_another_structure_is_never_taken_for_this_one(copper, with_calculator, drive):
    folder = drive.run(copper, with_calculator(), Task.LABEL)
    copper.positions[2, 1] += 2e-4
    with pytest.raises(CalculationError, match="atom 2"):
        ASE.read_label(folder, copper, None)


def test_level_of_theory_tells_calculator_arguments_and_version(copper, with_calculator, drive):
    folder = drive.run(copper, with_calculator("ase.calculators.lj.LennardJones", LJ), Task.LABEL)
    assert ASE.settings(folder) == {
        "code": "ase",
        "calculator": "ase.calculators.lj.LennardJones",
        "arguments": LJ,
        "package": "ase",
        "version": importlib.metadata.version("ase"),
    }


def test_level_of_theory_is_that_of_every_task_and_not_of_where_it_runs(copper, with_calculator, drive):
    dft = with_calculator(arguments={"asap_cutoff": True})
    label = ASE.settings(drive.run(copper, dft, Task.LABEL, "label"))
    steps = with_calculator(arguments={"asap_cutoff": True}, steps=2, temperature=700, seed=5)
    assert ASE.settings(drive.run(copper, steps, Task.AIMD, "md")) == label
    assert ASE.settings(drive.run(copper, dft, Task.RELAX, "relax")) == label
    assert ASE.settings(drive.run(copper, with_calculator(), Task.LABEL, "other")) != label


def test_files_count_by_their_content_and_not_by_their_path(copper, with_calculator, drive, tmp_path):
    settings = []
    for name, content in (("a", "1"), ("b", "1"), ("c", "2")):
        weights = tmp_path / name
        weights.write_text(content)
        dft = with_calculator("toys.from_file", {"weights": str(weights)})
        assert ASE.further_files(dft, ["Cu"]) == [weights]
        settings.append(ASE.settings(drive.run(copper, dft, Task.LABEL, f"run_{name}")))
    assert settings[0] == settings[1] != settings[2]
    # The module of these functions belongs to no package with a version.
    assert settings[0]["source"].startswith("sha256:")


def test_available_tells_the_version_of_ase():
    found, text = available("ase")
    assert found and text.startswith(f"ASE {importlib.metadata.version('ase')}") and "tblite" in text
