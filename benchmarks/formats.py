"""Reading MOVEMENT and OUTCAR against dpdata and pwdata, in one run on the same files.

A trajectory of 108 copper atoms is written once in each format; the OUTCAR holds what VASP prints by default,
ten electronic steps, potentials, bands and parts of the forces. Each reader runs in a process of its own with
one thread; printed are CPU times, without imports, and the largest resident memory of the process. That all
read the same frames, energies, forces and (pwdata) virials is checked. Then memory on two files, one with ten
times the frames of the other: it must be the same.

python benchmarks/formats.py [--quick] [--json] [--pwdata-python PYTHON]

pwdata (GPL) is measured only where a Python environment that has it is given.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from common import peak_memory, run_python

from alpw.formats.movement import read_movement, write_movement
from alpw.formats.outcar import read_outcar
from alpw.structures.frames import LabelledFrames

TARGET = 5.0
GROWTH = 0.01
"""GB that ten times the frames may need more"""
N_BANDS = 712
BATCH = 200
FORMATS = {"MOVEMENT": "pwmat/movement", "OUTCAR": "vasp/outcar"}


def trajectory(n_frames: int) -> LabelledFrames:
    """Frames with random displacements, forces, velocities and virials of a usual size."""
    crystal = bulk("Cu", cubic=True).repeat(3)
    shape = (n_frames, len(crystal), 3)
    rng = np.random.default_rng(1)
    stress = rng.normal(0.0, 20.0, (n_frames, 3, 3))
    return LabelledFrames(
        numbers=crystal.numbers.astype(np.int64),
        cells=np.broadcast_to(np.asarray(crystal.cell), (n_frames, 3, 3)).copy(),
        # With the decimals of an OUTCAR, so that both files hold the same numbers.
        positions=np.round(crystal.positions + rng.normal(0.0, 0.1, shape), 5),
        energies=np.round(rng.normal(-400.0, 1.0, n_frames), 8),
        forces=np.round(rng.normal(0.0, 1.0, shape), 6),
        virials=np.round((stress + stress.transpose(0, 2, 1)) / 2, 5),
        converged=np.ones(n_frames, dtype=bool),
        extras={
            "time": np.arange(n_frames) / 1000,
            "temperature": np.full(n_frames, 300.0),
            "electronic_steps": np.full(n_frames, 10.0),
            "velocities": rng.normal(0.0, 3.0, shape),
        },
    )


OUTCAR_HEADER = """ vasp.5.4.4 benchmark
 running on    1 total cores
 POTCAR:    PAW_PBE Cu 22Jun2005
 POTCAR:    PAW_PBE Cu 22Jun2005
   VRHFIN =Cu: d10 p1
   TITEL  = PAW_PBE Cu 22Jun2005
   number of dos      NEDOS =    301   number of ions     NIONS =    {n:3d}
   ions per type =             {n:4d}
 Startparameter for this run:
   NWRITE =      2    write-flag & timer
   ISPIN  =      1    spin polarized calculation?
   NELM   =     60;   NELMIN=  2; NELMDL= -5     # of ELM steps
   EDIFF  = 0.1E-04   stopping-criterion for ELM
   NSW    =   2000    number of steps for IOM
   IBRION =      0    ionic relax: 0-MD 1-quasi-New 2-CG
   POTIM  = 1.0000    time-step for ionic-motion

"""

ELECTRONIC_STEP = """
{line} Iteration {ionic:6d}({step:4d})  {line}


    POTLOK:  cpu time    0.0121: real time    0.0122
    SETDIJ:  cpu time    0.0043: real time    0.0043
    EDDIAG:  cpu time    0.0271: real time    0.0271
  RMM-DIIS:  cpu time    0.0511: real time    0.0511
    ORTHCH:  cpu time    0.0099: real time    0.0099
       DOS:  cpu time    0.0000: real time    0.0000
    CHARGE:  cpu time    0.1931: real time    0.1931
    MIXING:  cpu time    0.0927: real time    0.0927
    --------------------------------------------
      LOOP:  cpu time    0.1021: real time    0.1023

 eigenvalue-minimisations  :   512
 total energy-change (2. order) : 0.1825454E-05  (-0.1921091E-05)
 number of electron    1188.0000000 magnetization
 augmentation part      108.0000000 magnetization

 Broyden mixing:
  rms(total) = 0.41853E-02    rms(broyden)= 0.41852E-02
  rms(prec ) = 0.50444E-02
  weight for this iteration     100.00

 eigenvalues of (default mixing * dielectric matrix)
  average eigenvalue GAMMA=   1.0132
  1.0132  1.0132

 Free energy of the ion-electron system (eV)
  ---------------------------------------------------
  alpha Z        PSCENC =       107.80000000
  Ewald energy   TEWEN  =    -20000.00000000
  -Hartree energ DENC   =     -1500.00000000
  -exchange      EXHF   =         0.00000000
  -V(xc)+E(xc)   XCENC  =       300.00000000
  PAW double counting   =      5000.00000000    -5100.00000000
  entropy T*S    EENTRO =        -0.01000000
  eigenvalues    EBANDS =      -800.00000000
  atomic energy  EATOM  =     21400.00000000
  Solvation  Ediel_sol  =         0.00000000
  ---------------------------------------------------
  free energy    TOTEN  =      -400.00000000 eV

  energy without entropy =     -399.99000000  energy(sigma->0) =     -399.99500000


