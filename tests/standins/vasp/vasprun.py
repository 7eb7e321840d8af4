"""The vasprun.xml, with all that pymatgen, ASE and dpdata look for in it."""

from __future__ import annotations

from pathlib import Path
from typing import IO
from xml.sax.saxutils import escape

import numpy as np
from ase import Atoms

from vasp.fortran import LOGICAL, expand, fixed_row, read_integer, read_logical, read_real
from vasp.results import KBAR, IonicStep
from vasp.scf import ElectronicStep
from vasp.setup import Setup

GENERATOR = """\
<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">{version}  </i>
  <i name="subversion" type="string">stand-in for tests, not VASP </i>
  <i name="platform" type="string">Linux </i>
  <i name="date" type="string">2026 01 01 </i>
  <i name="time" type="string">00:00:00 </i>
 </generator>
"""

PARAMETERS = {
    "general": "SYSTEM",
    "electronic": "PREC ENMAX EDIFF IALGO NBANDS NELECT",
    "electronic/electronic smearing": "ISMEAR SIGMA KSPACING KGAMMA",
    "electronic/electronic projectors": "LREAL",
    "electronic/electronic startup": "ISTART ICHARG",
    "electronic/electronic spin": "ISPIN MAGMOM",
    "electronic/electronic convergence": "NELM NELMIN",
    "ionic": "NSW IBRION MDALGO ISIF PSTRESS EDIFFG POTIM SMASS",
    "ionic md": "TEBEG TEEND",
    "symmetry": "ISYM SYMPREC",
    "dos": "LORBIT",
    "writing": "LWAVE LCHARG",
    "electronic exchange-correlation": "GGA METAGGA LHFCALC AEXX HFSCREEN LUSE_VDW IVDW LDAU "
    "LDAUL LDAUU LDAUJ",
}
"""By section, as VASP nests them; ENCUT is called ENMAX there, and ALGO appears as IALGO only."""

SPECTRUM = """\
  <eigenvalues>
   <array>
    <dimension dim="1">band</dimension>
    <dimension dim="2">kpoint</dimension>
    <dimension dim="3">spin</dimension>
    <field>eigene</field>
    <field>occ</field>
    <set>
"""

DENSITY = """\
  <dos>
   <i name="efermi">{fermi:16.8f} </i>
   <total>
    <array>
     <dimension dim="1">gridpoints</dimension>
     <dimension dim="2">spin</dimension>
     <field>energy</field>
     <field>total</field>
     <field>integrated</field>
     <set>
"""

ATOMS = """\
 <atominfo>
  <atoms>{n_atoms:8d} </atoms>
  <types>{n_types:8d} </types>
  <array name="atoms" >
   <dimension dim="1">ion</dimension>
   <field type="string">element</field>
   <field type="int">atomtype</field>
   <set>
{atoms}   </set>
  </array>
  <array name="atomtypes" >
   <dimension dim="1">type</dimension>
   <field type="int">atomspertype</field>
   <field type="string">element</field>
   <field>mass</field>
   <field>valence</field>
   <field type="string">pseudopotential</field>
   <set>
{types}   </set>
  </array>
 </atominfo>
"""


def vectors(rows: np.ndarray, indent: str) -> str:
    return "".join(f"{indent}<v>{fixed_row(row, 17, 8)} </v>\n" for row in rows)


def varray(name: str, rows: np.ndarray, indent: str) -> str:
    return f'{indent}<varray name="{name}" >\n{vectors(rows, indent + " ")}{indent}</varray>\n'


