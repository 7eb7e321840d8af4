"""JOB = RELAX: the atoms, and with ISTRESS = 1 the cell, go down to a minimum (ASE's BFGS).

``RELAX_DETAIL = method nstep force_tol istress stress_tol``. RELAXSTEPS ends with a line ``*END`` when the
largest force is below force_tol (eV/Å) and, with a moving cell, the largest mean of a row of dE/dstrain per
atom below stress_tol (eV); after nstep structures it ends without.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from pwmat.calculation import Calculation, Step, append
from pwmat.fortran import e
from pwmat.movement import SEPARATOR, final_config, relax_frame


class _Evaluated(Calculator):
    """Hands the structures that the optimiser asks for to the calculation."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, relaxation: "Relaxation") -> None:
        super().__init__()
        self.relaxation = relaxation

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        step = self.relaxation.evaluate(self.atoms)
        stress = full_3x3_to_voigt_6_stress(step.strain / self.atoms.get_volume())
        energy = step.frame.energy
        self.results = {"energy": energy, "free_energy": energy, "forces": step.forces, "stress": stress}


class Relaxation:
    """The optimiser and its files."""

    def __init__(self, calculation: Calculation) -> None:
        """Read RELAX_DETAIL, with PWmat's defaults."""
        self.calculation = calculation
        given = calculation.settings.numbers("RELAX_DETAIL")
        defaults = (1, 200, 0.02, 0, 0.0)
        _, nstep, self.force_tol, istress, self.stress_tol = (*given, *defaults[len(given) :])[:5]
        self.nstep, self.moves_cell = int(nstep), int(istress) == 1
        self.old_format = os.environ.get("PWMAT_OLD_FORMAT") == "1"
        self.step: Step
        self.count = 0
        for name in ("MOVEMENT", "RELAXSTEPS"):
            Path(name).unlink(missing_ok=True)

    def run(self) -> None:
        """Relax and write all steps."""
        atoms = self.calculation.configuration.atoms.copy()
        stuck = bool(self.calculation.faults.take("relax_stuck"))
        if stuck:
            for _ in range(self.nstep):
                self.evaluate(atoms)
        elif self._descend(atoms):
            self._log("*END")
        frame = self.step.frame
        Path("final.config").write_text(final_config(frame))
        self.calculation.write_results(frame)

    def _descend(self, atoms: Atoms) -> bool:
        """Whether the minimum was reached within the number of steps."""
        from ase.constraints import FixAtoms, FixCartesian  # these need SciPy, which an SCF does without
        from ase.filters import FrechetCellFilter
        from ase.optimize import BFGS

        configuration = self.calculation.configuration
        mobile = configuration.mobile
        fixed = FixAtoms(mask=~mobile.any(axis=1))
        partly = [i for i, row in enumerate(mobile) if row.any() and not row.all()]
        atoms.set_constraint([fixed, *(FixCartesian(i, ~mobile[i]) for i in partly)])
        atoms.calc = _Evaluated(self)
        target: Atoms | FrechetCellFilter = atoms
        if self.moves_cell:
            mask = full_3x3_to_voigt_6_stress(configuration.stress_mask.astype(float))
            target = FrechetCellFilter(atoms, mask=mask)
        optimiser = BFGS(target, logfile=None)
        return any(self._converged() for _ in optimiser.irun(fmax=0.0, steps=self.nstep - 1))

    def evaluate(self, atoms: Atoms) -> Step:
        """Evaluate and log a structure."""
        self.count += 1
        plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        self.step = self.calculation.evaluate(plain, self.count, first=self.count == 1)
        append("MOVEMENT", relax_frame(self.step.frame, self.count - 1, self.old_format) + SEPARATOR)
        self._log("CORR" if self.count % 2 else " NEW")
        self.calculation.stop_at_nan(self.step)
        return self.step

    def _sizes(self) -> np.ndarray:
        return np.linalg.norm(self.step.frame.forces * self.calculation.configuration.mobile, axis=1)

    def _strain_error(self) -> float:
        mask = self.calculation.configuration.stress_mask
        per_atom = np.abs(self.step.strain * mask) / len(self.step.frame.atoms)
        return float(per_atom.mean(axis=1).max())

    def _converged(self) -> bool:
        quiet = float(self._sizes().max()) < self.force_tol
        return quiet and (not self.moves_cell or self._strain_error() < self.stress_tol)

    def _log(self, kind: str) -> None:
        """A line of RELAXSTEPS; the first has number -1, ``*END`` repeats the last."""
        sizes, last = self._sizes(), self.step.cycle.iterations[-1]
        number = self.count - 1 if kind == "*END" else self.count - 2
        cell = f" Av_e= {e(self._strain_error(), 10, 2)}" if self.moves_cell else ""
        change = f" d_AL= {e(0.0, 9, 2)}" if self.moves_cell else ""
        append(
            "RELAXSTEPS",
            f"It= {number:4d} {kind} E= {e(self.step.frame.energy, 21, 13)}  Av_F= {e(sizes.mean(), 9, 2)} "
            f"M_F= {e(sizes.max(), 9, 2)}{cell} dE= {e(last.energy_change, 9, 2)} "
            f"dRho= {e(last.density_error, 9, 2)} SCF= {self.step.frame.scf:5d} dL= {e(0.0, 9, 2)}{change} "
            f"p*F= {e(0.0, 9, 2)} p*F0= {e(0.0, 9, 2)} Fch= {e(1.0, 9, 2)}\n",
        )
