"""Which code answers to which ``dft_style``."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING

from alpw.codes.protocol import Code
from alpw.errors import InputError

if TYPE_CHECKING:
    from alpw.codes.ase.code import Ase
    from alpw.codes.cp2k.code import Cp2k
    from alpw.codes.pwmat.code import Pwmat
    from alpw.codes.vasp.code import Vasp
    from alpw.codes.xtb.code import Xtb

    # The type checker sees here that each of them gives what the protocol asks for.
    _ALL: list[Code] = [Ase(), Cp2k(), Pwmat(), Vasp(), Xtb()]

# Imported when asked for: VASP brings pymatgen and custodian's handlers, for which nobody else should wait.
CODES: dict[str, tuple[str, str]] = {
    "xtb": ("alpw.codes.xtb.code", "Xtb"),
    "cp2k": ("alpw.codes.cp2k.code", "Cp2k"),
    "vasp": ("alpw.codes.vasp.code", "Vasp"),
    "pwmat": ("alpw.codes.pwmat.code", "Pwmat"),
    "ase": ("alpw.codes.ase.code", "Ase"),
}
"""``dft_style`` -> module and class"""


@functools.cache
def _load(name: str) -> Code:
    module, class_name = CODES[name]
    code: Code = getattr(import_module(module), class_name)()
    return code


def code_of(dft_style: str) -> Code:
    """The code of a ``dft_style``, in any case.

    Raises:
        InputError: no such code here.
    """
    name = dft_style.lower()
    if name not in CODES:
        raise InputError(
            f"{dft_style!r} is not available; use one of {', '.join(CODES)}", key="dft.dft_style"
        )
    return _load(name)


def available(dft_style: str) -> tuple[bool, str]:
    """Whether the code of a ``dft_style`` can run on this machine, and its version or what to install."""
    return code_of(dft_style).available()
