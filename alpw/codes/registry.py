"""Which code answers to which ``dft_style``."""

from __future__ import annotations

from alpw.codes.cp2k.code import Cp2k
from alpw.codes.protocol import SinglePointCode
from alpw.codes.xtb.code import Xtb
from alpw.errors import InputError

CODES: dict[str, SinglePointCode] = {code.name: code for code in (Xtb(), Cp2k())}


def single_point_code(dft_style: str) -> SinglePointCode:
    """The code of a ``dft_style``, in any case.

    Raises:
        InputError: no such code here.
    """
    try:
        return CODES[dft_style.lower()]
    except KeyError:
        raise InputError(
            f"{dft_style!r} is not available; use one of {', '.join(CODES)}", key="dft.dft_style"
        ) from None


def available(dft_style: str) -> tuple[bool, str]:
    """Whether the code of a ``dft_style`` can run on this machine, and its version or what to install."""
    return single_point_code(dft_style).available()
