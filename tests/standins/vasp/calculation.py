"""One run: reads the input, goes through the ionic steps, writes the output."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from potentials import pick

from vasp.faults import MESSAGES, Faults
from vasp.inputs import InputFailure
from vasp.oszicar import Oszicar
from vasp.outcar import Outcar
from vasp.results import FERMI, IonicStep, Motion, NumericalBreakdown
from vasp.scf import ElectronicStep, Electrons
from vasp.setup import Setup, read_setup
from vasp.structures import Xdatcar, read_wavecar, write_contcar, write_ibzkpt, write_placeholders
from vasp.vasprun import Vasprun

BANNER = """\
 running    1 mpi-ranks, on    1 nodes
 distrk:  each k-point on    1 cores,    1 groups
 distr:  one band on    1 cores,    1 groups
 vasp.{version} stand-in for tests, not VASP complex"""


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Calculation:
    """A run in the working directory.

    Attributes:
        setup: what the input says.
        folder: where.
        atoms: structure of the last ionic step.
        next_atoms: that of the next step of a dynamics.
        velocities: Å/fs, None unless in molecular dynamics.
        steps: ionic steps begun.
        reached: whether a relaxation has come to its end.
        stopped: whether STOPCAR has asked for an end; no further step must follow.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started = time.monotonic()
        self.setup: Setup = read_setup(folder)
        self.faults = Faults(self.setup.incar)
        self.warm = read_wavecar(folder, self.setup)
        self.faults.strike(0, say, lambda: None)
        self.calculator, self.potential = pick(
            self.setup.atoms.get_chemical_symbols(), os.environ.get("VASP_POTENTIAL")
        )
        parameters = self.setup.parameters
        self.electrons = Electrons(
            self.setup.incar, parameters["NELM"], parameters["NELMIN"], parameters["EDIFF"]
        )
        self.delay = float(os.environ.get("VASP_STEP_DELAY", "0"))
        self.atoms: Atoms = self.setup.atoms.copy()
        self.next_atoms: Atoms | None = None
        self.velocities: np.ndarray | None = None
        self.steps = 0
        self.reached = self.stopped = False

    def run(self) -> int:
        """Do what INCAR asks for; returns the exit status."""
        say(BANNER.format(version=self.setup.version))
        elements = " ".join(potential.element for potential in self.setup.potentials)
        say(f" POSCAR found type information on POSCAR {elements}")
        say(f" POSCAR found :{len(self.setup.potentials):3d} types and {len(self.atoms):7d} ions")
        for message in self.setup.messages:
            say(message)
        self._open()
        say(" found WAVECAR, reading the header" if self.warm else " entering main loop")
        parameters = self.setup.parameters
        try:
            if parameters["NSW"] > 0 and parameters["IBRION"] == 0:
                from vasp.dynamics import Dynamics

                Dynamics(self).run()
            elif parameters["NSW"] > 0 and parameters["IBRION"] in (1, 2, 3):
                from vasp.relaxation import run_relaxation  # imports SciPy

                run_relaxation(self)
            else:
                self.step(self.atoms)
        except NumericalBreakdown:
            self._flush()
            say(MESSAGES["zpotrf"])
            return 1
        if self.stopped:
            self._remove_stopcar()
        self._close()
        return 0

    def _open(self) -> None:
        self.outcar = Outcar(self.folder, self.setup)
        self.vasprun = Vasprun(self.folder, self.setup)
        self.oszicar = Oszicar(self.folder, self.electrons.name, len(self.atoms), say)
        self.xdatcar = Xdatcar(self.folder, self.setup)
        write_ibzkpt(self.folder, self.setup)
        write_contcar(self.folder, self.setup, self.atoms)
        self._flush()

    def _flush(self) -> None:
        for writer in (self.outcar, self.vasprun, self.oszicar, self.xdatcar):
            writer.file.flush()

    def _close(self) -> None:
        bands, occupations = self._spectrum()
        self.vasprun.spectrum(bands, occupations, FERMI)
        self.outcar.eigenvalues(bands, occupations)
        if self.reached:
            message = "reached required accuracy - stopping structural energy minimisation"
            say(" " + message)
            self.outcar.note(" " + message)
        final = self.atoms if self.next_atoms is None else self.next_atoms
        self.vasprun.close(final)
        self.outcar.close(time.monotonic() - self.started)
        self.oszicar.close()
        self.xdatcar.close()
        write_contcar(self.folder, self.setup, final, self.velocities)
        say(" writing wavefunctions")
        write_placeholders(self.folder, self.setup, self.atoms)
        self.faults.finish()

    def step(self, atoms: Atoms, motion: Callable[[float, np.ndarray], Motion] | None = None) -> IonicStep:
        """One ionic step at some positions.

        Args:
            atoms: structure.
            motion: gives the state of the dynamics for an energy and forces.

        Raises:
            NumericalBreakdown: the potential has no finite value here.
        """
        self.steps += 1
        self.atoms = atoms.copy()
        if self.steps > 1:
            write_contcar(self.folder, self.setup, self.atoms, self.velocities)
        began = time.monotonic()
        pause = self.faults.strike(self.steps, say, self._flush)
        self.delay = self.delay if pause is None else pause
        result = self._potential(self.atoms)
        self._converge(result)
        self._spoil(result)
        if motion:
            result.motion = motion(result.energy, result.forces)
        result.seconds = time.monotonic() - began
        for writer in (self.outcar, self.vasprun, self.oszicar):
            writer.ionic(result)
        self.xdatcar.frame(self.steps, self.atoms)
        stop = self._stopcar()
        if stop == "LSTOP" and self.steps < self.setup.parameters["NSW"]:
            self.outcar.note(" soft stop encountered!  aborting job ...")
            say(" soft stop encountered!  aborting job ...")
            self.stopped = True
        self.stopped |= stop == "LABORT"
        return result

    def evaluate(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        """Energy (eV), forces (eV/Å) and stress (eV/Å³) at the level of theory of the input.

        Raises:
            NumericalBreakdown: they are not finite.
        """
        copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        copy.calc = self.calculator
        with np.errstate(all="ignore"):
            energy, forces = copy.get_potential_energy(), copy.get_forces()
            stress = copy.get_stress(voigt=False)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise NumericalBreakdown
        level = self.setup.level
        return float(energy) * level, forces * level, stress * level

    def _potential(self, atoms: Atoms) -> IonicStep:
        setup = self.setup
        energy, forces, stress = self.evaluate(atoms)
        entropy = 0.0
        order = setup.parameters["ISMEAR"]
        if order >= -1:
            # An entropy of order sigma^(2N+2), as Methfessel and Paxton's; a gap suppresses it.
            scale = 0.02 if setup.metal else 0.002
            entropy = len(atoms) * scale * float(setup.parameters["SIGMA"]) ** (2 * max(order, 0) + 2)
        return IonicStep(
            number=self.steps,
            atoms=atoms,
            energy=energy,
            entropy=entropy,
            forces=forces,
            stress=stress if setup.parameters["ISIF"] > 1 else None,
            magnetization=None if setup.moments is None else [0.9 * moment for moment in setup.moments],
        )

    def _converge(self, result: IonicStep) -> None:
        """The electronic loop; one that was cut short leaves wrong numbers."""
        warm = self.warm or self.steps > 1
        exact = result.energy
        needed = self.electrons.steps_needed(exact, warm)
        if self.faults.wrong("nelm", self.steps):
            needed = 10**6
        moment = None if result.magnetization is None else sum(result.magnetization)
        expected = min(needed, self.electrons.nelm)
        aborted = False
        self.oszicar.begin()
        self.vasprun.begin()
        step: ElectronicStep
        for step in self.electrons.steps(exact, needed, warm):
            if self.delay:
                time.sleep(self.delay / expected)
            result.electronic.append(step)
            self.oszicar.electronic(step)
            self.outcar.electronic(self.steps, step, result.entropy, moment)
            self.vasprun.electronic(step, result.entropy)
            if self.delay:
                self._flush()
            if self._stopcar() == "LABORT" and step.number < needed:
                aborted = True
                say(" hard stop encountered!  aborting job ...")
                break
        result.converged = not aborted and needed <= self.electrons.nelm
        self.outcar.loop_ended(result.converged, aborted)
        if not result.converged:
            result.energy = step.energy
            noise = np.random.default_rng(self.steps).normal(size=result.forces.shape)
            noise -= noise.mean(axis=0)
            result.forces = result.forces + min(1.0, step.residual**0.5) * 0.3 * noise

    def _spoil(self, result: IonicStep) -> None:
        """Wrong numbers on request."""
        number = self.steps
        if self.faults.wrong("positive_energy", number):
            result.energy += 1e5
        if self.faults.wrong("nan_forces", number):
            result.forces = np.full_like(result.forces, np.nan)
        if self.faults.wrong("huge_forces", number):
            kick = np.zeros_like(result.forces)
            kick[0], kick[-1] = 5e3, -5e3
            result.forces = result.forces + kick
        if self.faults.wrong("net_force", number):
            result.forces = result.forces + np.array([0.5, 0.0, 0.0])
        if self.faults.wrong("no_stress", number):
            result.stress = None

    def _stopcar(self) -> str | None:
        path = self.folder / "STOPCAR"
        if not path.is_file():
            return None
        text = path.read_text(errors="replace").upper().replace(" ", "").replace(".", "")
        return "LABORT" if "LABORT=T" in text else "LSTOP" if "LSTOP=T" in text else None

    def _remove_stopcar(self) -> None:
        """VASP removes the file when it stops; custodian keeps it by taking away the write permission."""
        path = self.folder / "STOPCAR"
        if path.is_file() and path.stat().st_mode & 0o222:
            path.unlink()

    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """A made-up spectrum: full bands below the Fermi level, empty ones above, a gap unless a metal."""
        setup = self.setup
        n_bands, filled = setup.parameters["NBANDS"], int(np.ceil(setup.parameters["NELECT"] / 2))
        gap = 0.0 if setup.metal else 0.6
        band = np.arange(n_bands)
        level = np.where(
            band < filled,
            FERMI - gap / 2 - 10 + 10 * (band + 1) / filled,
            FERMI + gap / 2 + 0.5 * (band - filled),
        )
        width = 0.2 * (1 - np.cos(2 * np.pi * setup.kpoints.points[:, 0]))
        energies = level - width[:, None] * np.where(band < filled, 1, -1)
        spins = setup.parameters["ISPIN"]
        occupations = np.broadcast_to((band < filled).astype(float), energies.shape)
        return np.repeat(energies[None], spins, axis=0), np.repeat(occupations[None], spins, axis=0)


def main(arguments: list[str]) -> int:
    """Run in the working directory, or print a POTCAR: ``--potcar Si Na_pv``."""
    if arguments[:1] == ["--potcar"]:
        from vasp.potcar import potcar

        sys.stdout.write(potcar(arguments[1:]))
        return 0
    rank = next(
        (
            os.environ[name]
            for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
            if name in os.environ
        ),
        "0",
    )
    if int(rank):  # one rank does all the work
        return 0
    try:
        return Calculation(Path()).run()
    except InputFailure as failure:
        if failure.message:
            say(failure.message)
        if failure.error:
            sys.stderr.write(failure.error + "\n")
        return failure.code