--------------------------------------------------------------------------------------------------------

"""

AFTER_FORCES = """ -----------------------------------------------------------------------------------
    total drift:                                0.000000      0.000000      0.000000


--------------------------------------------------------------------------------------------------------



  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  = {energy:20.8f} eV

  energy  without entropy= {energy:18.8f}  energy(sigma->0) = {energy:18.8f}

  ENERGY OF THE ELECTRON-ION-THERMOSTAT SYSTEM (eV)
  ---------------------------------------------------
% ion-electron   TOTEN  = {energy:18.6f}  see above
  kinetic energy EKIN   =         4.188000
  kin. lattice  EKIN_LAT=         0.000000  (temperature {temperature:7.2f} K)
  total energy   ETOTAL = {energy:18.6f} eV

     LOOP+:  cpu time    1.0897: real time    1.0953

"""


def ionic_step(frames: LabelledFrames, k: int) -> str:
    """One ionic step as VASP prints it."""
    virials, n_atoms = frames.filled_virials(), len(frames.numbers)
    xx, yy, zz, xy, yz, zx = virials[k][[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]]
    six = (xx, yy, zz, xy, yz, zx)
    text = [ELECTRONIC_STEP.format(line="-" * 39, ionic=k + 1, step=step) for step in range(1, 11)]
    text.append(" average (electrostatic) potential at core\n")
    text += [
        "".join(f"{atom + 1:8d}{-80.28:9.4f}" for atom in range(first, min(first + 5, n_atoms))) + "\n"
        for first in range(0, n_atoms, 5)
    ]
    text.append("\n k-point     1 :       0.0000    0.0000    0.0000\n")
    text.append("  band No.  band energies     occupation\n")
    text += [f"{band + 1:7d}{-24.8475 + 0.05 * band:13.4f}{2.0:13.5f}\n" for band in range(N_BANDS)]
    text.append(f"{' aborting loop because EDIFF is reached ':-^104}\n\n\n")
    text.append("\n  FORCE on cell =-STRESS in cart. coord.  units (eV):\n")
    text.append("  Direction    XX          YY          ZZ          XY          YZ          ZX\n")
    text.append(" " + "-" * 86 + "\n")
    names = [
        "Alpha Z",
        "Ewald  ",
        "Hartree",
        "E(xc)  ",
        "Local  ",
        "n-local",
        "augment",
        "Kinetic",
        "Fock   ",
    ]
    text += [f"  {name}" + "     0.00000" * 6 + "\n" for name in names]
    text.append(" " + "-" * 86 + "\n")
    text.append("  Total  " + "".join(f"{x:12.5f}" for x in six) + "\n")
    text.append("  in kB  " + "".join(f"{x:12.5f}" for x in six) + "\n")
    text.append("  external pressure =        0.00 kB  Pullay stress =        0.00 kB\n\n\n")
    text.append(" VOLUME and BASIS-vectors are now :\n " + "-" * 77 + "\n")
    text.append("  energy-cutoff  :      400.00\n  volume of cell :     1275.79\n")
    text.append("      direct lattice vectors                 reciprocal lattice vectors\n")
    text += ["   " + "".join(f"{x:13.9f}" for x in [*row, 0, 0, 0]) + "\n" for row in frames.cells[k]]
    text.append("\n FORCES acting on ions\n    electron-ion (+dipol)            ewald-force\n")
    text.append((("   -.136E+02 -.458E+02 0.124E+01" * 4) + "\n") * n_atoms)
    text.append("\n POSITION                                       TOTAL-FORCE (eV/Angst)\n ")
    text.append("-" * 83 + "\n")
    rows = np.hstack([frames.positions[k], frames.forces[k]])
    text.append(("%13.5f%13.5f%13.5f   %14.6f%14.6f%14.6f\n" * len(rows)) % tuple(rows.ravel()))
    text.append(AFTER_FORCES.format(energy=frames.energies[k], temperature=300.0))
    return "".join(text)


def write_outcar(path: Path, batches: Iterator[LabelledFrames]) -> None:
    """An OUTCAR that ASE, dpdata and pwdata read."""
    with path.open("w") as file:
        for number, frames in enumerate(batches):
            if number == 0:
                file.write(OUTCAR_HEADER.format(n=len(frames.numbers)))
            for k in range(len(frames)):
                file.write(ionic_step(frames, k))
        file.write(" General timing and accounting informations for this job:\n")
        file.write("                         Elapsed time (sec):     1.000\n")


def read_with(reader: str, path: Path) -> dict[str, Any]:
    """CPU time, memory and sums of one reader; in a process of its own."""
    began = time.process_time()
    energy, forces, virial, count = 0.0, 0.0, 0.0, 0
    if reader == "ours":
        ours = read_movement if path.name == "MOVEMENT" else read_outcar
        for batch in ours(path, batch=BATCH):
            count += len(batch)
            energy += float(batch.energies.sum())
            forces += float(np.abs(batch.forces).sum())
            virial += float(np.abs(batch.filled_virials()).sum())
    else:
        # Late, and only here: the other runs need no dpdata.
        import dpdata

        data = dpdata.LabeledSystem(str(path), fmt=FORMATS[path.name]).data
        count, energy = len(data["energies"]), float(np.sum(data["energies"]))
        forces, virial = float(np.abs(data["forces"]).sum()), float(np.abs(data["virials"]).sum())
    seconds = time.process_time() - began
    sums = {"energy": energy, "forces": forces, "virial": virial}
    return {"frames": count, "seconds": seconds, "peak_memory": peak_memory(), **sums}


def compare(n_frames: int, megabytes: float, pwdata_python: Path | None) -> dict[str, Any]:
    """All readers on both files, then the memory of ours on a short and on a long file."""
    here = Path(__file__).resolve()
    result: dict[str, Any] = {"frames": n_frames, "target": TARGET}
    frames = trajectory(BATCH)
    with tempfile.TemporaryDirectory() as name:
        for file, form in FORMATS.items():
            path, long = Path(name) / file, Path(name) / "long" / file
            write(path, frames, n_frames // BATCH)
            runs = {reader: run_python(here, ["--read", reader, str(path)]) for reader in ("ours", "dpdata")}
            if pwdata_python:
                script = here.with_name("formats_pwdata.py")
                runs["pwdata"] = run_python(script, [str(path), form], python=pwdata_python)
            check_same(runs, file)
            ratios = {reader: runs[reader]["seconds"] / runs["ours"]["seconds"] for reader in runs}
            del ratios["ours"]
            repeats = max(1, round(megabytes * 1e6 / 10 * n_frames / BATCH / path.stat().st_size))
            memory = []
            for times in (repeats, 10 * repeats):
                write(long, frames, times)
                run = run_python(here, ["--read", "ours", str(long)])
                memory.append({**run, "megabytes": long.stat().st_size / 1e6})
            result[file] = {**runs, "ratios": ratios, "short": memory[0], "long": memory[1]}
            result[file]["growth"] = memory[1]["peak_memory"] - memory[0]["peak_memory"]
    ratios = [ratio for file in FORMATS for ratio in result[file]["ratios"].values()]
    growth = max(result[file]["growth"] for file in FORMATS)
    return {**result, "target_met": min(ratios) >= TARGET, "memory_bounded": growth < GROWTH}


def write(path: Path, frames: LabelledFrames, repeats: int) -> None:
    """The file of that name, with the frames as often as said."""
    path.parent.mkdir(exist_ok=True)
    writer = write_movement if path.name == "MOVEMENT" else write_outcar
    writer(path, itertools.repeat(frames, repeats))


def check_same(runs: dict[str, dict[str, Any]], file: str) -> None:
    """Raise `ValueError` if readers give other numbers; not for virials that dpdata makes from kB."""
    for reader, run in runs.items():
        for name in ("frames", "energy", "forces", "virial"):
            if reader == "dpdata" and name == "virial":
                continue
            if not np.isclose(run[name], runs["ours"][name], rtol=1e-9):
                raise ValueError(f"{file}: {reader} finds {name} {run[name]}, not {runs['ours'][name]}")


def report(result: dict[str, Any]) -> str:
    """The table."""
    lines = [
        f"{result['frames']} frames of 108 atoms",
        f"{'':10}{'':8}{'CPU s':>8}{'ratio':>8}{'memory GB':>11}",
    ]
    for file in FORMATS:
        found = result[file]
        for reader in ("ours", "dpdata", "pwdata"):
            if reader not in found:
                lines.append(f"{file:10}{reader:8} not measured, for want of --pwdata-python")
                continue
            ratio = f"{found['ratios'][reader]:8.1f}" if reader != "ours" else " " * 8
            run = found[reader]
            lines.append(f"{file:10}{reader:8}{run['seconds']:8.2f}{ratio}{run['peak_memory']:11.3f}")
    for file in FORMATS:
        short, long = result[file]["short"], result[file]["long"]
        lines.append(
            f"{file:10}{short['frames']} frames, {short['megabytes']:.0f} MB: {short['peak_memory']:.3f} GB; "
            f"{long['frames']} frames, {long['megabytes']:.0f} MB: {long['peak_memory']:.3f} GB"
        )
    met = "met" if result["target_met"] else "NOT met"
    bounded = "yes" if result["memory_bounded"] else "NO"
    lines.append(f"target {TARGET:.0f} times as fast, {met}; memory independent of the length: {bounded}")
    return "\n".join(lines)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pwdata-python", type=Path)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read_with(arguments.read[0], Path(arguments.read[1]))))
        return
    result = compare(*((400, 40) if arguments.quick else (2000, 200)), arguments.pwdata_python)
    print(json.dumps(result) if arguments.json else report(result))


if __name__ == "__main__":
    sys.exit(main())
