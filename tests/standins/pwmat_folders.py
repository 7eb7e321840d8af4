"""Folders in which the stand-in for PWmat runs, and a few lines of their own to read what it writes there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from pwmat.inputs import read_settings
from pwmat.species import write_upf
from pwmat.surface import Surface

PROGRAM = Path(__file__).with_name("PWmat")
SCF = {"JOB": "SCF", "OUT.MLMD": "T", "OUT.FORCE": "T", "OUT.STRESS": "T"}


def silicon(amplitude: float = 0.05) -> Atoms:
    """Eight atoms, off their places by about so many Å."""
    atoms = bulk("Si", cubic=True)
    atoms.rattle(amplitude, seed=1)
    return atoms


def salt() -> Atoms:
    """Two elements that alternate."""
    atoms = bulk("NaCl", "rocksalt", a=5.0, cubic=True)
    atoms.rattle(0.05, seed=2)
    return atoms


def write_config(
    path: Path, atoms: Atoms, flags: np.ndarray | None = None, velocities: np.ndarray | None = None
) -> None:
    """An atom.config; flags are 1 where an atom moves along x, y, z, velocities Å/fs."""
    flags = np.ones((len(atoms), 3), int) if flags is None else flags
    lines = [f"  {len(atoms)} atoms", " LATTICE"]
    lines += [" ".join(f"{x:.16f}" for x in row) for row in atoms.cell]
    lines += [" POSITION"]
    for number, row, flag in zip(atoms.numbers, atoms.get_scaled_positions(wrap=False), flags, strict=True):
        lines.append(f" {number} " + " ".join(f"{x:.16f}" for x in row) + " {} {} {}".format(*flag))
    if velocities is not None:
        lines.append(" VELOCITY (bohr/fs)")
        for number, row in zip(atoms.numbers, velocities / units.Bohr, strict=True):
            lines.append(f" {number} " + " ".join(f"{x:.16f}" for x in row))
    path.write_text("\n".join(lines) + "\n")


def prepare(folder: Path, atoms: Atoms, settings: dict, nodes: str = "1 1", **config) -> None:
    """A folder in which the program can run; settings that are None are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder / "atom.config", atoms, **config)
    defaults = {"IN.ATOM": "atom.config", "ECUT": "50", "MP_N123": "2 2 2 0 0 0 3"}
    for i, path in enumerate(write_upf(folder, atoms.get_chemical_symbols()).values(), 1):
        defaults[f"IN.PSP{i}"] = path.name
    merged = {**defaults, **settings}
    lines = [f"{key} = {value}" for key, value in merged.items() if value is not None]
    (folder / "etot.input").write_text("\n".join([nodes, *lines]) + "\n")


def run(folder: Path, faults: list | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Run the program in a folder, as the only rank unless the environment says otherwise."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI", "SLURM_", "PWMAT_"))}
    if faults is not None:
        environment["PWMAT_FAULTS"] = json.dumps(faults)
    return subprocess.run(
        [sys.executable, str(PROGRAM)],
        cwd=folder,
        env={**clean, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def calculate(folder: Path, atoms: Atoms, settings: dict, faults: list | None = None, **config) -> Path:
    """Prepare a folder and run in it; the run must succeed."""
    prepare(folder, atoms, settings, **config)
    result = run(folder, faults)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def table(text: str, title: str) -> np.ndarray:
    """The rows of numbers below a title."""
    rows = []
    for line in text.split(title, 1)[1].split("\n")[1:]:
        if not re.fullmatch(r"[\s\dE.+-]+", line) or "---" in line:
            break
        rows.append([float(word) for word in line.split()])
    return np.array(rows)


def frames(path: Path) -> list[dict]:
    """The frames of MOVEMENT or OUT.MLMD, with PWmat's signs."""
    found = []
    for text in re.split(r"\n -{20,}(?:END)?\n", path.read_text()):
        if not text.strip():
            continue
        total, potential, kinetic = re.search(
            r"Etot,Ep,Ek(?: \(eV\))? =\s+(\S+)\s+(\S+)\s+([^\s,]+)", text
        ).groups()
        lattice = re.findall(r"^(.*)stress(?: \(eV\))?:(.*)$", text, re.MULTILINE)
        cell = [row for row, _ in lattice] or text.split("Lattice vector")[1].split("\n")[1:4]
        frame = {
            "total": float(total),
            "energy": float(potential),
            "kinetic": float(kinetic),
            "cell": np.array([row.split() for row in cell], float),
            "stress": np.array([row.split() for _, row in lattice], float) if lattice else None,
            "numbers": table(text, "\n Position")[:, 0].astype(int),
            "positions": table(text, "\n Position")[:, 1:4],
            "gradient": table(text, "\n Force")[:, 1:4],
        }
        if time_of := re.search(r"Iteration \(fs\) =\s+(\S+),", text):
            frame["time"] = float(time_of[1])
        if "Velocity" in text:
            frame["velocities"] = table(text, "\n Velocity")[:, 1:4] * units.Bohr
        found.append(frame)
    return found


def structure(frame: dict) -> Atoms:
    """The atoms of a frame."""
    return Atoms(frame["numbers"], cell=frame["cell"], scaled_positions=frame["positions"], pbc=True)


def reason(folder: Path) -> list[str]:
    """Why each SCF cycle of a run ended."""
    return re.findall(r"ending_scf_reason = (.*)", (folder / "REPORT").read_text())


def total_energy(folder: Path) -> float:
    """Energy of a label, eV."""
    return frames(folder / "OUT.MLMD")[0]["energy"]


def surface_of(folder: Path, atoms: Atoms) -> Surface:
    """The energy surface that belongs to the etot.input of a folder."""
    settings = read_settings(folder / "etot.input")
    return Surface(settings, atoms.get_chemical_symbols(), settings.first("ECUT", 50.0))
