"""Every code is found by its name."""

from alpw.codes.ase.code import Ase
from alpw.codes.cp2k.code import Cp2k
from alpw.codes.pwmat.code import Pwmat
from alpw.codes.registry import CODES, code_of
from alpw.codes.vasp.code import Vasp
from alpw.codes.xtb.code import Xtb

ALL = [Ase(), Cp2k(), Pwmat(), Vasp(), Xtb()]


def test_the_registry_knows_every_code_by_its_name():
    assert {code.name for code in ALL} == set(CODES)
    for code in ALL:
        assert type(code_of(code.name)) is type(code)
