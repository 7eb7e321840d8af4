"""CP2K itself: equation of state, AIMD and relaxation that are killed and go on, labels of steps, stopping.

The mechanics of many steps are tested with CP2K's own xTB at Γ, half a second per SCF.
"""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from alpw.codes.cp2k.data import executable
from alpw.codes.protocol import Task
from alpw.codes.registry import code_of
from alpw.codes.run import run_label, run_steps
from alpw.config import Dft

CP2K = code_of("cp2k")
EXAMPLE = Path(__file__).parents[3] / "examples" / "silicon_cp2k" / "cp2k.inp"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(executable() is None, reason="CP2K is not installed (Debian: apt-get install cp2k)"),
]

CONTROL = """\
&MOTION
  &MD
    ENSEMBLE NVE
    STEPS 5
    TIMESTEP 1.0
    TEMPERATURE 300
  &END MD
  &GEO_OPT
    MAX_FORCE 5.0E-4
  &END GEO_OPT
&END MOTION
&FORCE_EVAL
  &DFT
    &QS
      METHOD xTB
      EPS_DEFAULT 1.0E-8
      &xTB
        DO_EWALD T
      &END xTB
    &END QS
    &SCF
      SCF_GUESS MOPAC
      EPS_SCF 1.0E-7
      MAX_SCF 60
      ADDED_MOS 4
      &MIXING
        METHOD BROYDEN_MIXING
        ALPHA 0.2
        NBROYDEN 8
      &END MIXING
    &END SCF
  &END DFT
  &SUBSYS
    &KIND Si
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""

KILLED_ONCE = """\
[ -e ../died ] && exec cp2k.psmp "$@"
cp2k.psmp "$@" &
pid=$!
until [ "$(grep -c ' i =' run-pos-1.xyz 2> /dev/null)" = 3 ]; do sleep 0.05; done
touch ../died
kill -9 $pid
kill -9 $$
"""


def rattled_silicon():
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=7)
    return atoms


@pytest.fixture(scope="module")
def dft(tmp_path_factory):
    control = tmp_path_factory.mktemp("control") / "si.inp"
    control.write_text(CONTROL)
    return Dft.model_validate({"dft_style": "cp2k", "input": control})


@pytest.fixture(scope="module")
def aimd(tmp_path_factory, dft):
    """AIMD of five steps without interruption."""
    return run_steps(CP2K, Task.AIMD, rattled_silicon(), tmp_path_factory.mktemp("aimd"), dft, timeout=500)


@pytest.fixture
def killed_once(tmp_path):
    script = tmp_path / "killed_once.sh"
    script.write_text(KILLED_ONCE)
    return f"sh {script}"


def test_lattice_constant_of_the_shipped_example_is_that_of_pbe(tmp_path):
    """PBE: 20.45 Å^3 per atom, hence 5.469 Å, and 88.6 GPa (Lejaeghere et al., Science 351, 2016)."""
    dft = Dft.model_validate({"dft_style": "cp2k", "input": EXAMPLE})
    volumes, energies = [], []
    for a in (5.42, 5.47, 5.52):
        atoms = bulk("Si", cubic=True, a=a)
        energies.append(run_label(CP2K, atoms, tmp_path / str(a), dft, timeout=500).label.energy)
        volumes.append(atoms.get_volume())
    # Three volumes around the minimum, where a parabola is as good as an equation of state.
    curvature, slope, _ = np.polyfit(volumes, energies, 2)
    volume = -slope / (2 * curvature)
    # The mesh of 2 x 2 x 2 and 120 Ry cost little here.
    assert volume ** (1 / 3) == pytest.approx(5.469, rel=5e-3)
    assert 2 * curvature * volume * 160.2177 == pytest.approx(88.6, rel=0.05)


def test_label_of_a_step_of_aimd_is_that_of_a_single_point(aimd, dft, tmp_path):
    frame = aimd.frames[3]
    single = run_label(CP2K, frame.atoms, tmp_path, dft, timeout=500)
    # The SCF begins elsewhere; EPS_SCF is 1e-7. The kinetic part of the stress would be 0.3 eV.
    assert frame.label.energy == pytest.approx(single.label.energy, abs=1e-6)
    np.testing.assert_allclose(frame.label.forces, single.label.forces, atol=1e-4)
    np.testing.assert_allclose(frame.label.virial, single.label.virial, atol=1e-4)
    assert single.settings_hash == aimd.settings_hash


def test_energy_is_conserved_in_nve(aimd):
    masses = rattled_silicon().get_masses()
    speeds = (aimd.frames.extras["velocities"] ** 2).sum(axis=2)
    # u Å^2/ps^2 in eV.
    kinetic = 0.5 * (speeds * masses).sum(axis=1) * 1.036426966e-4
    total = aimd.frames.energies + kinetic
    assert len(total) == 6 and aimd.frames.converged.all()
    # The potential energy changes by 7 meV meanwhile.
    assert np.ptp(total) < 1e-4


def test_killed_aimd_goes_on_and_ends_where_it_would_have_ended(aimd, dft, tmp_path, killed_once):
    killed = run_steps(CP2K, Task.AIMD, rattled_silicon(), tmp_path / "run", dft, killed_once, timeout=500)
    assert killed.complete and any("MD goes on from step" in change for change in killed.changes)
    # The restart file has all digits, only the guess of the density differs: measured 1e-12 eV.
    np.testing.assert_allclose(killed.frames.energies, aimd.frames.energies, atol=1e-6)
    np.testing.assert_allclose(killed.frames.positions, aimd.frames.positions, atol=1e-7)
    np.testing.assert_allclose(killed.frames.virials, aimd.frames.virials, atol=1e-4)
    np.testing.assert_allclose(killed.frames.extras["time"], aimd.frames.extras["time"])
    assert killed.settings_hash == aimd.settings_hash


def test_temperature_and_seed_asked_for_are_those_of_the_first_velocities(dft, tmp_path):
    short = dft.input.with_name("short.inp")
    short.write_text(CONTROL.replace("STEPS 5", "STEPS 1"))

    def velocities(name, seed):
        asked = dft.model_copy(update={"input": short, "temperature": 600.0, "seed": seed})
        frames = run_steps(CP2K, Task.AIMD, rattled_silicon(), tmp_path / name, asked, timeout=500).frames
        # CP2K scales the first velocities to the temperature; nine decimals of a kelvin are printed.
        assert frames.extras["temperature"][0] == pytest.approx(600, abs=1e-6)
        return frames.extras["velocities"][0]

    first, again, other = velocities("first", 7), velocities("again", 7), velocities("other", 8)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1


def test_killed_relaxation_goes_on_and_ends_where_it_would_have_ended(dft, tmp_path, killed_once):
    whole = run_steps(CP2K, Task.RELAX, rattled_silicon(), tmp_path / "whole", dft, timeout=500)
    killed = run_steps(CP2K, Task.RELAX, rattled_silicon(), tmp_path / "run", dft, killed_once, timeout=500)
    assert killed.complete and any("relaxation goes on" in change for change in killed.changes)
    assert any("Hessian kept" in change for change in killed.changes)
    # Measured 1e-9 eV; without the Hessian of the first part it took a step more.
    assert len(killed.frames) == len(whole.frames)
    np.testing.assert_allclose(killed.frames.energies, whole.frames.energies, atol=1e-4)
    # MAX_FORCE of the control file, hartree/bohr.
    assert np.abs(killed.frames.forces[-1]).max() < 5e-4 * 51.422


def test_orbitals_of_a_similar_label_give_the_same_label_in_fewer_iterations(tmp_path):
    """At Γ: with k-points nothing is carried over."""
    control = tmp_path / "gamma.inp"
    text = re.sub(r"    &KPOINTS(.|\n)*?&END KPOINTS\n", "", EXAMPLE.read_text())
    control.write_text(text.replace("DZVP-MOLOPT", "SZV-MOLOPT"))
    dft = Dft.model_validate({"dft_style": "cp2k", "input": control})
    first, second = rattled_silicon(), rattled_silicon()
    second.rattle(0.01, seed=3)
    run_label(CP2K, first, tmp_path / "first", dft, timeout=500)
    fresh = run_label(CP2K, second, tmp_path / "fresh", dft, timeout=500)
    reused = run_label(CP2K, second, tmp_path / "reused", dft, timeout=500, reuse=tmp_path / "first")
    assert any("from the orbitals of first" in change for change in reused.changes)
    assert reused.settings_hash == fresh.settings_hash
    # EPS_SCF is 1e-6 in the density. Measured: 1e-11 eV, 3e-6 eV/Å, 4e-6 eV.
    assert reused.label.energy == pytest.approx(fresh.label.energy, abs=1e-7)
    np.testing.assert_allclose(reused.label.forces, fresh.label.forces, atol=5e-5)
    np.testing.assert_allclose(reused.label.virial, fresh.label.virial, atol=5e-5)

    def iterations(name):
        text = (tmp_path / name / "cp2k.out").read_text()
        return int(re.search(r"SCF run converged in +(\d+)", text)[1])

    # Measured 11 instead of 12: Broyden mixing starts anew, little is gained.
    assert iterations("reused") < iterations("fresh")


def test_program_that_is_asked_to_stop_ends_with_its_finished_steps(dft, tmp_path):
    dft.input.write_text(CONTROL.replace("STEPS 5", "STEPS 500"))
    atoms = rattled_silicon()
    try:
        CP2K.write_inputs(atoms, tmp_path, dft, Task.AIMD)
    finally:
        dft.input.write_text(CONTROL)
    job = CP2K.job(None)
    process = job.run(tmp_path)
    try:
        while (CP2K.read_steps(tmp_path, atoms, dft, Task.AIMD) or ()) == ():
            assert process.poll() is None
            time.sleep(0.5)
        assert CP2K.stop(tmp_path)
        # CP2K looks for the file every 20 s.
        assert process.wait(120) == 0
    finally:
        job.close()
    assert "terminated by external request" in (tmp_path / "cp2k.out").read_text()
    frames = CP2K.read_steps(tmp_path, atoms, dft, Task.AIMD)
    assert len(frames) > 1 and frames.converged.all()
    assert not CP2K.complete(tmp_path, Task.AIMD)
    assert not any(validator.check(tmp_path) for validator in CP2K.validators(Task.AIMD))
    told = CP2K.resume(atoms, tmp_path, dft, Task.AIMD, len(frames))
    assert told == [f"MD goes on from step {len(frames) - 1} of 500, state from its restart file"]
