"""LAMMPS with the pair styles of PWMLFF and MatPL: reads in.lammps, integrates, writes log, dump, deviations.

Environment: ``LMP_STYLES``, the pair styles that it has (default ``matpl/dp``); ``LMP_FAULT``, ``killed`` (by
SIGKILL half way, in the first run in a folder) or ``lost`` (an error half way). It does NVE and NVT, the
latter by scaling velocities towards the temperature; of Colvars it only sees that the file is there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from matpl.regression import Regression

KB, FACTOR = 8.617343e-5, 1.0364269e-4
"""eV/K, and eV per u (Å/ps)^2, of ``units metal``."""
BAR = 1.6021765e6
TITLES = {
    "temp": "Temp",
    "pe": "PotEng",
    "ke": "KinEng",
    "etotal": "TotEng",
    "press": "Press",
    "vol": "Volume",
}
HEADER = "#    step        avg_devi_f        min_devi_f        max_devi_f" + (
    "        avg_devi_e        min_devi_e        max_devi_e"
)


def main(arguments: list[str]) -> int:
    styles = os.environ.get("LMP_STYLES", "matpl/dp").split()
    if "-h" in arguments:
        listed = f"* Atom styles:\n\natomic\n\n* Pair styles:\n\nlj/cut     {'  '.join(styles)}  \n\n"
        sys.stdout.write(
            f"List of style options included in this LAMMPS executable\n\n{listed}* Bond styles:\n"
        )
        return 0
    option = dict(zip(arguments[::2], arguments[1::2], strict=True))
    with Path(option["-log"]).open("w") as log:
        run = Run(log, styles)
        for line in Path(option["-in"]).read_text().splitlines():
            if not run.command(line.split("#")[0].split()):
                return 1
        log.write("Total wall time: 0:00:01\n")
    return 0


class Run:
    """The state that in.lammps builds up."""

    def __init__(self, log, styles: list[str]) -> None:
        self.log, self.styles = log, styles
        self.style, self.models, self.every = "", [], 0
        self.temperature = self.taut = None

    def command(self, words: list[str]) -> bool:
        """Whether the command went well."""
        name, *rest = words or [""]
        if name == "units":
            assert rest == ["metal"]
        elif name == "newton":
            assert rest == ["on"]
        elif name == "read_data":
            self.read_data(Path(rest[0]))
        elif name == "pair_style":
            return self.pair_style(*rest)
        elif name == "pair_coeff":
            assert rest[:2] == ["*", "*"]
            self.numbers = [int(word) for word in rest[2:]]
        elif name == "fix" and rest[2] == "nvt":
            self.temperature, self.taut = float(rest[4]), float(rest[6])
        elif name == "fix" and rest[2] == "colvars":
            assert Path(rest[3]).is_file(), f"cannot open {rest[3]}"
        elif name == "thermo_style":
            assert rest[:2] == ["custom", "step"]
            self.columns = rest[2:]
        elif name == "fix":
            assert rest[2] == "nve", f"this stand-in cannot {rest[2]}"
        elif name in ("timestep", "thermo"):
            setattr(self, name, float(rest[0]))
        elif name == "dump":
            assert rest[1:3] == ["all", "custom"] and " ".join(rest[5:]) == "id type xu yu zu fx fy fz"
            self.dump, self.dump_every = Path(rest[4]), int(rest[3])
        elif name == "velocity":
            self.draw(float(rest[2]), int(rest[3]))
        elif name == "run":
            return self.run(int(rest[0]))
        return True

    def pair_style(self, name: str, *rest: str) -> bool:
        if name not in self.styles:
            self.log.write(f"ERROR: Unrecognized pair style '{name}' (src/force.cpp:275)\n")
            return False
        self.style, words = name, list(rest)
        if name == "pwmlff":
            assert int(words.pop(0)) == len(words) - (4 if "out_freq" in words else 0)
        files = [word for word in words if word.endswith(".pt")]
        option = dict(zip(words[len(files) :: 2], words[len(files) + 1 :: 2], strict=True))
        self.every, self.table = int(option.get("out_freq", 100)), option.get("out_file", "model_devi.out")
        for file in files:
            content = json.loads(Path(file).read_text())
            self.models.append(Regression(content["numbers"], content["rcut"], content["coefficients"]))
        return True

    def read_data(self, path: Path) -> None:
        lines = [line.split("#")[0].split() for line in path.read_text().splitlines()[1:]]
        bounds = [words for words in lines if words[2:3] and "lo" in words[2]]
        box = {words[2][0]: float(words[1]) - float(words[0]) for words in bounds}
        tilt = next((list(map(float, words[:3])) for words in lines if words[3:4] == ["xy"]), [0.0] * 3)
        self.cell = np.array([[box["x"], 0, 0], [tilt[0], box["y"], 0], [tilt[1], tilt[2], box["z"]]])
        n_atoms = next(int(words[0]) for words in lines if words[1:] == ["atoms"])
        at = lines.index(["Atoms"])
        rows = [words for words in lines[at + 1 :] if len(words) == 5][:n_atoms]
        self.types = np.array([int(words[1]) for words in rows])
        self.positions = np.array([list(map(float, words[2:5])) for words in rows])
        at = lines.index(["Masses"])
        masses = {int(words[0]): float(words[1]) for words in lines[at + 1 :] if len(words) == 2}
        self.masses = np.array([masses[kind] for kind in self.types])

    def draw(self, temperature: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.velocities = rng.normal(size=self.positions.shape) / np.sqrt(self.masses)[:, None]
        self.velocities -= np.average(self.velocities, axis=0, weights=self.masses)
        self.velocities *= np.sqrt(temperature / self.kinetic_temperature())

    def kinetic_temperature(self) -> float:
        twice = FACTOR * (self.masses[:, None] * self.velocities**2).sum()
        return float(twice / KB / (3 * len(self.masses) - 3))

    def atoms(self) -> Atoms:
        symbols = [chemical_symbols[self.numbers[kind - 1]] for kind in self.types]
        return Atoms(symbols, self.positions, cell=self.cell, pbc=True)

    def run(self, n_steps: int) -> bool:
        fault, dt = os.environ.get("LMP_FAULT"), self.timestep
        first = not Path("attempted").exists()
        Path("attempted").touch()
        energy, forces = self.models[0].predict(self.atoms())
        with self.dump.open("w") as dump, Path(self.table).open("w") as table:
            if self.style != "pwmlff" and len(self.models) > 1:
                table.write(HEADER + "\n")
            self.log.write(f"   Step    {'    '.join(TITLES[name] for name in self.columns)}\n")
            for step in range(n_steps + 1):
                if step:
                    half = 0.5 * dt * forces / (FACTOR * self.masses[:, None])
                    self.velocities += half
                    self.positions += dt * self.velocities
                    energy, forces = self.models[0].predict(self.atoms())
                    self.velocities += 0.5 * dt * forces / (FACTOR * self.masses[:, None])
                    if self.temperature is not None:
                        pull = dt / self.taut * (self.temperature / self.kinetic_temperature() - 1)
                        self.velocities *= np.sqrt(1 + pull)
                if step % self.thermo == 0 or step == n_steps:
                    self.log.write(self.row(step, energy))
                if step % self.dump_every == 0:
                    self.write(dump, step, forces)
                if len(self.models) > 1 and step % self.every == 0:
                    table.write(self.deviation(step))
                if step == n_steps // 2 and fault == "lost":
                    self.log.write("ERROR: Lost atoms: original 8 current 7 (src/thermo.cpp:494)\n")
                    return False
                if step == n_steps // 2 and fault == "killed" and first:
                    for file in (dump, table, self.log):
                        file.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
        self.log.write(f"Loop time of 1.0 on 1 procs for {n_steps} steps with {len(self.types)} atoms\n")
        return True

    def row(self, step: int, energy: float) -> str:
        """A line of thermodynamics."""
        t = self.kinetic_temperature()
        kinetic = 1.5 * (len(self.types) - 1) * KB * t
        volume = abs(np.linalg.det(self.cell))
        pressure = 2 / 3 * kinetic / volume * BAR
        values = dict(zip(TITLES, (t, energy, kinetic, energy + kinetic, pressure, volume), strict=True))
        return f"{step:10d} " + " ".join(f"{values[name]:.12g}" for name in self.columns) + "\n"

    def write(self, dump, step: int, forces: np.ndarray) -> None:
        (lx, _, _), (xy, ly, _), (xz, yz, lz) = self.cell.tolist()
        low, high = min(0, xy, xz, xy + xz), max(0, xy, xz, xy + xz)
        dump.write(f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(self.types)}\n")
        dump.write("ITEM: BOX BOUNDS xy xz yz pp pp pp\n")
        dump.write(f"{low!r} {lx + high!r} {xy!r}\n{min(0, yz)!r} {ly + max(0, yz)!r} {xz!r}\n")
        dump.write(f"0.0 {lz!r} {yz!r}\n")
        dump.write("ITEM: ATOMS id type xu yu zu fx fy fz\n")
        for k, (kind, r, f) in enumerate(zip(self.types, self.positions, forces, strict=True), 1):
            dump.write(f"{k} {kind} " + " ".join(f"{x:.12g}" for x in (*r, *f)) + "\n")

    def deviation(self, step: int) -> str:
        """One line, by the definition of the pair style."""
        found = [model.predict(self.atoms()) for model in self.models]
        forces, energies = np.array([f for _, f in found]), np.array([e for e, _ in found]) / len(self.types)
        distances = np.linalg.norm(forces - forces.mean(axis=0), axis=2)
        spread, e = np.sqrt((distances**2).mean(axis=0)), energies - energies.mean()
        if self.style == "pwmlff":
            return f"{step // self.every * self.every:9d} {distances.max():16.9f} {e.max():16.9f}\n"
        if self.style == "matpl":
            numbers = (spread.max(), distances.min(), distances.max())
        else:
            numbers = (spread.mean(), spread.min(), spread.max())
        of_energy = (abs(e).mean(), abs(e).min(), abs(e).max())
        return f"{step:9d} " + " ".join(f"{x:16.9f}" for x in (*numbers, *of_energy)) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
