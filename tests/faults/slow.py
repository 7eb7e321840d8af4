"""A calculator that takes its time, and tells when it has computed something."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from ase import Atoms
from ase.calculators.lj import LennardJones


class Slow(LennardJones):
    """Lennard-Jones after ``ALPW_SLOW_SECONDS``, holding ``ALPW_SLOW_MEMORY`` MiB meanwhile.

    A line for each structure that it has computed goes to the file ``ALPW_SLOW_LOG``.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = ("positions",),
    ) -> None:
        # Written, not only reserved.
        held = b"x" * (int(os.environ.get("ALPW_SLOW_MEMORY", "0")) << 20)
        time.sleep(float(os.environ["ALPW_SLOW_SECONDS"]))
        del held
        super().calculate(atoms, list(properties), list(system_changes))
        assert atoms is not None
        with Path(os.environ["ALPW_SLOW_LOG"]).open("a") as log:
            log.write(f"{sha256(atoms.positions.tobytes()).hexdigest()}\n")
