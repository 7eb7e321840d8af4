"""Control files as the predecessor takes them: a path, a block, a list of paths, a list of blocks.

``"relax_input": "INCAR"``, ``{"input": "etot.input", "kspacing": 0.3, "flag_symm": 3}``, or a list of either,
from which each structure picks one by ``relax_input_idx``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from alpw.config.section import InputFile, Section, setting


class ControlFile(Section):
    """One control file and what goes with it."""

    section: ClassVar[str] = "control"

    input: InputFile | None = setting(
        None, meaning="control file: INCAR, etot.input, cp2k.inp; xtb and ase do without"
    )
    kspacing: float | None = setting(None, meaning="spacing of the k-point mesh", unit="1/Å", gt=0, le=10)
    flag_symm: int | None = setting(None, meaning="symmetry flag of PWmat", ge=0, le=3)

    @classmethod
    def shorthand(cls, value: Any) -> Any:
        """A path alone stands for a block with ``input``."""
        return {"input": value} if isinstance(value, str) else value


def first_control(value: Any) -> Any:
    """The control file of a block that takes one: a list of one stands for it."""
    if isinstance(value, list):
        if len(value) > 1:
            raise ValueError(f"one control file wanted, found {len(value)}; every label must be made alike")
        value = value[0] if value else None
    return value
