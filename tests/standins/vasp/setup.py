"""A run as its input files define it: structure, potentials, k-points, parameters with their defaults."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from vasp.inputs import Incar, InputFailure, Poscar, unreadable_tag
from vasp.kpoints import Kpoints, read_kpoints
from vasp.level import level_factor
from vasp.potcar import Potential, read_potcar

ALGORITHMS = {"n": 38, "v": 48, "f": 68, "a": 58, "c": 58, "d": 53}
"""IALGO by the first letter of ALGO."""

HARTREE, BOHR = 27.211386, 0.529177211  # eV, Å


@dataclass
class Setup:
    """What the input files say.

    Attributes:
        incar: tags as written.
        poscar: structure as written.
        potentials: one per species.
        kpoints: reduced mesh.
        atoms: periodic structure; the elements are those of POTCAR.
        masses: u, ``(n_atoms, 1)``.
        parameters: values in force, as vasprun.xml lists them.
        level: factor on the potential, see `vasp.level`.
        moments: initial magnetic moments (Bohr magnetons), None without spin.
        messages: what the program prints about its input before it starts.
    """

    incar: Incar
    poscar: Poscar
    potentials: list[Potential]
    kpoints: Kpoints
    atoms: Atoms
    masses: np.ndarray
    parameters: dict[str, float | int | bool | str | list[float]]
    level: float
    moments: list[float] | None
    messages: list[str]

    @property
    def version(self) -> str:
        """The version of VASP that the files are to look like; some differ in more than the number."""
        return os.environ.get("VASP_VERSION", "6.4.2")

    @property
    def metal(self) -> bool:
        """Whether the stand-in's spectrum has no gap."""
        return all(potential.valence <= 3 or potential.valence >= 8 for potential in self.potentials)


def read_setup(folder: Path) -> Setup:
    """Read INCAR, POSCAR, POTCAR and KPOINTS of a folder.

    Raises:
        InputFailure: VASP would stop here.
    """
    incar = Incar.read(folder / "INCAR")
    poscar = Poscar.read(folder / "POSCAR")
    potentials = read_potcar(folder / "POTCAR")
    if len(potentials) != len(poscar.counts):
        raise InputFailure(
            " ERROR: number of potentials on File POTCAR incompatible with number\n"
            f" of species\n INCAR :NTYP = {len(poscar.counts)}  POTCAR: {len(potentials)}"
        )
    if np.linalg.det(poscar.cell) <= 0:
        raise InputFailure(
            " ERROR: the triple product of the basis vectors is negative exchange two basis vectors"
        )
    messages = []
    elements = [potential.element for potential in potentials]
    if poscar.species and poscar.species != elements:
        # VASP goes on, with the potentials of POTCAR: a wrong material, not a failure.
        messages.append(
            " WARNING: type information on POSCAR and POTCAR are incompatible\n"
            " POTCAR overwrites the type information in POSCAR"
        )
    symbols = [symbol for symbol, count in zip(elements, poscar.counts, strict=True) for _ in range(count)]
    atoms = Atoms(symbols, cell=poscar.cell, scaled_positions=poscar.scaled, pbc=True)
    kpoints = read_kpoints(folder / "KPOINTS", incar, poscar.cell)
    parameters = _parameters(incar, poscar, potentials, atoms)
    neutral = sum(p.valence * n for p, n in zip(potentials, poscar.counts, strict=True))
    setup = Setup(
        incar=incar,
        poscar=poscar,
        potentials=potentials,
        kpoints=kpoints,
        atoms=atoms,
        masses=np.repeat([p.mass for p in potentials], poscar.counts)[:, None],
        parameters=parameters,
        level=level_factor(
            incar,
            float(parameters["ENCUT"]),
            (kpoints.total * atoms.get_volume()) ** (1 / 3),
            float(parameters["NELECT"]) - neutral,
            [potential.title for potential in potentials],
        ),
        moments=parameters.get("MAGMOM"),
        messages=messages,
    )
    _refuse_the_impossible(setup)
    return setup


def _refuse_the_impossible(setup: Setup) -> None:
    parameters = setup.parameters
    if parameters["ISMEAR"] == -5 and setup.kpoints.total < 4:
        raise InputFailure(" Tetrahedron method fails (number of k-points < 4)")
    if 2 * parameters["NBANDS"] < parameters["NELECT"]:
        raise InputFailure(" ERROR: TOO FEW BANDS\n number of bands is not sufficient to hold all electrons")
    if parameters["ICHARG"] >= 10 and not Path("CHGCAR").is_file():
        raise InputFailure(" ERROR: charge density could not be read from file CHGCAR for ICHARG>10")
    if parameters["IBRION"] == 0 and parameters["NSW"] > 0 and "POTIM" not in setup.incar:
        raise unreadable_tag("POTIM")  # molecular dynamics has no default time step


