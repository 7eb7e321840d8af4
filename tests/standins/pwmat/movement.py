"""Frames of MOVEMENT, OUT.MLMD and final.config, built of the same blocks.

Signs are PWmat's: the force block is dE/dR, that is minus the force, also in OUT.MLMD, whose header does not
say so; the stress block is dE/dstrain in eV, that is minus the virial. Velocities are bohr/fs.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units

from pwmat.fortran import e, f, scientific

SEPARATOR = " -------------------------------------------------\n"
END = " ----------------------------------------------END\n"
MD_INFO = (
    "MD_INFO: METHOD(1-VV,2-NH,3-LV,4-LVPR,5-NHRP) TIME(fs) TEMP(K) DESIRED_TEMP(K) AVE_TEMP(K) "
    "TIME_INTERVAL(fs) TOT_TEMP(K)"
)


@dataclass
class Frame:
    """What is written of one structure.

    Attributes:
        atoms: structure; positions need not be wrapped.
        mobile: ``(n_atoms, 3)``.
        energy: potential energy, eV.
        forces: ``(n_atoms, 3)`` eV/Å.
        strain: dE/dstrain ``(3, 3)`` eV, or None if it is not written.
        scf: number of SCF iterations.
        kinetic: kinetic energy, eV.
        velocities: ``(n_atoms, 3)`` Å/fs, or None.
        atomic_energies: ``(n_atoms,)`` eV, or None if they are not written.
        stars: whether the first force does not fit into its field.
    """

    atoms: Atoms
    mobile: np.ndarray
    energy: float
    forces: np.ndarray
    strain: np.ndarray | None
    scf: int
    kinetic: float = 0.0
    velocities: np.ndarray | None = None
    atomic_energies: np.ndarray | None = None
    stars: bool = False

    @property
    def energies(self) -> str:
        """Total, potential and kinetic energy."""
        return "".join(e(x, 19, 10) for x in (self.energy + self.kinetic, self.energy, self.kinetic))


def lattice(frame: Frame, units_told: bool = True) -> str:
    """Lattice vectors, each with a row of the stress if there is one."""
    title = " Lattice vector (Angstrom)\n" if units_told else " Lattice vector\n"
    label = "stress (eV):" if units_told else "stress:"
    rows = []
    for i, vector in enumerate(frame.atoms.cell.array):
        row = "".join(e(x, 19, 10) + " " for x in vector)
        if frame.strain is not None:
            row += f"    {label} " + "".join(e(x, 13, 6) + " " for x in frame.strain[i])
        rows.append(row + "\n")
    return title + "".join(rows)


def positions(frame: Frame, prefix: str = "", unit: str = " (normalized)") -> str:
    """Fractional coordinates and move flags."""
    wrapped = not prefix.startswith("nonperiodic")
    fractional = frame.atoms.get_scaled_positions(wrap=wrapped)
    if wrapped:
        fractional[np.round(fractional, 15) >= 1.0] = 0.0
    flags = ("".join(f"{int(x)}  " for x in row) for row in frame.mobile)
    title = f"{prefix}Position{unit}, move_x, move_y, move_z"
    return _vectors(title, frame.atoms.numbers, fractional, ["    " + flag for flag in flags])


def forces(frame: Frame, title: str = "Force (-force, eV/Angstrom)") -> str:
    """The gradient of the energy."""
    text = _vectors(title, frame.atoms.numbers, -frame.forces + 0.0)
    if frame.stars:
        head, first, rest = text.split("\n", 2)
        text = f"{head}\n{first[:5]}{'*' * 25}{first[30:]}\n{rest}"
    return text


def velocities(frame: Frame) -> str:
    """Velocities in bohr/fs, if there are any."""
    if frame.velocities is None:
        return ""
    return _vectors("Velocity (bohr/fs)", frame.atoms.numbers, frame.velocities / units.Bohr)


def atomic_energies(frame: Frame) -> str:
    """Energies of the atoms, if they are asked for; they sum up to the energy."""
    if frame.atomic_energies is None:
        return ""
    rows = (
        f"{number:4d} {e(energy, 18, 10)}  {e(1.0, 18, 10)}  {e(4.0, 18, 10)}\n"
        for number, energy in zip(frame.atoms.numbers, frame.atomic_energies, strict=True)
    )
    return f"Atomic-Energy, Etot(eV),E_nonloc(eV),Q_atom:dE(eV)=  {e(0.0, 17, 10)}\n" + "".join(rows)


def _vectors(title: str, numbers: np.ndarray, rows: np.ndarray, tails: list[str] | None = None) -> str:
    lines = [
        f"{number:4d} " + "".join(f(x, 25, 15) + " " for x in row)
        for number, row in zip(numbers, rows, strict=True)
    ]
    return f" {title}\n" + "".join(
        line + tail + "\n" for line, tail in zip(lines, tails or [""] * len(lines), strict=True)
    )


@dataclass
class Thermodynamics:
    """What an MD frame tells before its structure.

    Attributes:
        method: 1 Verlet, 2 Nose-Hoover, 3 Langevin, 4 and 5 with pressure, 6 and 7 Berendsen.
        time: fs since the beginning of the trajectory.
        temperature: K.
        desired: desired temperature, K.
        average: K.
        total: sum of the temperatures, K.
        momentum: ``(3,)``.
        thermostat: velocity of the Nose-Hoover thermostat, 1/fs.
        initial: total energy at the start, eV.
        pressure: eV/Å³.
    """

    method: int
    time: float
    temperature: float
    desired: float
    average: float
    total: float
    momentum: np.ndarray
    thermostat: float = 0.0
    initial: float = 0.0
    pressure: float = 0.0


def information(state: Thermodynamics) -> str:
    """The MD_INFO block; PWmat takes time and thermostat of a continued run from it."""
    temperatures = "".join(
        " " + e(x, 13, 5) for x in (state.temperature, state.desired, state.average, 100.0, state.total)
    )
    text = (
        f"     {MD_INFO}\n"
        f"              {state.method} {e(state.time, 19, 10)}{temperatures}\n"
        "     TOTAL MOMENTUM\n"
        "              " + " ".join(scientific(x, 5) for x in state.momentum) + "\n"
    )
    kind = state.method // 11 if state.method > 10 else state.method
    pressure = scientific(state.pressure * units.Bohr**3 / units.Hartree, 5)
    if kind == 1:
        text += "     MD_VV_INFO: Basic Velocity Verlet Dynamics (NVE), Initialized total energy(Hartree)\n"
        text += f"              {e(state.initial / units.Hartree, 19, 10)}\n"
    if kind in (2, 5):
        text += "     MD_NH_INFO: Nose-Hoover Dynamics (NVT), IONS' THERMOSTAT VELOCITY(1/fs)\n"
        text += f"              {e(state.thermostat, 19, 10)}\n"
    if kind == 3:
        text += "     MD_LV_INFO: Langevin Dynamics (NVT)\n"
    if kind in (4, 5, 7):
        text += f"     MD_NPT_INFO: PRESSURE(Hartree/bohr^3)\n              {pressure}\n"
    return text


def md_frame(frame: Frame, state: Thermodynamics) -> str:
    """A frame of an MD run, without its last line."""
    return (
        f"{len(frame.atoms):8d} atoms,Iteration (fs) = {e(state.time, 19, 10)}, Etot,Ep,Ek (eV) = "
        f"{frame.energies}, SCF = {frame.scf:5d}\n"
        + information(state)
        + lattice(frame)
        + positions(frame)
        + positions(frame, prefix="nonperiodic_")
        + forces(frame)
        + velocities(frame)
        + atomic_energies(frame)
    )


def relax_frame(frame: Frame, iteration: int, old: bool = False) -> str:
    """A frame of a relaxation; it has no number of SCF iterations, and no units in old versions."""
    size = np.linalg.norm(frame.forces, axis=1)
    unit = "" if old else " (eV)"
    head = (
        f"{len(frame.atoms):8d} atoms,Iteration = {iteration:3d}, Etot,Ep,Ek{unit} = {frame.energies}, "
        f"Average Force= {e(size.mean(), 12, 5)}, Max force= {e(size.max(), 12, 5)}\n"
    )
    if old:
        return head + lattice(frame, False) + positions(frame, unit="") + forces(frame, "Force")
    return head + lattice(frame) + positions(frame) + forces(frame) + atomic_energies(frame)


def mlmd(frame: Frame) -> str:
    """OUT.MLMD: the one frame of an SCF calculation."""
    return (
        f"{len(frame.atoms):6d} atoms,Iteration (fs) = {e(-1.0, 19, 10)}, Etot,Ep,Ek (eV) = "
        f"{frame.energies}, SCF = {frame.scf:5d}\n"
        + lattice(frame)
        + positions(frame)
        + forces(frame, "Force (eV/Angstrom)")
        + atomic_energies(frame)
        + END
    )


def final_config(frame: Frame, state: Thermodynamics | None = None) -> str:
    """final.config: a bare structure, or, of an MD run, all that the next run needs to go on."""
    if state is None:
        bare = Frame(frame.atoms, frame.mobile, 0.0, frame.forces, None, 0)
        return f"{len(frame.atoms):8d} atoms\n" + lattice(bare) + positions(bare)
    return (
        f"{len(frame.atoms):6d} atoms,Iteration (fs) = {e(state.time, 19, 10)}, Etot,Ep,Ek (eV) = "
        f"{frame.energies}, SCF = {frame.scf:5d}\n"
        + information(state)
        + lattice(frame)
        + positions(frame)
        + forces(frame)
        + velocities(frame)
    )
