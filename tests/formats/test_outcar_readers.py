"""OUTCARs of other people, read as ASE, pymatgen and dpdata read them."""

from __future__ import annotations

from pathlib import Path

import ase.io
import dpdata
import numpy as np
import pytest
from pymatgen.io.vasp.outputs import Outcar

from alpw.formats.outcar import outcar_header
from tests.formats.outcars import frames_of, packed, unpacked, whole

# name -> frames, converged frames
FILES = {
    "relax": (8, 8),
    "relax_spin": (5, 4),
    "nelm_reached": (1, 0),
    "vasp_5.3": (1, 1),
    "linear_response": (1, 1),
}

# What another reader does otherwise, and why it is not a fault of ours.
EXCEPTIONS = {
    ("dpdata", "relax_spin"): "leaves out steps that converged in the very last of NELM electronic steps",
    ("dpdata", "nelm_reached"): "leaves out unconverged steps; ours are marked",
}


@pytest.mark.parametrize("name", FILES)
def test_ase_reads_the_same_frames(tmp_path: Path, name: str) -> None:
    frames = frames_of(packed(name))
    others = ase.io.read(unpacked(tmp_path, name), index=":", format="vasp-out")
    assert len(frames) == len(others) == FILES[name][0]
    for frame, other in zip(frames, others, strict=True):
        assert np.array_equal(frame.atoms.numbers, other.numbers)
        assert np.allclose(frame.atoms.positions, other.positions, rtol=0, atol=1e-12)
        assert np.allclose(np.asarray(frame.atoms.cell), np.asarray(other.cell), rtol=0, atol=1e-12)
        assert np.allclose(frame.label.forces, other.get_forces(apply_constraint=False), rtol=0, atol=1e-12)
        assert frame.label.energy == pytest.approx(other.calc.results["free_energy"], abs=1e-10)
        # From the row in kB, which has five decimals like the one in eV.
        stress = other.get_stress(voigt=False) * other.get_volume()
        assert np.allclose(frame.label.virial, -stress, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_pymatgen_reads_the_same_energies_and_last_forces(tmp_path: Path, name: str) -> None:
    frames, other = whole(packed(name)), Outcar(unpacked(tmp_path, name))
    other.read_pattern({"free": r"free  energy   TOTEN\s+=\s+(\S+)"}, postprocess=float)
    assert frames.energies == pytest.approx(np.ravel(other.data["free"]), abs=1e-10)
    assert frames.extras["energy_sigma0"][-1] == pytest.approx(other.final_energy, abs=1e-10)
    table = other.read_table_pattern(
        header_pattern=r"\sPOSITION\s+TOTAL-FORCE \(eV/Angst\)\n\s-+",
        row_pattern=r"\s+" + r"\s+".join([r"([+-]?\d+\.\d+)"] * 6),
        footer_pattern=r"\s--+",
        postprocess=float,
    )
    assert np.allclose(np.array(table)[:, 3:], frames.forces[-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"nelm_reached"}))
def test_dpdata_reads_the_same_frames(tmp_path: Path, name: str) -> None:
    path = unpacked(tmp_path, name)
    ours = whole(path)
    if ("dpdata", name) in EXCEPTIONS:
        ours = ours.select(ours.extras["electronic_steps"] < outcar_header(path).nelm)
    system = dpdata.LabeledSystem(str(path), fmt="vasp/outcar")
    names = [system["atom_names"][kind] for kind in system["atom_types"]]
    assert names == ours[0].atoms.get_chemical_symbols()
    # dpdata turns cells into lower triangular form.
    assert np.allclose(system["energies"], ours.energies, rtol=0, atol=1e-9)
    assert np.allclose(
        np.linalg.norm(system["forces"], axis=2), np.linalg.norm(ours.forces, axis=2), rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("name", FILES)
def test_the_converged_frames_are_counted(name: str) -> None:
    assert whole(packed(name)).converged.sum() == FILES[name][1]
