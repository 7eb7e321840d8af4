"""Which commands of a user's LAMMPS input are ours, which cannot work, and which may be given twice."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

PREDECESSOR_STRUCTURE = "lmp.config"
"""Name of the structure in the predecessor's templates."""

OURS: Mapping[str, str] = {
    "units": "always metal",
    "dimension": "always 3",
    "boundary": "periodic as the structure is",
    "atom_style": "always atomic",
    "atom_modify": "the order of atoms is ALPW's",
    "newton": "the model has its own neighbours",
    "processors": "one process",
    "comm_*": "one process",
    "package": "one process",
    "suffix": "one process",
    "box": "always tilt large",
    "mass": "masses are those of the elements, or of the key mass",
    "pair_style": "the model gives the forces",
    "pair_coeff": "the model gives the forces",
    "dump": "frames are saved every trj_freq steps",
    "dump_modify": "frames are saved every trj_freq steps",
    "undump": "frames are saved every trj_freq steps",
    "restart": "ALPW writes restart files",
    "read_restart": "ALPW reads its restart files",
    "write_restart": "ALPW writes restart files",
    "read_data": "the structure is that of sys_configs",
    "log": "the log is log.lammps",
}
"""Commands that are left out, and why."""

_ATOMS = "the atoms of a trajectory must stay the same"
_FLOW = "commands must follow each other in the order of the file; write them out"
_PATHS = "only run moves atoms through time here"

REFUSED: Mapping[str, str] = {
    "minimize": "not available: frames are those of dynamics; relax the structure before",
    "create_*": _ATOMS,
    "delete_*": _ATOMS,
    "replicate": f"{_ATOMS}; make the supercell before",
    "set": _ATOMS,
    "read_dump": _ATOMS,
    "fitpod": _PATHS,
    "rerun": _PATHS,
    "neb": _PATHS,
    "neb/spin": _PATHS,
    "prd": _PATHS,
    "tad": _PATHS,
    "hyper": _PATHS,
    "temper*": _PATHS,
    "reset_*": "frames are counted by the time step, atoms by their ids",
    "clear": _FLOW,
    "jump": _FLOW,
    "label": _FLOW,
    "next": _FLOW,
    "include": _FLOW,
    "partition": _FLOW,
    "python": _FLOW,
    "quit": _FLOW,
}
"""Commands that cannot work, and why; patterns as those of the shell."""

_MODEL = "the model alone gives the forces"

FORCES: Mapping[str, str] = {
    "pair_modify": _MODEL,
    "pair_write": _MODEL,
    "kim": _MODEL,
    "kim_*": _MODEL,
    **dict.fromkeys(("bond_*", "angle_*", "dihedral_*", "improper_*", "kspace_*", "special_bonds"), _MODEL),
}
"""Commands about forces that are not the model's, and why they cannot work."""

REFUSED_FIXES: Mapping[str, str] = {
    **dict.fromkeys(
        ("deposit", "pour", "evaporate", "gcmc", "widom", "atom/swap", "mol/swap", "sgcmc", "bond/*"), _ATOMS
    ),
    "charge/regulation": _ATOMS,
    "external": _MODEL,
    "python/*": "not available",
    "box/relax": REFUSED["minimize"],
}
"""Fixes that cannot work, and why."""

ONCE = frozenset({"velocity", "change_box", "displace_atoms"})
"""Commands with an effect that is in the restart file."""

REPEATABLE = ONCE | {
    "fix",
    "unfix",
    "fix_modify",
    "variable",
    "group",
    "region",
    "compute",
    "uncompute",
    "compute_modify",
    "timestep",
    "thermo",
    "thermo_style",
    "thermo_modify",
    "neighbor",
    "neigh_modify",
    "print",
}
"""Commands that mean the same when they are given again before a restarted run."""

REPEATABLE_FIXES = frozenset(
    {
        "nve",
        "nvt",
        "npt",
        "nph",
        "nve/limit",
        "langevin",
        "momentum",
        "temp/berendsen",
        "temp/rescale",
        "temp/csvr",
        "temp/csld",
        "press/berendsen",
        "deform",
        "setforce",
        "addforce",
        "lineforce",
        "planeforce",
        "recenter",
    }
)
"""Fixes whose state is in the restart file, or that have none worth keeping.

Fixes with a memory of their own, such as PLUMED's and Colvars', are not among them.
"""

REPEATABLE_GROUPS = frozenset({"type", "id", "union", "subtract", "intersect", "empty"})
"""Kinds of group that do not depend on where the atoms are."""


def matches(table: Mapping[str, str], name: str) -> str | None:
    """What a table says about a command."""
    return next((reason for pattern, reason in table.items() if fnmatchcase(name, pattern)), None)
