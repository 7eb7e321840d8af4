"""A stand-in for PWmat: real inputs, real files, forces that are derivatives of the energy; no electrons.

It reads ``etot.input``, the structure and the pseudopotentials as PWmat does, refuses what PWmat refuses,
does ``JOB = SCF | RELAX | MD`` on a classical potential (`potentials.pick`) and writes PWmat's files with its
signs: a force block holds dE/dR, a stress block dE/dstrain in eV. What would change the physics of a real
calculation (cutoff, k-points, precision, functional, smearing, method) changes the numbers; SCF steps and
mixing change the SCF log only.

| environment | meaning |
| --- | --- |
| ``PWMAT_FAULTS`` | faults to make, JSON or the path of a JSON file (`pwmat.faults`) |
| ``PWMAT_STEP_DELAY`` | seconds that every ionic step takes |
| ``PWMAT_POTENTIAL`` | name of the potential, see `potentials.pick` |
| ``PWMAT_OLD_FORMAT`` | ``1``: MOVEMENT of a relaxation as versions before 2020 wrote it |

Written after PWmat's manual (2023) and published samples of its files. Not known without the program, and
kept in one place each: the words of bad input and of an SCF that ran out of steps, the headers of OUT.FORCE
and OUT.STRESS.
"""
