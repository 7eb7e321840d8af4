"""CP2K: real DFT (and its own xTB) for single points, driven by the user's control file."""
