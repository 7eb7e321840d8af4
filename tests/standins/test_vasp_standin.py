"""Every reader finds the same in the files of the stand-in for VASP, and it is what a potential gives."""

import dpdata
import numpy as np
import pytest
from ase.build import bulk
from ase.io import read
from custodian.vasp.validators import VaspFilesValidator, VasprunXMLValidator
from potentials import pick
from pymatgen.io.vasp.inputs import Poscar
from pymatgen.io.vasp.outputs import Chgcar, Oszicar, Outcar, Xdatcar
from vasp_folder import MD, SCF, VaspFolder, distorted_silicon

KBAR = 1602.1766208  # kbar in one eV/Å³


@pytest.fixture
def run(tmp_path):
    return VaspFolder(tmp_path)


@pytest.fixture
def silicon():
    return distorted_silicon()


def check_readers(run, n_frames, symbols, pressure=0.0):
    """pymatgen, ASE and dpdata read the same frames from both files; returns those of vasprun.xml.

    OUTCAR has positions to 1e-5 Å, forces to 1e-6 eV/Å and stress to 1e-5 kbar. In vasprun.xml the energies
    of the ionic steps contain pressure (kbar) times volume, which ASE alone takes away.
    """
    steps = run.vasprun().ionic_steps
    assert len(steps) == n_frames
    for step in steps:
        assert step["e_fr_energy"] - pressure * step["structure"].volume / KBAR == pytest.approx(
            step["electronic_steps"][-1]["e_fr_energy"], abs=1e-6
        )
        for name in ("e_fr_energy", "e_0_energy"):
            step[name] = step["electronic_steps"][-1][name]
    xml = read(run.folder / "vasprun.xml", ":")
    outcar = read(run.folder / "OUTCAR", ":")
    for frames in (xml, outcar):
        assert len(frames) == n_frames
        for atoms, step in zip(frames, steps, strict=True):
            assert atoms.get_chemical_symbols() == symbols
            assert atoms.get_potential_energy(force_consistent=True) == pytest.approx(
                step["e_fr_energy"], abs=1e-5
            )
            assert atoms.get_potential_energy() == pytest.approx(step["e_0_energy"], abs=1e-5)
            np.testing.assert_allclose(atoms.get_forces(apply_constraint=False), step["forces"], atol=1e-5)
            np.testing.assert_allclose(-atoms.get_stress(voigt=False) * KBAR, step["stress"], atol=2e-5)
            np.testing.assert_allclose(atoms.cell.array, step["structure"].lattice.matrix, atol=1e-5)
            off = np.abs(atoms.get_scaled_positions() - step["structure"].frac_coords)
            assert np.minimum(off, 1 - off).max() < 1e-5
    for name, form in (("OUTCAR", "vasp/outcar"), ("vasprun.xml", "vasp/xml")):
        system = dpdata.LabeledSystem(str(run.folder / name), fmt=form)
        assert len(system) == n_frames
        assert [system["atom_names"][t] for t in system["atom_types"]] == symbols
        for frame, step in enumerate(steps):
            volume = step["structure"].volume
            work = pressure * volume / KBAR if name == "vasprun.xml" else 0.0
            assert system["energies"][frame] - work == pytest.approx(step["e_fr_energy"], abs=1e-5)
            # dpdata turns cells into lower triangular ones.
            turn = np.linalg.inv(step["structure"].lattice.matrix) @ system["cells"][frame]
            np.testing.assert_allclose(system["forces"][frame], step["forces"] @ turn, atol=1e-5)
            virial = turn.T @ np.array(step["stress"]) @ turn * volume / KBAR
            np.testing.assert_allclose(system["virials"][frame], virial, atol=1e-5)
    outputs = Outcar(run.folder / "OUTCAR")
    assert outputs.final_fr_energy == pytest.approx(steps[-1]["e_fr_energy"], abs=1e-5)
    assert outputs.run_stats["Elapsed time (sec)"] > 0
    oszicar = Oszicar(run.folder / "OSZICAR")
    assert [step["F"] for step in oszicar.ionic_steps] == pytest.approx(
        [step["e_fr_energy"] for step in steps], rel=1e-7
    )
    assert [len(cycle) for cycle in oszicar.electronic_steps] == [
        len(step["electronic_steps"]) for step in steps
    ]
    trajectory = Xdatcar(run.folder / "XDATCAR").structures
    assert len(trajectory) == n_frames
    np.testing.assert_allclose(trajectory[-1].frac_coords, steps[-1]["structure"].frac_coords, atol=1e-6)
    assert [site.specie.symbol for site in Poscar.from_file(run.folder / "CONTCAR").structure] == symbols
    assert not VaspFilesValidator().check(str(run.folder))
    assert not VasprunXMLValidator().check(str(run.folder))
    return steps


def test_all_readers_find_the_same_single_point(run, silicon):
    assert run.write(silicon, SCF)() == 0
    (step,) = check_readers(run, 1, ["Si"] * 8)
    result = run.vasprun()
    assert result.converged
    assert result.run_type == "PBE"
    assert result.eigenvalue_band_properties[0] == pytest.approx(0.6, abs=0.1)
    assert step["e_wo_entrp"] > step["e_0_energy"] > step["e_fr_energy"]
    assert Chgcar.from_file(run.folder / "CHGCAR").structure.composition.formula == "Si8"


