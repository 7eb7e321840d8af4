"""Molecular dynamics with a LAMMPS binary whose pair style holds the models and writes their deviation."""

from alpw.codes.lammps_pair.exploration import explore
from alpw.codes.lammps_pair.outputs import read_result
from alpw.codes.lammps_pair.styles import STYLES, PairStyle, compiled_styles

__all__ = ["STYLES", "PairStyle", "compiled_styles", "explore", "read_result"]
