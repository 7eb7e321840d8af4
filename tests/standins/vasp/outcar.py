"""The OUTCAR, with all that pymatgen, ASE, dpdata and custodian look for in it."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from ase import Atoms

from vasp.fortran import exponent, fixed, fixed_row
from vasp.results import FERMI, KBAR, IonicStep
from vasp.scf import ElectronicStep
from vasp.setup import Setup

HEADER = """\
 vasp.{version} stand-in for tests, not VASP complex
 executed on             Linux date 2026.01.01  00:00:00
 running    1 mpi-ranks, on    1 nodes
 running on    1 total cores
 distrk:  each k-point on    1 cores,    1 groups
 distr:  one band on NCORE=   1 cores,    1 groups

"""

DIMENSIONS = """
  POSCAR: {title}
  positions in direct lattice

 Dimension of arrays:
   k-points           NKPTS = {n_kpoints:6d}   k-points in BZ     NKDIM = {n_kpoints:6d}   \
number of bands    NBANDS= {NBANDS:6d}
   number of dos      NEDOS =    301   number of ions     NIONS = {n_atoms:6d}
   total plane-waves  NPLWV =  {NPLWV:d}
   ions per type =           {counts}

 SYSTEM =  {SYSTEM}
 POSCAR =  {title:.40}

 Startparameter for this run:
   NWRITE =      2    write-flag & timer
   PREC   = {PREC:6.6s}    normal or accurate (medium, high low for compatibility)
   ISTART = {ISTART:6d}    job   : 0-new  1-cont  2-samecut
   ISPIN  = {ISPIN:6d}    spin polarized calculation?

 Electronic Relaxation 1
   ENCUT  = {ENCUT:7.1f} eV
   NELM   = {NELM:6d};   NELMIN= {NELMIN:2d}; NELMDL= -5     # of ELM steps
   EDIFF  = {EDIFF:.1E}   stopping-criterion for ELM

 Ionic relaxation
   EDIFFG = {EDIFFG:.1E}   stopping-criterion for IOM
   NSW    = {NSW:6d}    number of steps for IOM
   IBRION = {IBRION:6d}    ionic relax: 0-MD 1-quasi-New 2-CG
   ISIF   = {ISIF:6d}    stress and relaxation
   POTIM  = {POTIM:7.4f}    time-step for ionic-motion
   TEBEG  = {TEBEG:6.1f};   TEEND  = {TEEND:6.1f} temperature during run
   SMASS  = {SMASS:7.2f}    Nose mass-parameter (am)
   MDALGO = {MDALGO:6d}    MD algorithm
   PSTRESS= {PSTRESS:6.1f} pullay stress
   NELECT = {NELECT:12.4f}    total number of electrons
   ISMEAR = {ISMEAR:6d};   SIGMA  = {SIGMA:6.2f}  broadening in eV -4-tet -1-fermi 0-gaus

"""

ELECTRONIC = """
----------------------------------------- Iteration {ionic:6d}({number:4d})  \
---------------------------------------


    POTLOK:  cpu time    0.0001: real time    0.0001
    EDDAV:  cpu time    0.0001: real time    0.0001
      LOOP:  cpu time    0.0002: real time    0.0002

 eigenvalue-minimisations  : {work:6d}
 total energy-change (2. order) :{change}  ({residual})
 number of electron {electrons:14.7f} magnetization {magnetization}
 augmentation part  {augmentation:14.7f} magnetization {magnetization}

 Free energy of the ion-electron system (eV)
  ---------------------------------------------------
  alpha Z        PSCENC = {alpha:18.8f}
  Ewald energy   TEWEN  = {ewald:18.8f}
  entropy T*S    EENTRO = {entropy:18.8f}
  eigenvalues    EBANDS = {bands:18.8f}
  atomic energy  EATOM  = {atomic:18.8f}
  ---------------------------------------------------
  free energy    TOTEN  = {energy:18.8f} eV

  energy without entropy = {without:18.8f}  energy(sigma->0) = {extrapolated:18.8f}
"""

NOT_CONVERGED = """
 The electronic self-consistency was not achieved in the given number of steps (NELM).
 Forces and other quantities evaluated might not be reliable.
"""

CONTRIBUTIONS = {
    "Alpha Z ": 0.5, "Ewald   ": -3.0, "Hartree ": 1.0, "E(xc)   ": -1.5, "Local   ": 2.0,
    "n-local ": -1.0, "augment ": 0.5, "Kinetic ": 2.5, "Fock    ": 0.0,
}  # fmt: skip
"""Rows of the stress table. dpdata counts on their number; the shares are made up and add to 1."""

CLOSING = """

 General timing and accounting informations for this job:
 ========================================================

                  Total CPU time used (sec): {seconds:12.3f}
                            User time (sec): {seconds:12.3f}
                          System time (sec): {zero:12.3f}
                         Elapsed time (sec): {seconds:12.3f}

                   Maximum memory used (kb):       50000.
                   Average memory used (kb):          N/A

                          Minor page faults:        10000
                          Major page faults:            0
                 Voluntary context switches:            1
