"""The TorchScript file against the model it was made of, in a Python that cannot import ALPW."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from alpw.potential.interchange import export_model
from alpw.potential.tables import TableOptions

from .conftest import VARIANTS, agrees, make_variant

ALONE = """
import sys, torch
module = torch.jit.load(sys.argv[1])
results = module(*torch.load(sys.argv[2]))
torch.save([module.cutoff(), module.elements(), *results], sys.argv[3])
assert "alpw" not in sys.modules
"""


def _arguments(model, atoms, skin=0.5):
    """Of ``forward``, with pairs beyond the cutoff."""
    pairs = model.neighbors(atoms, skin)
    types = [model.config.elements.index(symbol) for symbol in atoms.symbols]
    positions, cell, shifts = (
        torch.tensor(np.asarray(a)) for a in (pairs.positions, pairs.cell, pairs.shifts)
    )
    return positions, cell, torch.tensor(types), torch.tensor(pairs.i), torch.tensor(pairs.j), shifts


@pytest.mark.parametrize("name", VARIANTS)
def test_the_file_computes_what_the_model_computes(name, variants, structures, tmp_path):
    model, atoms = variants[name], structures[VARIANTS[name][0]]
    (file,) = export_model(model, "torchscript", tmp_path / "model.ts")
    energy, forces, virial, energies = torch.jit.load(file)(*_arguments(model, atoms))
    ours = model.predict(atoms)
    assert agrees(ours, (energy.item(), forces.numpy(), virial.numpy())) < 1e-12
    np.testing.assert_allclose(energies.numpy(), ours.atomic_energies, rtol=1e-12)


def test_the_file_runs_without_alpw(variants, structures, tmp_path):
    model, atoms = variants["learned-two-side"], structures["quaternary"]
    export_model(model, "torchscript", tmp_path / "model.ts")
    torch.save(_arguments(model, atoms), tmp_path / "arguments.pt")
    files = [tmp_path / name for name in ("model.ts", "arguments.pt", "results.pt")]
    # Isolated, so that neither the folder nor an installed ALPW is of any use.
    subprocess.run([sys.executable, "-I", "-c", ALONE, *files], check=True, timeout=120)
    cutoff, elements, energy, *_ = torch.load(files[-1])
    assert (cutoff, tuple(elements)) == (model.config.rcut, model.config.elements)
    assert energy.item() == pytest.approx(model.predict(atoms).energy, rel=1e-12)


def test_atoms_without_neighbours_have_energy_and_no_force(variants, structures, tmp_path):
    model, atoms = variants["plain-two-side"], structures["quaternary"][:1]
    atoms.pbc = False
    (file,) = export_model(model, "torchscript", tmp_path / "model.ts")
    energy, forces, virial, _ = torch.jit.load(file)(*_arguments(model, atoms))
    assert energy.item() == pytest.approx(model.predict(atoms).energy, rel=1e-12)
    assert not forces.any() and not virial.any()


def test_a_compressed_model_is_written_with_its_networks(variants, structures, tmp_path):
    model, atoms = variants["learned-two-side"], structures["quaternary"]
    (file,) = export_model(model.tabulated(TableOptions()), "torchscript", tmp_path / "model.ts")
    energy, forces, virial, _ = torch.jit.load(file)(*_arguments(model, atoms))
    assert agrees(model.predict(atoms), (energy.item(), forces.numpy(), virial.numpy())) < 1e-12


def test_single_precision_stays_single(structures, tmp_path):
    model, atoms = make_variant("silicon", precision="float32"), structures["silicon"]
    (file,) = export_model(model, "torchscript", tmp_path / "model.ts")
    energy, forces, virial, _ = torch.jit.load(file)(*_arguments(model, atoms))
    assert agrees(model.predict(atoms), (energy.item(), forces.numpy(), virial.numpy())) < 1e-5