class Vasprun:
    """Writes the file as the run proceeds; the last ionic step stays open until the next begins."""

    def __init__(self, folder: Path, setup: Setup) -> None:
        self.setup = setup
        self.file: IO[str] = (folder / "vasprun.xml").open("w")
        self._open = False
        self._header()

    def _header(self) -> None:
        setup, write = self.setup, self.file.write
        write(GENERATOR.format(version=setup.version) + " <incar>\n")
        for tag, value in setup.incar.items():
            write(f"  {incar_entry(tag, value)}\n")
        write(" </incar>\n <kpoints>\n")
        kpoints = setup.kpoints
        if kpoints.mesh:
            divisions = " ".join(f"{n:8d}" for n in kpoints.mesh)
            write(
                f'  <generation param="{kpoints.style}">\n'
                f'   <v type="int" name="divisions">{divisions} </v>\n'
                f'   <v name="usershift">{fixed_row(kpoints.shift, 17, 8)} </v>\n'
            )
            for number, row in enumerate(np.diag(1.0 / np.array(kpoints.mesh)), start=1):
                write(f'   <v name="genvec{number}">{fixed_row(row, 17, 8)} </v>\n')
            write(f'   <v name="shift">{fixed_row(np.zeros(3), 17, 8)} </v>\n  </generation>\n')
        write(varray("kpointlist", kpoints.points, "  ") + varray("weights", kpoints.weights[:, None], "  "))
        write(" </kpoints>\n <parameters>\n")
        for section, tags in PARAMETERS.items():
            names = section.split("/")
            known = [tag for tag in tags.split() if tag.replace("ENMAX", "ENCUT") in setup.parameters]
            write("".join(f'  <separator name="{name}" >\n' for name in names))
            for tag in known:
                write(f"   {parameter_entry(tag, setup.parameters[tag.replace('ENMAX', 'ENCUT')])}\n")
            write("  </separator>\n" * len(names))
        write(" </parameters>\n")
        atoms = types = ""
        for number, (potential, count) in enumerate(
            zip(setup.potentials, setup.poscar.counts, strict=True), start=1
        ):
            atoms += f"    <rc><c>{potential.element:<2s}</c><c>{number:4d}</c></rc>\n" * count
            types += (
                f"    <rc><c>{count:4d}</c><c>{potential.element:<2s}</c><c>{potential.mass:16.8f}</c>"
                f"<c>{potential.valence:16.8f}</c><c>  {potential.title:<38s}</c></rc>\n"
            )
        write(ATOMS.format(n_atoms=len(setup.atoms), n_types=len(setup.potentials), atoms=atoms, types=types))
        self._structure(setup.atoms, "initialpos", " ")
        self.file.flush()

    def _structure(self, atoms: Atoms, name: str, indent: str) -> None:
        write, poscar = self.file.write, self.setup.poscar
        title = f'<structure name="{name}" >' if name else "<structure>"
        write(f"{indent}{title}\n{indent} <crystal>\n")
        write(varray("basis", atoms.cell.array, indent + "  "))
        write(f'{indent}  <i name="volume">{atoms.get_volume():16.8f} </i>\n')
        write(varray("rec_basis", np.linalg.inv(atoms.cell.array).T, indent + "  "))
        write(f"{indent} </crystal>\n" + varray("positions", atoms.get_scaled_positions(), indent + " "))
        if poscar.selective:
            write(f'{indent} <varray type="logical" name="selective" >\n')
            for row in poscar.movable:
                flags = "  ".join("FT"[int(flag)] for flag in row)
                write(f'{indent}  <v type="logical" >  {flags} </v>\n')
            write(f"{indent} </varray>\n")
        write(f"{indent}</structure>\n")

    def begin(self) -> None:
        """A new ionic step."""
        self._end_calculation()
        self.file.write(" <calculation>\n")
        self._open = True

    def electronic(self, step: ElectronicStep, entropy: float) -> None:
        self.file.write(
            '  <scstep>\n   <time name="total">    0.00    0.00</time>\n   <energy>\n'
            + _energies(step.energy, entropy, "    ")
            + "   </energy>\n  </scstep>\n"
        )

    def ionic(self, step: IonicStep) -> None:
        """Results of an ionic step.

        The energies of this block contain PSTRESS times volume, unlike those of the electronic steps and of
        OUTCAR; VASP 5 swaps the last two of them.
        """
        write = self.file.write
        self._structure(step.atoms, "", "  ")
        write(varray("forces", step.forces, "  "))
        if step.stress is not None:
            write(varray("stress", step.pressure_tensor, "  "))
        enthalpy = step.energy + float(self.setup.parameters["PSTRESS"]) * step.atoms.get_volume() / KBAR
        swapped = self.setup.version.startswith("5")
        write("  <energy>\n" + _energies(enthalpy, step.entropy, "   ", swapped))
        if step.motion:
            motion = step.motion
            for name, value in (
                ("kinetic", motion.kinetic),
                ("lattice kinetic", 0.0),
                ("nosepot", motion.thermostat),
                ("nosekinetic", motion.thermostat_kinetic),
                ("total", motion.conserved),
            ):
                write(f'   <i name="{name}">{value:20.8f} </i>\n')
        write('  </energy>\n  <time name="totalsc">    0.00    0.00</time>\n')
        self.file.flush()

    def _end_calculation(self) -> None:
        if self._open:
            self.file.write(" </calculation>\n")
        self._open = False

    def spectrum(self, bands: np.ndarray, occupations: np.ndarray, fermi: float) -> None:
        """Eigenvalues ``(n_spins, n_kpoints, n_bands)`` and a density of states, eV."""
        write = self.file.write
        write(SPECTRUM)
        for spin in range(len(bands)):
            write(f'     <set comment="spin {spin + 1}">\n')
            for number in range(bands.shape[1]):
                rows = zip(bands[spin, number], occupations[spin, number], strict=True)
                write(f'      <set comment="kpoint {number + 1}">\n')
                write("".join(f"       <r>{e:10.4f} {o:10.4f} </r>\n" for e, o in rows) + "      </set>\n")
            write("     </set>\n")
        write("    </set>\n   </array>\n  </eigenvalues>\n" + DENSITY.format(fermi=fermi))
        grid = np.linspace(fermi - 12, fermi + 8, 301)
        width = 0.3
        density = np.exp(-(((grid[:, None] - bands[0, 0]) / width) ** 2)).sum(axis=1)
        density *= 2 / len(bands) / (width * np.sqrt(np.pi))
        integrated = np.cumsum(density) * (grid[1] - grid[0])
        for spin in range(len(bands)):
            write(f'      <set comment="spin {spin + 1}">\n')
            rows = zip(grid, density, integrated, strict=True)
            write(
                "".join(f"       <r>{e:12.4f} {d:10.4f} {i:10.4f} </r>\n" for e, d, i in rows)
                + "      </set>\n"
            )
        write("     </set>\n    </array>\n   </total>\n  </dos>\n")

    def close(self, atoms: Atoms) -> None:
        self._end_calculation()
        self._structure(atoms, "finalpos", " ")
        self.file.write("</modeling>\n")
        self.file.close()


