"""REPORT: the settings in use, the k-points, every SCF cycle, the eigenvalues and, in the last line, the end.

A finished run is told by that last line: it has the word ``time``, which stands nowhere else in the file.
"""

import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from ase import units

from pwmat.fortran import compact, f, tolerance
from pwmat.inputs import Settings
from pwmat.scf import Cycle, thresholds

RULE = " ---------------------------------------------------\n"
ECHOED = {"JOB": "", "PRECISION": "AUTO", "CONVERGENCE": "EASY", "XCFUNCTIONAL": "PBE"}


def kpoints(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Monkhorst-Pack points in units of the reciprocal lattice and their weights; k and -k count as one."""
    weights: dict[tuple[float, ...], int] = {}
    for index in product(*map(range, settings.kmesh)):
        shifted = (np.array(index) + 0.5 * np.array(settings.kshift)) / settings.kmesh
        point = tuple(float(x) for x in np.round((shifted + 0.5) % 1 - 0.5, 8) + 0.0)
        mirrored = tuple(float(x) for x in np.round((0.5 - np.array(point)) % 1 - 0.5, 8) + 0.0)
        key = mirrored if mirrored in weights else point
        weights[key] = weights.get(key, 0) + 1
    points = np.array(list(weights))
    return points, np.array(list(weights.values())) / sum(weights.values())


class Report:
    """The file, open from the first line to the last and flushed at every ionic step."""

    def __init__(self, settings: Settings, electrons: float, ecut: float | None) -> None:
        """Write the header."""
        self.started = time.monotonic()
        self.file = Path("REPORT").open("w")  # noqa: SIM115 - open from the first line to the last
        self.points, self.weights = kpoints(settings)
        self.spin = 2 if settings.word("SPIN", "1") == "2" else 1
        self.bands = int(1.05 * electrons / 2 + 10)
        self.electrons = electrons
        e_error, rho_error = thresholds(settings, electrons)
        write = self.file.write
        write(f"           {settings.nodes[0]}           {settings.nodes[1]}\n")
        for key, default in ECHOED.items():
            write(f" {key:<12s} = {settings.word(key, default)}\n")
        for key, value in settings.values.items():
            if key.startswith("IN."):
                write(f" {key:<9s} = {value}\n")
        if ecut is not None:
            write(f" ECUT      =    {ecut:.13f}\n")
        write(f" E_ERROR   =   {tolerance(e_error)}\n RHO_ERROR =   {tolerance(rho_error)}\n")
        write(f" SPIN      =            {settings.word('SPIN', '1')}\n")
        write(f" NUM_KPT   =           {len(self.points)}\n NUM_BAND  =           {self.bands}\n")
        write(" # Not PWmat: a stand-in for tests.\n")
        write(" *********************************************\n")
        write(" *********** end of etot.input report ********\n\n")
        write(" ------------------------------------------------\n")
        write(f"  total number of K-point:        {len(self.points):4d}\n")
        for point, weight in zip(self.points, self.weights, strict=True):
            write("  " + "".join(f(x, 12, 5) for x in (*point, weight)) + "\n")
        write(" ------------------------------------------------\n\n")
        write("Weighted average num_of_PW for all kpoint=                         1627.080\n")
        write(" ************************************\n")
        self.file.flush()

    def cycle(self, cycle: Cycle, energy: float, n_atoms: int) -> None:
        """Write an SCF cycle that ends at an energy (eV)."""
        write = self.file.write
        for number, error in enumerate(cycle.state_errors, 1):
            write(f" NONSCF {number:5d}          AVE_STATE_ERROR= {compact(error, 4)}\n")
        for step in cycle.iterations:
            write(f" iter={step.number:4d}   ave_lin={step.cg_lines:5.1f}  iCGmth=   3\n")
            write(f" Ef(eV)               = {compact(5.0, 7)}\n")
            write(f" err of ug            = {compact(1e-3 * step.density_error, 4)}\n")
            write(self._errors(step.density_error))
            write(f" E_tot(eV)            = {compact(energy + step.energy_error, 14)}    ")
            write(f"{compact(step.energy_change, 4)}\n -------------------------------------------\n")
        if not cycle.iterations:
            return
        last = cycle.iterations[-1]
        change = compact(last.energy_change, 4)
        write(f" E_Fermi(eV)=   5.0000000000000\n{RULE} Ef(eV)               = {compact(5.0, 7)}\n")
        write(f" dvE, dvE(n)-dvE(n-1) = {compact(last.density_error**2, 4)} {compact(1e-9, 4)}\n")
        write(self._errors(last.density_error))
        write(f" err of ug            = {compact(1e-3 * last.density_error, 4)}\n{RULE}")
        write(f" ending_scf_reason = {cycle.reason}\n")
        write(
            f" Ewald        = {compact(-8.0 * n_atoms, 14)}\n Alpha        = {compact(0.1 * n_atoms, 14)}\n"
        )
        write(f" E_extV       = {compact(0.0, 14)}    {compact(0.0, 4)}\n")
        for name, share in (("E_NSC        ", 0.4), ("E[-rho*V_Hxc]", 0.3), ("E_Hxc        ", 0.3)):
            write(f" {name}= {compact(share * energy, 14)}    {change}\n")
        write(f" -TS          = {compact(-1e-3, 14)}    {compact(1e-6, 4)}\n")
        write(f" E_tot(eV)    = {compact(energy, 14)}    {change}\n")
        in_rydberg = compact(last.energy_change / units.Ry, 4)
        write(f" E_tot(Ryd)   = {compact(energy / units.Ry, 14)}    {in_rydberg}\n{RULE}")
        self.file.flush()

    @staticmethod
    def _errors(density_error: float) -> str:
        return f" dv_ave, drho_tot     = {compact(3 * density_error, 4)} {compact(density_error, 4)}\n"

    def finish(self) -> None:
        """Write the eigenvalues of free electrons and the last line."""
        write = self.file.write
        levels = np.arange(self.bands) * 10.0 / max(self.electrons / 2, 1.0)
        for spin, (number, point) in product(range(1, self.spin + 1), enumerate(self.points, 1)):
            write(" *********************************\n")
            write(f" iislda,kpt= {spin:3d}, {number:4d} " + "".join(f(x, 13, 6) for x in point))
            write("  kpoint in xyz unit \n  err of each states, A.U\n")
            self._rows(np.full(self.bands, 1e-5), lambda x: f"   {compact(x, 6)}")
            write("  eigen energies, in eV\n")
            self._rows(levels + float(point @ point) - 5.0, lambda x: f(x, 17, 6))
        write(" *********************************\n")
        seconds = time.monotonic() - self.started
        write(f" total computation time (sec)= {seconds:.13f}\n")
        self.file.flush()

    def _rows(self, values: np.ndarray, text: Callable[[float], str]) -> None:
        for start in range(0, len(values), 5):
            self.file.write("".join(text(x) for x in values[start : start + 5]) + "\n")