"""


def six(tensor: np.ndarray) -> list[float]:
    """XX YY ZZ XY YZ ZX."""
    return [tensor[0, 0], tensor[1, 1], tensor[2, 2], tensor[0, 1], tensor[1, 2], tensor[2, 0]]


class Outcar:
    """Writes the file as the run proceeds."""

    def __init__(self, folder: Path, setup: Setup) -> None:
        self.setup = setup
        self.file: IO[str] = (folder / "OUTCAR").open("w")
        self._header()

    def _header(self) -> None:
        setup, parameters, write = self.setup, self.setup.parameters, self.file.write
        write(HEADER.format(version=setup.version) + " INCAR:\n")
        for tag, value in setup.incar.items():
            write(f"   {tag} = {value}\n")
        for potential in setup.potentials:
            write(f" POTCAR:    {potential.title}\n")
        for potential in setup.potentials:
            write(
                f" POTCAR:    {potential.title}\n   VRHFIN ={potential.element}:\n   LEXCH  = PE\n"
                f"   TITEL  = {potential.title}\n   POMASS ={potential.mass:9.3f}; "
                f"ZVAL   ={potential.valence:9.3f}    mass and valenz\n"
            )
        kpoints = setup.kpoints
        write(
            DIMENSIONS.format(
                **parameters,
                title=setup.poscar.title,
                n_kpoints=len(kpoints.points),
                n_atoms=len(setup.atoms),
                counts=" ".join(f"{count:5d}" for count in setup.poscar.counts),
            )
        )
        cartesian = kpoints.points @ np.linalg.inv(setup.atoms.cell.array).T
        for title, points in (
            (" k-points in units of 2pi/SCALE and weight:", cartesian),
            (" k-points in reciprocal lattice and weights:", kpoints.points),
        ):
            rows = zip(points, kpoints.weights, strict=True)
            write(title + "\n")
            write("".join(f" {fixed_row(point, 12, 8)} {weight:10.3f}\n" for point, weight in rows))
            write("\n")
        waves = parameters["NPW"]
        write("\n\n" + "-" * 104 + "\n\n\n")
        for number, point in enumerate(kpoints.points, start=1):
            write(f" k-point {number:3d} :  {fixed_row(point, 8, 4)}  plane waves: {waves:7d}\n")
        write(f"\n maximum and minimum number of plane-waves per node :  {waves:7d}  {waves:7d}\n\n")

    def electronic(self, ionic: int, step: ElectronicStep, entropy: float, moment: float | None) -> None:
        """One step of the electronic loop."""
        n_atoms = len(self.setup.atoms)
        electrons = self.setup.parameters["NELECT"]
        self.file.write(
            ELECTRONIC.format(
                ionic=ionic,
                number=step.number,
                work=60 * n_atoms,
                change=exponent(step.change, 16, 7),
                residual=exponent(-step.residual, 16, 7),
                electrons=electrons,
                augmentation=0.1 * electrons,
                magnetization="" if moment is None else f"{moment:14.7f}",
                alpha=0.01 * n_atoms,
                ewald=-8.0 * n_atoms,
                entropy=-entropy,
                bands=0.4 * step.energy,
                atomic=8.0 * n_atoms,
                energy=step.energy,
                without=step.energy + entropy,
                extrapolated=step.energy + 0.5 * entropy,
            )
        )

    def loop_ended(self, converged: bool, aborted: bool) -> None:
        """How the electronic loop ended."""
        reason = "because EDIFF is reached" if converged else "EDIFF was not reached (unconverged)"
        if aborted:
            self.file.write("\n hard stop encountered!  aborting job ...\n")
            reason = "because hard stop was set"
        elif not converged:
            self.file.write(NOT_CONVERGED)
        self.file.write(f"\n------------------------ aborting loop {reason} {'-' * 40}\n\n\n")

    def ionic(self, step: IonicStep) -> None:
        """Results of an ionic step."""
        write = self.file.write
        write(f" E-fermi : {FERMI:9.4f}     XC(G=0):  -9.0000     alpha+bet : -8.0000\n\n")
        if step.magnetization is not None and self.setup.parameters["LORBIT"] >= 10:
            write(_moments(step.magnetization))
        if step.stress is not None:
            write(self._stress(step))
        write(_cell(step.atoms, float(self.setup.parameters["ENCUT"])))
        line = " " + "-" * 83 + "\n"
        write(f" POSITION                                       TOTAL-FORCE (eV/Angst)\n{line}")
        for position, force in zip(step.atoms.get_positions(wrap=True), step.forces, strict=True):
            write(f"{fixed_row(position, 13, 5)}    {fixed_row(force, 14, 6)}\n")
        write(f"{line}    total drift:                     {fixed_row(step.forces.sum(axis=0), 14, 6)}\n\n\n")
        write("-" * 104 + "\n\n\n\n")
        write(
            "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n"
            "  ---------------------------------------------------\n"
            f"  free  energy   TOTEN  = {step.energy:18.8f} eV\n\n"
            f"  energy  without entropy= {step.without_entropy:18.8f}  "
            f"energy(sigma->0) = {step.extrapolated:18.8f}\n\n\n\n"
        )
        if self.setup.parameters["PSTRESS"]:
            work = float(self.setup.parameters["PSTRESS"]) * step.atoms.get_volume() / KBAR
            write(f"  enthalpy is  TOTEN    = {step.energy + work:18.8f} eV   P V= {work:18.8f}\n\n")
        if step.motion:
            motion = step.motion
            write(
                f"  kinetic energy EKIN   = {motion.kinetic:18.6f}\n"
                f"  kin. lattice  EKIN_LAT= {0:18.6f}  (temperature {motion.temperature:8.2f} K)\n"
                f"  nose potential ES     = {motion.thermostat:18.6f}\n"
                f"  nose kinetic   EPS    = {motion.thermostat_kinetic:18.6f}\n"
                "  ---------------------------------------------------\n"
                f"  total energy   ETOTAL = {motion.conserved:18.6f} eV\n\n"
            )
        write(f"     LOOP+:  cpu time {step.seconds:9.4f}: real time {step.seconds:9.4f}\n")
        self.file.flush()

    def _stress(self, step: IonicStep) -> str:
        """The table in eV and, exactly 14 lines below its title, the row in kbar."""
        pressure = step.pressure_tensor
        volume = step.atoms.get_volume()
        applied = float(self.setup.parameters["PSTRESS"])
        total = np.array(six(pressure)) * volume / KBAR
        line = "  " + "-" * 84 + "\n"
        text = (
            "  FORCE on cell =-STRESS in cart. coord.  units (eV):\n"
            "  Direction    XX          YY          ZZ          XY          YZ          ZX\n" + line
        )
        for name, share in CONTRIBUTIONS.items():
            text += f"  {name}{fixed_row(share * total[: 3 if name == 'Alpha Z ' else 6], 12, 5)}\n"
        mean = np.trace(pressure) / 3
        text += (
            f"{line}  Total   {fixed_row(total, 12, 5)}\n  in kB   {fixed_row(six(pressure), 12, 5)}\n"
            f"  external pressure = {fixed(mean - applied, 12, 2)} kB  Pullay stress = {applied:8.2f} kB\n\n"
        )
        if step.motion:
            ideal = 2 / 3 * step.motion.kinetic / volume * KBAR
            text += (
                f"  kinetic pressure (ideal gas correction) = {ideal:8.2f} kB\n"
                f"  total pressure  = {fixed(mean + ideal, 8, 2)} kB\n\n"
            )
        return text

    def eigenvalues(self, bands: np.ndarray, occupations: np.ndarray) -> None:
        """Arrays ``(n_spins, n_kpoints, n_bands)``; occupations are printed per spin-up-and-down pair."""
        full = 2.0 / len(bands)
        for spin in range(len(bands)):
            self.file.write(f"\n spin component {spin + 1}\n\n")
            for number, point in enumerate(self.setup.kpoints.points):
                self.file.write(f" k-point {number + 1:5d} :   {fixed_row(point, 9, 4)}\n")
                self.file.write("  band No.  band energies     occupation \n")
                rows = zip(bands[spin, number], full * occupations[spin, number], strict=True)
                self.file.write(
                    "".join(f"  {i:5d}  {e:10.4f}  {o:10.5f}\n" for i, (e, o) in enumerate(rows, 1))
                )
                self.file.write("\n")

    def note(self, text: str) -> None:
        self.file.write(f"\n{text}\n")

    def close(self, seconds: float) -> None:
        self.file.write(CLOSING.format(seconds=seconds, zero=0.0))
        self.file.close()


def _moments(moments: list[float]) -> str:
    """The table of site magnetizations, all in the d channel."""
    line = "-" * 40 + "\n"
    rows = "".join(f"  {i:5d}      0.000   0.000{m:8.3f}{m:8.3f}\n" for i, m in enumerate(moments, 1))
    total = sum(moments)
    return (
        "\n\n magnetization (x)\n\n# of ion       s       p       d       tot\n"
        f"{line}{rows}{line}tot          0.000   0.000{total:8.3f}{total:8.3f}\n\n"
    )


def _cell(atoms: Atoms, cutoff: float) -> str:
    reciprocal = np.linalg.inv(atoms.cell.array).T
    rows = "".join(
        f"  {fixed_row(direct, 13, 9)}  {fixed_row(inverse, 13, 9)}\n"
        for direct, inverse in zip(atoms.cell.array, reciprocal, strict=True)
    )
    lengths = (
        f"{fixed_row(atoms.cell.lengths(), 13, 9)}  {fixed_row(np.linalg.norm(reciprocal, axis=1), 13, 9)}"
    )
    return (
        f" VOLUME and BASIS-vectors are now :\n {'-' * 77}\n  energy-cutoff  : {cutoff:10.2f}\n"
        f"  volume of cell : {atoms.get_volume():12.4f}\n"
        f"      direct lattice vectors                 reciprocal lattice vectors\n{rows}\n"
        f"  length of vectors\n  {lengths}\n\n\n"
    )