def _parameters(incar: Incar, poscar: Poscar, potentials: list[Potential], atoms: Atoms) -> dict:
    """Values in force, with VASP's defaults."""
    n_types, n_atoms = len(potentials), len(atoms)
    steps = incar.integer("NSW", 0)
    motion = incar.integer("IBRION", -1 if steps in (0, -1) else 0)
    electrons = incar.real(
        "NELECT", sum(p.valence * n for p, n in zip(potentials, poscar.counts, strict=True))
    )
    bands = max(math.ceil(electrons / 2) + max(n_atoms // 2, 3), int(0.6 * electrons))
    cutoff = incar.real("ENCUT", max(potential.cutoff for potential in potentials))
    start = incar.real("TEBEG", 0.0)
    hybrid = incar.logical("LHFCALC", False)
    convergence = incar.real("EDIFF", 1e-4)
    plane_waves = int(atoms.get_volume() / (6 * math.pi**2) * (2 * cutoff / HARTREE) ** 1.5 / BOHR**3) + 1
    parameters: dict[str, float | int | bool | str | list[float]] = {
        "SYSTEM": incar.get("SYSTEM", "unknown"),
        "PREC": incar.word("PREC", "normal").lower(),
        "ENCUT": cutoff,
        "NELM": incar.integer("NELM", 60),
        "NELMIN": incar.integer("NELMIN", 2),
        "EDIFF": convergence,
        "NSW": steps,
        "IBRION": motion,
        "ISIF": incar.integer("ISIF", 0 if motion == 0 or hybrid else 2),
        "POTIM": incar.real("POTIM", 0.5),
        "EDIFFG": incar.real("EDIFFG", convergence * 10),
        "TEBEG": start,
        "TEEND": incar.real("TEEND", start),
        "SMASS": incar.real("SMASS", -3.0),
        "MDALGO": incar.integer("MDALGO", 0),
        "PSTRESS": incar.real("PSTRESS", 0.0),
        "NELECT": electrons,
        "NBANDS": incar.integer("NBANDS", bands),
        "ISPIN": incar.integer("ISPIN", 1),
        "ISMEAR": incar.integer("ISMEAR", 1),
        "SIGMA": incar.real("SIGMA", 0.2),
        "KSPACING": incar.real("KSPACING", 0.5),
        "KGAMMA": incar.logical("KGAMMA", True),
        "ISYM": incar.integer("ISYM", 2),
        "SYMPREC": incar.real("SYMPREC", 1e-5),
        "ISTART": incar.integer("ISTART", 1 if _has_content("WAVECAR") else 0),
        "ICHARG": incar.integer("ICHARG", 2),
        "LWAVE": incar.logical("LWAVE", True),
        "LCHARG": incar.logical("LCHARG", True),
        "IALGO": incar.integer("IALGO", ALGORITHMS.get(incar.word("ALGO", "Normal")[0].lower(), 38)),
        "LREAL": incar.word("LREAL", "F").strip(".")[0].upper() != "F",
        "GGA": incar.word("GGA", "PE"),
        "METAGGA": incar.word("METAGGA", "--"),
        "LHFCALC": hybrid,
        "AEXX": incar.real("AEXX", 0.25 if hybrid else 0.0),
        "HFSCREEN": incar.real("HFSCREEN", 0.0),
        "LUSE_VDW": incar.logical("LUSE_VDW", False),
        "IVDW": incar.integer("IVDW", 0),
        "LDAU": incar.logical("LDAU", False),
        "LORBIT": incar.integer("LORBIT", 0),
        "NPLWV": 8 * plane_waves,
        "NPW": plane_waves,
    }
    if parameters["ISPIN"] == 2:
        parameters["MAGMOM"] = incar.reals("MAGMOM", n_atoms) or [1.0] * n_atoms
    if parameters["LDAU"]:
        for tag in ("LDAUL", "LDAUU", "LDAUJ"):
            default = [2.0 if tag == "LDAUL" else 1.0 if tag == "LDAUU" else 0.0] * n_types
            parameters[tag] = incar.reals(tag, n_types) or default
    if parameters["MDALGO"] == 3:
        parameters["LANGEVIN_GAMMA"] = incar.reals("LANGEVIN_GAMMA", n_types) or [0.0] * n_types
    return parameters


def _has_content(name: str) -> bool:
    path = Path(name)
    return path.is_file() and path.stat().st_size > 0
