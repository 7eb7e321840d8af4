"""Stand-in for CP2K: reads the real input, computes a Lennard-Jones crystal, fails on demand.

    python fake_cp2k.py [--fault NAME] [--times N] [--step K] [--until KEYWORD=VALUE] [--newer] cp2k.inp

The output has the form of CP2K 2023.1, with ``--newer`` that of later versions (``FORCES|``, bar). A fault
strikes the first N runs in a directory, or until the input holds the given line; in MD (NVE) and GEO_OPT from
step K on. It reads the input with its own few lines, so that a mistake of the writer under test is not
mirrored here. The files of MD and GEO_OPT have the forms that CP2K 2023.1 was seen to write.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ase import Atoms, units
from potentials import SmoothLennardJones


def block(text, name):
    found = re.search(rf"&{name}\b[^\n]*\n(.*?)&END {name}\b", text, re.DOTALL)
    return found[1] if found else ""


def value(text, name, default):
    found = re.search(rf"^\s*{name}\s+(\S+)", text, re.MULTILINE)
    return type(default)(found[1]) if found else default


def structure(text):
    text = block(text, "SUBSYS")
    rows = [line.split() for line in block(text, "COORD").splitlines() if line.strip()]
    cell = [
        line.split() for line in block(text, "CELL").splitlines() if line.split()[:1] in (["A"], ["B"], ["C"])
    ]
    positions = [list(map(float, row[1:4])) for row in rows]
    return Atoms(
        [row[0] for row in rows], positions, cell=[list(map(float, row[1:4])) for row in cell], pbc=True
    )


def say(text=""):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def vector(values, width, decimals):
    return "".join(f"{x:{width}.{decimals}f}" for x in values)


def say_structure(atoms):
    a, b, c, alpha, beta, gamma = atoms.cell.cellpar()
    say(f" CELL| Volume [angstrom^3]: {atoms.get_volume():52.6f}")
    for name, row, length in zip("abc", atoms.cell, (a, b, c), strict=True):
        say(f" CELL| Vector {name} [angstrom]: {vector(row, 10, 3)}   |{name}| = {length:12.6f}")
    for name, angle in ((" (b,c), alpha", alpha), (" (a,c), beta ", beta), (" (a,b), gamma", gamma)):
        say(f" CELL| Angle{name} [degree]: {angle:51.6f}")
    say("\n MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM\n")
    say("   Atom Kind Element         X             Y             Z       Z(eff)     Mass")
    for i, (symbol, z, row) in enumerate(zip(atoms.symbols, atoms.numbers, atoms.positions, strict=True), 1):
        say(f"{i:7d}    1 {symbol:<2s} {z:4d} {vector(row, 14, 6)}   4.0000  28.0855")


def abort(message):
    say(" *******************************************************************************")
    say(" * [ABORT]                                                                     *")
    say(f" *  \\___/  {message:68s}*")
    say(" * / \\                                               input/input_parsing.F:246 *")
    sys.exit(1)


def say_result(atoms, newer, nan, with_stress):
    forces = atoms.get_forces() / (units.Hartree / units.Bohr)
    forces = forces * np.nan if nan else forces
    energy = atoms.get_potential_energy() / units.Hartree
    stress = -atoms.get_stress(voigt=False) / units.GPa
    if newer:
        say(f" ENERGY| Total FORCE_EVAL ( QS ) energy [hartree] {energy:30.15f}\n")
        say(" FORCES| Atomic forces [hartree/bohr]")
        say(" FORCES|   Atom                  x                  y                  z        |f|")
        for i, row in enumerate(forces, 1):
            say(f" FORCES| {i:6d} " + "".join(f"{x:19.8E}" for x in row) + f"{np.linalg.norm(row):19.8E}")
        say(" FORCES|    Sum" + "".join(f"{x:19.8E}" for x in forces.sum(axis=0)))
        stress = stress * 1e4
    else:
        say(f" ENERGY| Total FORCE_EVAL ( QS ) energy [a.u.]: {energy:30.15f}\n")
        say(" ATOMIC FORCES in [a.u.]\n\n # Atom   Kind   Element          X              Y              Z")
        for i, (symbol, row) in enumerate(zip(atoms.symbols, forces, strict=True), 1):
            say(f"{i:7d}      1      {symbol:<2s}     {vector(row, 15, 8)}")
        say(f" SUM OF ATOMIC FORCES     {vector(forces.sum(axis=0), 15, 8)}     0.00000000\n")
    if with_stress:
        say(f" STRESS| Analytical stress tensor [{'bar' if newer else 'GPa'}]")
        say(" STRESS|                        x                   y                   z")
        for name, row in zip("xyz", stress, strict=True):
            say(f" STRESS|      {name}     " + "".join(f"{x:20.11E}" for x in row))


VELOCITY = units.Bohr / units.AUT
"""ASE's unit of velocity per atomic unit."""


