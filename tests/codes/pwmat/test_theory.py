"""Level of theory: equal for all structures and tasks made alike, different where the numbers would be."""

import pytest
from ase import Atoms
from ase.build import bulk
from custodian.custodian import ErrorHandler

from alpw.codes.corrections import Effect, GuardedHandler, refused
from alpw.codes.protocol import Task, settings_hash
from alpw.codes.pwmat.code import Pwmat
from alpw.codes.pwmat.corrections import MOTION, RULES
from alpw.codes.pwmat.etot import read_etot
from alpw.codes.pwmat.keys import KEYS, shape_of

PWMAT = Pwmat()
LINES = """\
ECUT = 50
MD_DETAIL = 1 10 1.0 300 300
SCF_ITER0_1 = 6 4 3 0.0 0.025 1
SCF_ITER0_2 = 94 4 3 1.0 0.025 1"""
HEAD = """\
           1           1
 PRECISION    = AUTO
 ECUT      =    {ecut}
 XCFUNCTIONAL = PBE
 *********** end of etot.input report ********
"""


@pytest.fixture
def level(tmp_path):
    """Settings after the inputs were written, with the REPORT that PWmat would begin with."""

    def read(atoms, dft, task="label", report=HEAD.format(ecut="50.0000000")):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        PWMAT.write_inputs(atoms, folder, dft, Task(task))
        (folder / "REPORT").write_text(report)
        return settings_hash(PWMAT.settings(folder))

    return read


@pytest.fixture
def silicon_carbide(user):
    return lambda lines=LINES, **given: user.dft(lines, **given).model_copy(update={"elements": ["Si", "C"]})


def test_structures_and_tasks_made_alike_have_equal_settings(level, silicon_carbide):
    dft = silicon_carbide()
    cells = [
        bulk("Si"),
        bulk("C", cubic=True),
        bulk("SiC", "zincblende", a=4.36),
        Atoms("CSi", cell=[9] * 3, pbc=True),
    ]
    assert len({level(atoms, dft, task) for atoms in cells for task in ("label", "relax", "aimd")}) == 1


@pytest.mark.parametrize(
    "lines",
    [
        LINES.replace("94 4 3 1.0", "300 6 3 1.05"),
        LINES + "\nKERK_AMIX = 0.1",
        LINES + "\nNUM_BLOCKED_PSI = T\nWF_STORE2DISK = 1",
        LINES + "\nOUT.RHO = T\nCHARGE_DECOMP = T",
        LINES + "\nRELAX_DETAIL = 2 300 0.001\nMAX_SCF_ITER = 200",
        LINES + "\nUSE_DFTB = F\nIN.SOLVENT = F",
        LINES.replace("ECUT = 50", "Ecut = 5.0D1"),
        LINES.replace("ECUT = 50\n", ""),
        LINES.replace("MD_DETAIL = 1 10 1.0 300 300", "MD_DETAIL = 2 99 2.0 900 900"),
        "ECUT = 50\nMD_DETAIL = 1 10 1.0 300 300",
    ],
)
def test_the_way_to_the_answer_is_no_part_of_it(level, silicon_carbide, lines):
    atoms = bulk("SiC", "zincblende", a=4.36)
    assert level(atoms, silicon_carbide(lines)) == level(atoms, silicon_carbide())


def test_more_ranks_are_the_same_level(level, silicon_carbide):
    atoms = bulk("SiC", "zincblende", a=4.36)
    assert level(atoms, silicon_carbide(nodes="4 2")) == level(atoms, silicon_carbide())


@pytest.mark.parametrize(
    "lines",
    [
        LINES + "\nECUT2 = 200",
        LINES.replace("ECUT = 50", "ECUT = 60"),
        LINES + "\nXCFUNCTIONAL = SCAN",
        LINES + "\nPRECISION = DOUBLE",
        LINES.replace("1.0 0.025 1", "1.0 0.1 1"),
        LINES.replace("1.0 0.025 1", "1.0 0.025 2"),
        LINES + "\nE_ERROR = 1e-3",
        LINES + "\nCONVERGENCE = DIFFICULT",
        LINES + "\nSPIN = 2",
        LINES + "\nVDW = DFT-D3",
        LINES + "\nMP_N123 = 3 3 3 0 0 0",
        LINES + "\nKSPACING = 0.2",
        LINES + "\nIN.PSP1 = Si.SG15.PBE.UPF\nLDAU_PSP1 = 1 2.0",
    ],
)
def test_whatever_decides_the_numbers_is_part_of_it(level, silicon_carbide, lines):
    atoms = bulk("SiC", "zincblende", a=4.36)
    assert level(atoms, silicon_carbide(lines)) != level(atoms, silicon_carbide())


