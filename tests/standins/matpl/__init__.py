"""Modules of the stand-ins for PWMLFF, MatPL and their LAMMPS: real files around a small real potential.

Nothing here is PWMLFF or MatPL or taken from them; names of files and columns are those that drivers rely on.
"""
