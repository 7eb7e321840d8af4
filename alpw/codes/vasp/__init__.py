"""VASP: plane-wave DFT for labels, relaxations and AIMD, driven by the user's own INCAR and POTCARs."""