def test_the_content_of_a_pseudopotential_counts_and_not_its_name_alone(level, silicon_carbide, user):
    dft = silicon_carbide()
    before = level(bulk("Si"), dft)
    path = user.upf("C")
    path.write_text(path.read_text() + "<!-- another one -->\n")
    assert level(bulk("Si"), dft) != before, "carbon belongs to the campaign"


def test_a_cutoff_that_is_left_to_pwmat_is_read_back(level, silicon_carbide):
    """It is the largest that the pseudopotentials of a structure recommend: other elements, other level."""
    dft = silicon_carbide(LINES.replace("ECUT = 50\n", ""))
    atoms = bulk("Si")
    assert level(atoms, dft) != level(atoms, dft, report=HEAD.format(ecut="60.0000000"))


def test_the_u_of_an_element_is_the_same_level_whatever_its_number(level, user):
    lines = "ECUT = 50\nIN.PSP1 = Fe.SG15.PBE.UPF\nLDAU_PSP1 = 2 4.0"
    dft = user.dft(lines, elements=("Fe", "O")).model_copy(update={"elements": ["Fe", "O"]})
    first = Atoms("FeO", positions=[[0, 0, 0], [2, 0, 0]], cell=[4, 4, 4], pbc=True)
    assert level(first, dft) == level(first[[1, 0]], dft) == level(bulk("Fe"), dft)


def test_every_rule_is_about_a_key_that_exists_and_has_a_reason():
    for name, rule in RULES.items():
        key = name.removeprefix("etot.input/").split("/")[0]
        assert name in ("atom.config", "etot.input/NODES") or shape_of(key), name
        assert len(rule.reason) > 10
    assert all(key in KEYS for key in MOTION)


@pytest.mark.parametrize(
    "key",
    [
        "PRECISION",
        "ECUT",
        "E_ERROR",
        "SCF_ITER0_2/WIDTH",
        "SCF_ITER1_1/SMEARING",
        "MP_N123",
        "SPIN",
        "FERMIDE",
    ],
)
def test_no_handler_may_change_the_physics_of_a_label(key):
    assert refused(RULES, [f"etot.input/{key}"], Task.LABEL, allow_physics=True)


@pytest.mark.parametrize("key", ["JOB", "MD_DETAIL", "RELAX_DETAIL"])
def test_aimd_is_never_turned_into_something_else(key):
    assert refused(RULES, [f"etot.input/{key}"], Task.AIMD, allow_physics=True)


def test_a_handler_that_widens_the_smearing_is_undone(user, carbide, tmp_path):
    """What a predecessor's ladder did on its second rung."""

    class Smears(ErrorHandler):
        def check(self, directory="./"):
            return True

        def correct(self, directory="./"):
            path = tmp_path / "etot.input"
            path.write_text(path.read_text().replace("94 4 3 1.0 0.025", "200 4 3 1.0 0.1"))
            return {"errors": ["scf"], "actions": [{"SCF_ITER0_2": "200 4 3 1.0 0.1 1"}]}

    PWMAT.write_inputs(carbide, tmp_path, user.dft(LINES))
    before = (tmp_path / "etot.input").read_text()
    done = GuardedHandler(Smears(), PWMAT, Task.LABEL).correct(tmp_path)
    assert done["actions"] is None and "SCF_ITER0_2/WIDTH" in done["refused"][0]
    assert (tmp_path / "etot.input").read_text() == before


def test_numbers_that_only_look_different_are_no_change(user, carbide, tmp_path):
    PWMAT.write_inputs(carbide, tmp_path, user.dft(LINES))
    before = PWMAT.settings_of_inputs(tmp_path)
    etot = read_etot(tmp_path / "etot.input")
    etot.set("ECUT", "5.D1")
    etot.set("OUT.WG", ".false.")
    (tmp_path / "etot.input").write_text(str(etot))
    assert PWMAT.settings_of_inputs(tmp_path) == before
    assert RULES["etot.input/SCF_ITER0_2/STEPS"].effect is Effect.NUMERICAL