def _energies(energy: float, entropy: float, indent: str, swapped: bool = False) -> str:
    without, extrapolated = energy + entropy, energy + 0.5 * entropy
    if swapped:
        without, extrapolated = extrapolated, without
    values = {"e_fr_energy": energy, "e_wo_entrp": without, "e_0_energy": extrapolated}
    return "".join(f'{indent}<i name="{name}">{value:20.8f} </i>\n' for name, value in values.items())


def incar_entry(tag: str, text: str) -> str:
    """A tag of INCAR with the type that its value shows."""
    if LOGICAL.fullmatch(text.strip()):
        return parameter_entry(tag, read_logical(text.strip()))
    words = expand(text)
    for reader in (read_integer, read_real):
        try:
            values = [reader(word) for word in words]
        except ValueError:
            continue
        if values:
            return parameter_entry(tag, values[0] if len(values) == 1 else values)
    return _string(tag, text)


def parameter_entry(tag: str, value) -> str:
    """A typed value or list."""
    if isinstance(value, bool):
        return f'<i type="logical" name="{tag}"> {"T" if value else "F"}  </i>'
    if isinstance(value, str):
        return _string(tag, value)
    if isinstance(value, int):
        return f'<i type="int" name="{tag}">{value:8d}</i>'
    if isinstance(value, float):
        return f'<i name="{tag}">{value:16.8f}</i>'
    if all(isinstance(item, int) for item in value):
        return f'<v type="int" name="{tag}">{"".join(f"{item:8d} " for item in value)}</v>'
    return f'<v name="{tag}">{fixed_row(value, 17, 8)} </v>'


def _string(tag: str, text: str) -> str:
    return f'<i type="string" name="{tag}">{escape(text)}</i>'