def evaluate(atoms, options, fault, with_stress=True):
    """One SCF and what is printed of it."""
    say("     1 NoMix/Diag. 0.40E+00    0.3     1.09781562       -31.8354923779 -3.18E+01")
    if fault == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        time.sleep(600)
    if fault == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "unconverged" and options.newer:
        abort("SCF run NOT converged. To continue, set IGNORE_CONVERGENCE_FAILURE.")
    if fault == "unconverged":
        say(" *** WARNING in qs_scf.F:601 :: SCF run NOT converged ***")
    else:
        say("  *** SCF run converged in    10 steps ***")
    if fault == "truncate":
        sys.exit(0)
    say_result(atoms, options.newer, nan=fault == "nan", with_stress=with_stress)


class Files:
    """The trajectory files of MD and optimisations."""

    def __init__(self, is_md):
        self.is_md = is_md
        header = "#   Step   Time [fs]       Ax [Angstrom] ...\n"
        Path("run-1.cell").write_text(header)
        if is_md:
            Path("run-1.ener").write_text("#     Step Nr.          Time[fs]        Kin.[a.u.] ...\n")

    def write(self, atoms, step, timestep):
        energy = atoms.get_potential_energy() / units.Hartree
        time_text = f", time = {step * timestep:12.3f}" if self.is_md else ""
        heading = f" i = {step:8d}{time_text}, E = {energy:19.10f}"
        tables = {"pos": atoms.positions, "frc": atoms.get_forces() / (units.Hartree / units.Bohr)}
        if self.is_md:
            tables["vel"] = atoms.get_velocities() / VELOCITY
        for name, rows in tables.items():
            with Path(f"run-{name}-1.xyz").open("a") as file:
                file.write(f"{len(atoms):8d}\n{heading}\n")
                for symbol, row in zip(atoms.symbols, rows, strict=True):
                    file.write(f" {symbol:<2s} {vector(row, 20, 10)}\n")
        with Path("run-1.cell").open("a") as file:
            numbers = vector(np.asarray(atoms.cell).ravel(), 20, 10)
            file.write(f"{step:8d} {step * timestep:12.3f} {numbers} {atoms.get_volume():20.10f}\n")
        if self.is_md:
            kinetic = atoms.get_kinetic_energy() / units.Hartree
            with Path("run-1.ener").open("a") as file:
                numbers = (
                    f"{kinetic:20.9f} {atoms.get_temperature():20.9f} {energy:20.9f} {energy + kinetic:20.9f}"
                )
                file.write(f"{step:10d} {step * timestep:20.6f} {numbers} {1.0:20.9f}\n")
            write_restart(atoms, step, timestep)


def write_restart(atoms, step, timestep):
    lines = [
        "&GLOBAL",
        "  RUN_TYPE MD",
        "&END GLOBAL",
        "&MOTION",
        "  &MD",
        "    ENSEMBLE NVE",
        "    STEPS 99",
    ]
    lines += [f"    TIMESTEP {timestep}", f"    STEP_START_VAL {step}", "    TEMPERATURE 300.0"]
    lines += ["  &END MD", "&END MOTION", "&FORCE_EVAL", "  &SUBSYS", "    &CELL"]
    lines += [f"      {name} {vector(row, 26, 16)}" for name, row in zip("ABC", atoms.cell, strict=True)]
    lines += ["    &END CELL", "    &COORD"]
    rows = zip(atoms.symbols, atoms.positions, strict=True)
    lines += [f"{symbol} {vector(row, 26, 16)}" for symbol, row in rows]
    lines += ["    &END COORD", "    &VELOCITY"]
    lines += ["".join(f"{x:26.16E}" for x in row) for row in atoms.get_velocities() / VELOCITY]
    lines += ["    &END VELOCITY", "  &END SUBSYS", "&END FORCE_EVAL", ""]
    Path("run-1.restart").write_text("\n".join(lines))


