"""Input files that run an exported model at once, in ASE or LAMMPS; starting points to edit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from string import Template

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_masses, atomic_numbers, covalent_radii, reference_states
from ase.io.lammpsdata import write_lammps_data

from alpw.errors import InputError
from alpw.potential.interchange.lammps import FIX, SKIN

_ASE = Template('''"""Molecular dynamics with $model: python $name [STRUCTURE]"""

import sys
from pathlib import Path

from ase import units
from ase.io import read
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

from alpw.potential import DeepPotential, DeepPotentialCalculator

HERE = Path(__file__).resolve().parent

atoms = read(sys.argv[1] if len(sys.argv) > 1 else HERE / "$structure")
atoms.calc = DeepPotentialCalculator(DeepPotential.load(HERE / "$model"))
print(f"energy {atoms.get_potential_energy():.6f} eV, largest force {abs(atoms.get_forces()).max():.6f} eV/Å")

MaxwellBoltzmannDistribution(atoms, temperature_K=300)
dynamics = VelocityVerlet(atoms, timestep=1.0 * units.fs, logfile="-", loginterval=10)
dynamics.run(100)
''')

_LAMMPS = Template("""# Molecular dynamics with $model.
# $how

units           metal
atom_style      atomic
atom_modify     map array
boundary        $boundary
box             tilt large
read_data       $data
$masses

$forces

velocity        all create 300.0 4928459
fix             integrate all nve
timestep        0.001
thermo          10
thermo_style    custom step temp pe etotal press
$run""")

_OWN_FORCES = Template("""# The model's forces arrive through the fix.
pair_style      none
neighbor        $skin bin
fix             $fix all external pf/callback 1 1
fix_modify      $fix energy yes virial yes""")

_DEEPMD_FORCES = Template("""# Atom types 1, 2, ... are these elements, in this order.
pair_style      deepmd $model
pair_coeff      * * $elements""")

_DRIVER = Template('''"""Run $input with the forces of $model: python $name"""

import os
from pathlib import Path

from alpw.codes.lammps.library import open_lammps
from alpw.potential import DeepPotential
from alpw.potential.interchange.lammps import ModelForces

os.chdir(Path(__file__).resolve().parent)

lammps = open_lammps(("-log", "log.lammps"))
lammps.file("$input")
forces = ModelForces(lammps, DeepPotential.load("$model"), elements=$elements)
forces.command("run 100")
''')


def write_ase(path: Path, model_file: Path, structure: Atoms) -> list[Path]:
    """A Python script at ``path`` and ``structure`` beside it; what was written."""
    atoms = path.with_name(path.name + ".extxyz")
    structure.write(atoms, format="extxyz")
    path.write_text(_ASE.substitute(name=path.name, model=_beside(model_file, path), structure=atoms.name))
    return [path, atoms]


def write_lammps(path: Path, model_file: Path, structure: Atoms, elements: Sequence[str]) -> list[Path]:
    """An input at ``path``, its data file, and the Python script that runs them with our own model."""
    driver = path.parent / f"run_{path.name.replace('.', '_')}.py"
    model = _beside(model_file, path)
    forces = _OWN_FORCES.substitute(skin=SKIN, fix=FIX)
    written = _write_input(path, model, structure, elements, forces, f"Run it with: python {driver.name}", "")
    driver.write_text(
        _DRIVER.substitute(name=driver.name, input=path.name, model=model, elements=list(elements))
    )
    return [*written, driver]


def write_lammps_deepmd(
    path: Path, model_file: Path, structure: Atoms, elements: Sequence[str], how: str
) -> list[Path]:
    """An input at ``path`` for `pair_style deepmd`, and its data file; ``how`` to run it is its comment."""
    model = _beside(model_file, path)
    forces = _DEEPMD_FORCES.substitute(model=model, elements=" ".join(elements))
    return _write_input(path, model, structure, elements, forces, how, "\nrun             100\n")


def example_structure(elements: Sequence[str]) -> Atoms:
    """A crystal of the first element, about 6 Å wide, slightly out of order.

    Its structure is the element's own where ASE knows it, else face-centred cubic with touching atoms (of 1 Å
    radius at least, since a crystal of hydrogen's covalent radius would be none).
    """
    symbol, number = elements[0], atomic_numbers[elements[0]]
    reference = reference_states[number] or {}
    if reference.get("symmetry") in ("fcc", "bcc", "diamond", "sc"):
        crystal = bulk(symbol, cubic=True)
    else:
        radius = max(1.0, float(covalent_radii[number]))
        crystal = bulk(symbol, "fcc", a=2 * np.sqrt(2) * radius, cubic=True)
    crystal = crystal.repeat(tuple(max(1, round(6.0 / length)) for length in crystal.cell.lengths()))
    crystal.rattle(0.02, seed=1)
    return crystal


def _write_input(
    path: Path,
    model: str,
    structure: Atoms,
    elements: Sequence[str],
    forces: str,
    how: str,
    run: str,
) -> list[Path]:
    unknown = sorted(set(structure.symbols) - set(elements))
    if unknown:
        raise InputError(f"the structure contains {' '.join(unknown)}; allowed: {' '.join(elements)}")
    if structure.cell.rank != 3:
        raise InputError("the structure has no three-dimensional cell, which LAMMPS needs")
    data = path.with_name(path.name + ".data")
    write_lammps_data(data, structure, specorder=list(elements), units="metal", atom_style="atomic")
    masses = [
        f"mass            {index} {atomic_masses[atomic_numbers[symbol]]:.8g}  # {symbol}"
        for index, symbol in enumerate(elements, start=1)
    ]
    path.write_text(
        _LAMMPS.substitute(
            model=model,
            how=how,
            boundary=" ".join("p" if periodic else "f" for periodic in structure.pbc),
            data=data.name,
            masses="\n".join(masses),
            forces=forces,
            run=run,
        )
    )
    return [path, data]


def _beside(file: Path, script: Path) -> str:
    """``file`` as the script's folder sees it."""
    return Path(os.path.relpath(file.resolve(), script.resolve().parent)).as_posix()
