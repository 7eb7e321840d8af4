"""One run: input checked, structures evaluated one after the other, output files written."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from pwmat.faults import Faults, complain, die, sleep
from pwmat.fortran import e, f
from pwmat.inputs import Refused, Settings, read_settings
from pwmat.movement import Frame, forces, mlmd
from pwmat.report import Report
from pwmat.scf import Cycle, converge
from pwmat.species import check_species
from pwmat.structure import Configuration, read_configuration
from pwmat.surface import Surface


@dataclass
class Step:
    """An evaluated structure.

    Attributes:
        frame: what is written of it, with what the faults made of it.
        forces: ``(n_atoms, 3)`` eV/Å, which move the atoms.
        strain: dE/dstrain ``(3, 3)`` eV.
        cycle: its SCF cycle.
    """

    frame: Frame
    forces: np.ndarray
    strain: np.ndarray
    cycle: Cycle


class Calculation:
    """What SCF, relaxation and MD have in common."""

    def __init__(self) -> None:
        """Read everything in the current folder.

        Raises:
            Refused: input with which PWmat would stop.
        """
        self.settings: Settings = read_settings()
        self.faults = Faults(self.settings)
        if self.faults.take("licence"):
            raise Refused(" PWmat license check failed: cannot connect to the license server, stop")
        if "IN.ATOM" not in self.settings.values:
            raise Refused(" IN.ATOM must be specified in etot.input, stop")
        self.configuration: Configuration = read_configuration(Path(self.settings.text("IN.ATOM")))
        symbols = self.configuration.atoms.get_chemical_symbols()
        recommended = check_species(self.settings, symbols)
        ecut = None
        if self.settings.method == "plane waves":
            ecut = self.settings.first("ECUT", recommended or 0.0)
            if ecut <= 0:
                raise Refused(" ECUT is neither in etot.input nor in the pseudopotential files, stop")
        self.surface = Surface(self.settings, symbols, ecut, os.environ.get("PWMAT_POTENTIAL"))
        self.delay = float(os.environ.get("PWMAT_STEP_DELAY", "0"))
        self.report = Report(self.settings, self.surface.electrons, ecut)
        _write_order(self.configuration.order)

    @property
    def writes_stress(self) -> bool:
        """Whether stresses are written: on request, and where the cell moves."""
        settings = self.settings
        moving_cell = settings.job == "RELAX" and (*settings.numbers("RELAX_DETAIL"), 0, 0, 0, 0)[3] == 1
        barostat = settings.job == "MD" and int(settings.first("MD_DETAIL", 1)) in (4, 5, 7, 44, 55, 77)
        wanted = settings.flag("OUT.STRESS") or moving_cell or barostat
        return wanted and not self.faults.take("no_stress")

    def evaluate(self, atoms: Atoms, step: int, first: bool) -> Step:
        """Energy, forces and stress of a structure, with its SCF cycle in REPORT.

        Args:
            atoms: the structure.
            step: number of the ionic step, for the faults.
            first: whether the run begins here.
        """
        faults = self.faults
        die(faults, step)
        slow = faults.take("slow", step)
        sleep(self.delay + (slow.get("seconds", 1.0) if slow else 0.0))
        energy, true_forces, strain = self.surface.evaluate(atoms, first)
        told = true_forces.copy()
        stuck = faults.take("scf_unconverged", step)
        needs = stuck.get("needs") if stuck else None
        cycle = converge(
            self.settings, self.surface.electrons, first, stuck=bool(stuck) and needs is None, needs=needs
        )
        if not cycle.converged and cycle.iterations:
            energy += cycle.iterations[-1].energy_error
            told *= 1 + cycle.iterations[-1].density_error
        if faults.take("nan", step):
            energy, told = float("nan"), told * np.nan
        if fault := faults.take("huge_forces", step):
            told *= fault.get("value", 500.0) / max(float(np.abs(told).max()), 1e-6)
        if fault := faults.take("net_force", step):
            told[:, 0] += fault.get("value", 0.5)
        self.report.cycle(cycle, energy, len(atoms))
        frame = Frame(
            atoms.copy(),
            self.configuration.mobile,
            energy,
            told,
            strain if self.writes_stress else None,
            cycle.count,
            atomic_energies=self._shares(energy) if self.settings.flag("ENERGY_DECOMP") else None,
            stars=bool(faults.take("stars", step)),
        )
        return Step(frame, true_forces, strain, cycle)

    def _shares(self, energy: float) -> np.ndarray:
        own = self.surface.atomic_energies
        return own + (energy - own.sum()) / len(own)

    def scf(self) -> None:
        """JOB = SCF."""
        step = self.evaluate(self.configuration.atoms, 1, first=True)
        self.write_results(step.frame)
        if self.settings.flag("OUT.MLMD") and not self.faults.take("no_mlmd"):
            Path("OUT.MLMD").write_text(mlmd(step.frame))

    def stop_at_nan(self, step: Step) -> None:
        """Atoms cannot be moved by forces that are no numbers."""
        if not np.isfinite(step.frame.forces).all():
            complain(" NaN in force, stop")
            raise SystemExit(1)

    def write_results(self, frame: Frame) -> None:
        """The files of the last structure."""
        settings = self.settings
        n_atoms = len(frame.atoms)
        if settings.flag("OUT.FORCE") and not self.faults.take("no_force"):
            _, body = forces(frame).split("\n", 1)
            Path("OUT.FORCE").write_text(f"  {n_atoms}  atoms, Force (-force, eV/Angstrom)\n{body}")
        if frame.strain is not None:
            rows = ("".join(e(x, 20, 10) for x in row) + "\n" for row in frame.strain / n_atoms)
            Path("OUT.STRESS").write_text(" stress (eV/Natom)\n" + "".join(rows))
        if frame.atomic_energies is not None:
            rows = (
                f"{number:4d} {e(energy, 18, 10)}  {e(1.0, 18, 10)}  {e(4.0, 18, 10)}\n"
                for number, energy in zip(frame.atoms.numbers, frame.atomic_energies, strict=True)
            )
            Path("OUT.ENDIV").write_text(f" {n_atoms}\n Atomic-Energy\n" + "".join(rows))
        Path("OUT.FERMI").write_text(f"  EF = {f(5.0, 12, 8)}  eV\n")
        points = "".join(
            "".join(f(x, 16, 12) for x in (*point, weight)) + "\n"
            for point, weight in zip(self.report.points, self.report.weights, strict=True)
        )
        Path("OUT.KPT").write_text(f"   {len(self.report.points)}\n   2  0\n{points}")
        for name in ("OUT.WG", "OUT.RHO", "OUT.VR"):
            if settings.flag(name, True):
                Path(name).write_bytes(b"stand-in for PWmat: no data\n")

    def finish(self) -> None:
        """End REPORT, then cut the files that a fault cuts."""
        self.report.finish()
        for fault, name in (
            ("truncate_movement", "MOVEMENT"),
            ("truncate_mlmd", "OUT.MLMD"),
            ("truncate_report", "REPORT"),
        ):
            if Path(name).is_file() and (found := self.faults.take(fault)):
                text = Path(name).read_text()
                Path(name).write_text(text[: int(len(text) * found.get("fraction", 0.63))])


def append(name: str, text: str) -> None:
    """Add to a file so that it is complete on disk whatever happens next."""
    with Path(name).open("a") as file:
        file.write(text)


def _write_order(order: np.ndarray) -> None:
    """ORIGIN.INDEX: the place in IN.ATOM of every atom, where PWmat had to put elements together."""
    if (np.diff(order) != 1).any():
        rows = (f"{i + 1:8d} {place + 1:8d}\n" for i, place in enumerate(order))
        Path("ORIGIN.INDEX").write_text("".join(rows))