def dynamics(atoms, text, options, fault):
    """Velocity Verlet; the numbering goes on from STEP_START_VAL."""
    motion = block(text, "MD")
    steps, timestep = value(motion, "STEPS", 3), value(motion, "TIMESTEP", 0.5)
    first = value(motion, "STEP_START_VAL", 0)
    if rows := block(text, "VELOCITY").split():
        atoms.set_velocities(np.array(rows, dtype=float).reshape(-1, 3) * VELOCITY)
    else:
        spread = np.sqrt(units.kB * value(motion, "TEMPERATURE", 300.0) / atoms.get_masses())
        atoms.set_velocities(np.random.default_rng(1).standard_normal((len(atoms), 3)) * spread[:, None])
    say(" MD_PAR| Ensemble type                                                       NVE")
    files = Files(is_md=True)
    evaluate(atoms, options, fault if options.step <= first else "")
    say(" MD_INI| MD initialization")
    if first == 0:
        files.write(atoms, 0, timestep)
    for step in range(first + 1, first + steps + 1):
        velocity_verlet(atoms, timestep * units.fs)
        evaluate(atoms, options, fault if step >= options.step else "")
        say(f" MD| Step number {step:64d}")
        files.write(atoms, step, timestep)
        if Path("EXIT").exists():
            say(" *** MD run terminated by external request ***")
            return


def velocity_verlet(atoms, time):
    atoms.set_momenta(atoms.get_momenta() + 0.5 * time * atoms.get_forces())
    atoms.set_positions(atoms.positions + time * atoms.get_velocities())
    atoms.set_momenta(atoms.get_momenta() + 0.5 * time * atoms.get_forces())


def optimise(atoms, text, options, fault):
    """BFGS; the numbering goes on from STEP_START_VAL, the first structure is in no file."""
    from ase.optimize import BFGS  # half a second of start-up

    motion = block(text, "GEO_OPT")
    first, limit = value(motion, "STEP_START_VAL", 0), value(motion, "MAX_ITER", 200)
    files = Files(is_md=False)
    evaluate(atoms, options, fault if options.step <= first else "")
    optimizer = BFGS(atoms, logfile=None)
    for step, done in enumerate(optimizer.irun(fmax=0.05, steps=limit), first):
        if step > first:
            say(f" --------------------------\n OPTIMIZATION STEP: {step:6d}\n --------------------------")
            evaluate(atoms, options, fault if step >= options.step else "")
            say(f" --------  Informations at step = {step:5d} ------------")
            files.write(atoms, step, 0.0)
        if done:
            say(" ***                    GEOMETRY OPTIMIZATION COMPLETED                      ***")
            say("                    Reevaluating energy at the minimum")
            evaluate(atoms, options, "")
            files.write(atoms, step + 1, 0.0)
            return
    say(" *** MAXIMUM NUMBER OF OPTIMIZATION STEPS REACHED ***")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("--fault", default="")
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--step", type=int, default=0)
    parser.add_argument("--until", default="")
    parser.add_argument("--newer", action="store_true")
    options = parser.parse_args()
    text = Path(options.input).read_text()
    lines = [" ".join(line.split()) for line in text.splitlines()]
    counter = Path("attempts")
    attempt = int(counter.read_text()) + 1 if counter.exists() else 1
    counter.write_text(str(attempt))
    cured = attempt > options.times or (options.until and options.until.replace("=", " ") in lines)
    fault = "" if cured else options.fault

    say("  **** **** ******  **  PROGRAM STARTED AT               2023-01-01 00:00:00.000")
    say(f" CP2K| version string:                      CP2K version {'2024.3' if options.newer else '2023.1'}")
    run_type = value(block(text, "GLOBAL"), "RUN_TYPE", "ENERGY_FORCE")
    say(" GLOBAL| Project name                                                        run")
    say(f" GLOBAL| Run type {run_type:>62s}")
    if fault == "abort":
        abort("found an unknown keyword EPS_SKF in section SCF")
    if fault == "memory":
        sys.stderr.write("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.0\n")
        os.kill(os.getpid(), signal.SIGKILL)
    atoms = structure(text)
    if fault == "moved":
        atoms.positions[0, 0] += 0.01
    if fault == "strained":
        atoms.set_cell(atoms.cell * 1.0002)
    atoms.calc = SmoothLennardJones(epsilon=0.5, sigma=2.1, rc=5.0)
    say_structure(atoms)
    if run_type == "MD":
        dynamics(atoms, text, options, fault)
    elif run_type == "GEO_OPT":
        optimise(atoms, text, options, fault)
    else:
        evaluate(atoms, options, fault, with_stress=fault != "no_stress")
    say("  **** **** ******  **  PROGRAM ENDED AT                 2023-01-01 00:00:01.000")


if __name__ == "__main__":
    main()
