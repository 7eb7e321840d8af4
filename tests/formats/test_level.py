"""The level of theory that an output tells, against what its user had written."""

from pathlib import Path

import pytest

from alpw.formats.level import stated_level
from alpw.formats.registry import Options, recognise

DATA = Path(__file__).parent / "data"
CP2K = Path(__file__).parent / "cp2k"


def level(path, options=None):
    return stated_level(path, recognise(path).name, options or Options())


@pytest.mark.parametrize("name", ["relax_spin", "linear_response"])
def test_both_outputs_of_a_run_of_vasp_tell_the_same(name):
    """Their INCARs: ENCUT 240, ISPIN 2, SIGMA 0.1; and GGA PS, PREC Accurate, SIGMA 0.01."""
    outcar, xml = (level(DATA / f"{name}.{kind}.xz") for kind in ("OUTCAR", "vasprun.xml"))
    assert outcar == xml and outcar.code == "vasp"
    wanted = {
        "relax_spin": {"ENCUT": "240", "ISPIN": "2", "ISMEAR": "0", "SIGMA": "0.1"},
        "linear_response": {"ENCUT": "359.7", "GGA": "ps", "PREC": "a", "ISMEAR": "0", "SIGMA": "0.01"},
    }
    assert outcar.settings["incar"] == wanted[name]


def test_the_energy_that_is_taken_is_part_of_the_level():
    path = DATA / "relax.OUTCAR.xz"
    free, sigma0 = level(path).settings, level(path, Options(energy="sigma0")).settings
    assert free != sigma0 and free == {**sigma0, "energy": "free"}


def test_the_four_motions_of_cp2k_with_one_method_have_one_level():
    """A single point, MD and two optimisations of different cells with GFN1-xTB and its dispersion."""
    found = [level(CP2K / run / "cp2k.out") for run in ("single", "npt", "bfgs", "cell_opt")]
    assert all(one == found[0] for one in found) and found[0].code == "cp2k"
    lines = found[0].settings["log"]
    assert "vdW POTENTIAL| DFT-D3 (Version 3.1)" in lines and "xTB| Basis expansion STO-NG 6" in lines


def test_a_data_set_tells_nothing(tmp_path):
    assert stated_level(tmp_path, "deepmd/npy", Options()) is None
