"""Is the output of a CP2K single point complete?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from custodian.custodian import Validator

from alpw.codes.cp2k.outputs import read_output
from alpw.errors import CalculationError


class Cp2kValidator(Validator):
    """Energy, one force per atom, and the stress are there."""

    def check(self, directory: str | Path = "./") -> bool:
        """True if something is missing (custodian's convention)."""
        output = read_output(Path(directory))
        try:
            sizes = len(output.structure), len(output.forces)
            complete = output.virial.shape == (3, 3) and np.isfinite(output.energy)
        except CalculationError:
            return True
        return not complete or sizes[0] != sizes[1]