def test_version_5_swaps_two_energies_of_vasprun(run, silicon):
    run.write(silicon, SCF)(VASP_VERSION="5.4.4")
    result = run.vasprun()
    (step,) = result.ionic_steps
    right = step["electronic_steps"][-1]
    assert result.vasp_version == "5.4.4"
    assert step["e_0_energy"] == right["e_wo_entrp"] != right["e_0_energy"] == step["e_wo_entrp"]
    assert read(run.folder / "vasprun.xml").get_potential_energy() == pytest.approx(right["e_0_energy"])


def test_energy_forces_and_stress_are_the_potential_times_one_factor(run, silicon):
    run.write(silicon, SCF)()
    (step,) = run.vasprun().ionic_steps
    silicon.calc, _ = pick(["Si"])
    factor = step["e_fr_energy"] / silicon.get_potential_energy()
    assert factor == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(step["forces"], factor * silicon.get_forces(), atol=1e-6)
    stress = -np.array(step["stress"]) / KBAR
    np.testing.assert_allclose(stress, factor * silicon.get_stress(voigt=False), atol=1e-8)


def test_forces_and_stress_are_slopes_of_the_energies_that_the_program_prints(run, silicon):
    """The mesh is fixed: with KSPACING the level of theory would change with the cell."""
    mesh = "mesh\n0\nGamma\n3 3 3\n"
    run.write(silicon, SCF, kpoints=mesh)()
    (step,) = run.vasprun().ionic_steps
    length = 1e-3

    def energy(moved):
        run.write(moved, SCF, kpoints=mesh)()
        return run.energy()

    shifted = [silicon.copy(), silicon.copy()]
    for atoms, sign in zip(shifted, (1, -1), strict=True):
        atoms.positions[3, 1] += sign * length
    slope = (energy(shifted[0]) - energy(shifted[1])) / (2 * length)
    assert step["forces"][3][1] == pytest.approx(-slope, abs=1e-4)
    strained = [silicon.copy(), silicon.copy()]
    for atoms, sign in zip(strained, (1, -1), strict=True):
        strain = np.eye(3)
        strain[0, 2] = strain[2, 0] = sign * length / 2
        atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
    slope = (energy(strained[0]) - energy(strained[1])) / (2 * length)
    assert -step["stress"][0][2] / KBAR * silicon.get_volume() == pytest.approx(slope, abs=1e-3)


def test_relaxation_at_constant_cell_moves_only_the_atoms_that_may_move(run, silicon):
    from ase.constraints import FixAtoms

    silicon.set_constraint(FixAtoms([0]))
    assert run.write(silicon, {**SCF, "IBRION": 2, "ISIF": 2, "NSW": 60, "EDIFFG": -0.01})() == 0
    result = run.vasprun()
    steps = check_readers(run, len(result.ionic_steps), ["Si"] * 8)
    assert 2 < len(steps) < 60
    assert result.converged_ionic
    assert "reached required accuracy" in run.text("vasp.out")
    assert np.linalg.norm(steps[-1]["forces"][1:], axis=1).max() < 0.01
    np.testing.assert_allclose(
        steps[-1]["structure"].lattice.matrix, steps[0]["structure"].lattice.matrix, atol=1e-12
    )
    np.testing.assert_allclose(
        steps[-1]["structure"].frac_coords[0], steps[0]["structure"].frac_coords[0], atol=1e-8
    )
    np.testing.assert_allclose(
        read(run.folder / "CONTCAR").get_scaled_positions(), steps[-1]["structure"].frac_coords, atol=1e-8
    )


def test_relaxation_of_the_cell_reaches_the_wanted_pressure(run, silicon):
    tags = {**SCF, "IBRION": 1, "ISIF": 3, "NSW": 80, "EDIFFG": -0.005, "PSTRESS": 20}
    assert run.write(silicon, tags)() == 0
    steps = check_readers(run, len(run.vasprun().ionic_steps), ["Si"] * 8, pressure=20)
    stress = np.array(steps[-1]["stress"])
    np.testing.assert_allclose(stress, 20 * np.eye(3), atol=1.0)


@pytest.mark.parametrize(
    ("isif", "atoms_move", "volume_changes"),
    [(4, True, False), (5, False, False), (6, False, True), (7, False, True), (8, True, True)],
)
def test_isif_says_what_moves(run, silicon, isif, atoms_move, volume_changes):
    run.write(silicon, {**SCF, "IBRION": 2, "ISIF": isif, "NSW": 4, "EDIFFG": -1e-5})()
    result = run.vasprun()
    first, last = result.ionic_steps[0]["structure"], result.ionic_steps[-1]["structure"]
    assert (np.abs(first.frac_coords - last.frac_coords).max() > 1e-4) == atoms_move
    assert (abs(first.volume - last.volume) > 1e-2) == volume_changes


