"""Modules of the stand-in for VASP, `vasp_std`: real input and output files around a small real potential.

Nothing here is VASP or taken from it; the texts of the output files follow what its readers look for.
"""
