"""Files that hold structures and labelled frames; :mod:`alpw.formats.registry` lists the formats."""

from alpw.formats.extxyz import read_extxyz, write_extxyz
from alpw.formats.load import load_frames
from alpw.formats.pwdata import read_pwdata, write_pwdata

__all__ = ["load_frames", "read_extxyz", "read_pwdata", "write_extxyz", "write_pwdata"]