def test_nve_conserves_the_energy(run, silicon):
    atoms = silicon * (2, 1, 1)
    assert run.write(atoms, {**MD, "NSW": 100, "SMASS": -3, "TEBEG": 300})() == 0
    steps = check_readers(run, 100, ["Si"] * 16)
    total = np.array([step["total"] for step in steps])
    exchanged = np.ptp([step["kinetic"] for step in steps])
    assert exchanged > 0.1  # energy does flow between motion and potential
    assert np.ptp(total) < 0.02 * exchanged
    assert total == pytest.approx([step["e_fr_energy"] + step["kinetic"] for step in steps], abs=1e-6)
    temperatures = [float(str(step["T"]).rstrip(".")) for step in Oszicar(run.folder / "OSZICAR").ionic_steps]
    assert temperatures[0] == pytest.approx(300, abs=15)
    assert run.vasprun().converged_ionic


def test_dynamics_continued_from_contcar_follows_the_uninterrupted_trajectory(run, silicon):
    tags = {**MD, "SMASS": -3, "TEBEG": 300}
    run.write(silicon, {**tags, "NSW": 12})()
    whole = [step["e_fr_energy"] for step in run.vasprun().ionic_steps]
    run.incar({**tags, "NSW": 5})
    run()
    first = [step["e_fr_energy"] for step in run.vasprun().ionic_steps]
    (run.folder / "POSCAR").write_text(run.text("CONTCAR"))
    run.incar({**tags, "NSW": 7})
    run()
    second = [step["e_fr_energy"] for step in run.vasprun().ionic_steps]
    assert first + second == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize(
    "tags",
    [
        {"MDALGO": 2, "SMASS": 0.5},
        {"SMASS": 0},
        {"MDALGO": 3, "LANGEVIN_GAMMA": 20},
        {"MDALGO": 1, "ANDERSEN_PROB": 0.05},
        {"SMASS": -1, "NBLOCK": 5},
    ],
    ids=["nose-hoover", "nose", "langevin", "andersen", "scaling"],
)
def test_thermostats_hold_the_temperature(run, tags):
    """45 degrees of freedom for 0.3 ps, some ten times their memory: the mean fluctuates by 8 %."""
    atoms = bulk("Si", cubic=True) * (2, 1, 1)
    common = {**MD, "NSW": 200, "POTIM": 2.0, "TEBEG": 600, "EDIFF": 1.0, "KSPACING": 2.0}
    assert run.write(atoms, {**common, **tags})() == 0
    temperatures = [float(str(step["T"]).rstrip(".")) for step in Oszicar(run.folder / "OSZICAR").ionic_steps]
    assert np.mean(temperatures[50:]) == pytest.approx(600, rel=0.25)


def test_langevin_with_isif_3_changes_the_cell(run, silicon):
    tags = {**MD, "NSW": 20, "MDALGO": 3, "ISIF": 3, "LANGEVIN_GAMMA": 10, "TEBEG": 300, "PSTRESS": 50}
    assert run.write(silicon, tags)() == 0
    steps = check_readers(run, 20, ["Si"] * 8, pressure=50)
    assert steps[-1]["structure"].volume < steps[0]["structure"].volume


def test_dynamics_has_no_stress_unless_isif_asks_for_it(run, silicon):
    """ISIF = 0 is VASP's default there."""
    tags = {tag: value for tag, value in MD.items() if tag != "ISIF"}
    run.write(silicon, {**tags, "NSW": 3, "SMASS": -3, "TEBEG": 300})()
    assert "in kB" not in run.text("OUTCAR")
    assert "stress" not in run.text("vasprun.xml")
    assert "virials" not in dpdata.LabeledSystem(str(run.folder / "OUTCAR"), fmt="vasp/outcar").data


def test_spins_and_an_interleaved_order_of_species_are_kept(run):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.05, seed=2)
    symbols = atoms.get_chemical_symbols()
    assert symbols[:4] == ["Na", "Cl", "Na", "Cl"]
    tags = {**SCF, "ISPIN": 2, "MAGMOM": "4*1.0 4*-0.5", "LORBIT": 11}
    assert run.write(atoms, tags, labels=["Na_pv", "Cl"] * 4)() == 0
    check_readers(run, 1, symbols)
    moments = [site["tot"] for site in Outcar(run.folder / "OUTCAR").magnetization]
    assert moments == pytest.approx([0.9] * 4 + [-0.45] * 4)
    assert Oszicar(run.folder / "OSZICAR").ionic_steps[0]["mag"] == pytest.approx(1.8)
    assert read(run.folder / "OUTCAR").get_magnetic_moment() == pytest.approx(1.8)


def test_metals_have_no_gap_and_an_entropy(run):
    atoms = bulk("Al", cubic=True)
    atoms.rattle(0.05, seed=1)
    assert run.write(atoms, {**SCF, "SIGMA": 0.4})() == 0
    (step,) = check_readers(run, 1, ["Al"] * 4)
    assert run.vasprun().eigenvalue_band_properties[0] == 0
    assert (step["e_wo_entrp"] - step["e_fr_energy"]) / 4 > 1e-3  # eV; custodian calls such a SIGMA too large
