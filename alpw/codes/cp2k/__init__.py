"""CP2K: real DFT (and its own xTB) for labels, relaxations and AIMD, driven by the user's control file."""
