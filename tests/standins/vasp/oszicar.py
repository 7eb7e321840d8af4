"""The OSZICAR; the same lines go to the standard output."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from vasp.fortran import exponent
from vasp.results import IonicStep
from vasp.scf import ElectronicStep

COLUMNS = "       N       E                     dE             d eps       ncg     rms          rms(c)"


class Oszicar:
    """Writes the file as the run proceeds.

    Args:
        folder: where.
        algorithm: what the electronic steps are called.
        n_atoms: for the count of operations, which is made up.
        say: prints a line on the standard output.
    """

    def __init__(self, folder: Path, algorithm: str, n_atoms: int, say) -> None:
        self.file: IO[str] = (folder / "OSZICAR").open("w")
        self.algorithm, self.n_atoms, self.say = algorithm, n_atoms, say
        self._before = 0.0

    def _line(self, text: str) -> None:
        self.file.write(text + "\n")
        self.say(text)

    def begin(self) -> None:
        """A new ionic step."""
        self._line(COLUMNS)

    def electronic(self, step: ElectronicStep) -> None:
        """One step of the electronic loop."""
        row = (
            f"{self.algorithm}: {step.number:3d}  {exponent(step.energy, 19, 12)}"
            f"  {exponent(step.change, 13, 5)}  {exponent(-step.residual, 13, 5)}"
            f"{60 * self.n_atoms:6d}  {exponent(step.residual**0.5, 10, 3)}"
        )
        if step.number > 3:  # the density is kept fixed in the first steps
            row += f"  {exponent(step.residual**0.5 / 3, 10, 3)}"
        self._line(row)

    def ionic(self, step: IonicStep) -> None:
        """The line that closes an ionic step."""
        energies = f"F= {exponent(step.energy, 14, 8)} E0= {exponent(step.extrapolated, 14, 8)}"
        if step.motion:
            motion = step.motion
            row = (
                f"{step.number:7d} T= {motion.temperature:6.0f}. E= {exponent(motion.conserved, 14, 8)} "
                f"{energies}  EK= {exponent(motion.kinetic, 11, 5)} SP= {exponent(motion.thermostat, 8, 2)}"
                f" SK= {exponent(motion.thermostat_kinetic, 8, 2)}"
            )
        else:
            row = f"{step.number:4d} {energies}  d E ={exponent(step.energy - self._before, 12, 6)}"
        if step.magnetization is not None:
            row += f"  mag= {sum(step.magnetization):11.4f}"
        self._before = step.energy
        self._line(row)
        self.file.flush()

    def close(self) -> None:
        self.file.close()
