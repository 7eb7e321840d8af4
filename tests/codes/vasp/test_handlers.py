"""Handlers on files: what they see, what they do about it, and that they never stumble over half a file."""

import pytest
from custodian.vasp import handlers as custodian_handlers
from custodian.vasp.handlers import VaspErrorHandler

from alpw.codes.protocol import Task
from alpw.codes.vasp.handlers import (
    KINDS,
    VaspCrashHandler,
    VaspMemoryHandler,
    VaspMessageHandler,
    VaspStepsScfHandler,
    handlers,
)
from alpw.codes.vasp.incar import Incar
from alpw.codes.vasp.ladders import LADDERS, apply, next_step, scf_ladder
from alpw.codes.vasp.messages import MESSAGES
from alpw.codes.vasp.outputs import last_words
from alpw.errors import FailureKind

POSCAR = "Si\n1.0\n3.8 0 0\n0 3.9 0\n0 0 4.0\nSi\n1\nDirect\n0 0 0\n"


@pytest.fixture
def folder(tmp_path, dataset):
    (tmp_path / "INCAR").write_text("ENCUT = 300\nALGO = Fast\n")
    (tmp_path / "POSCAR").write_text(POSCAR)
    (tmp_path / "POTCAR").write_text(dataset("Si"))
    return tmp_path


def climb(folder, ladder, text):
    """INCARs on all rungs of a ladder."""
    (folder / "INCAR").write_text(text)
    found, tried = [], 0
    while True:
        incar = Incar.read(folder / "INCAR")
        step = next_step(ladder(incar) if callable(ladder) else ladder, incar, folder, tried)
        if step is None:
            return found
        tried = step[0]
        apply(step[1], folder)
        found.append(Incar.read(folder / "INCAR"))


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize(
    "files",
    [
        {},
        {"vasp.out": "", "OSZICAR": "", "OUTCAR": "", "vasprun.xml": "", "job.err": ""},
        {
            "OUTCAR": " vasp.6.4.2\n\x00\xff",
            "vasprun.xml": "<?xml",
            "OSZICAR": "DAV:   1   -0.",
            "vasp.out": "\xff",
        },
        {"INCAR": "", "POSCAR": "", "vasp.out": " BRMIX: very serious problems"},
        {"INCAR": "ENCUT = 300 = 400", "OSZICAR": "   1 F= ***"},
    ],
    ids=["nothing", "empty", "garbled", "empty inputs", "bad inputs"],
)
def test_no_handler_stumbles_over_missing_or_half_written_files(tmp_path, task, files):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content.encode("latin-1"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for handler in handlers(task):
        assert handler.check(tmp_path) in (True, False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_every_error_that_custodian_knows_has_a_class():
    known = set(VaspErrorHandler.error_msgs) - {"auto_nbands", "elf_ncl"}
    assert known <= set(KINDS) and set(MESSAGES) <= set(KINDS) and set(LADDERS) <= set(MESSAGES)


def test_labels_and_steps_have_handlers_of_their_own():
    names = {task: {type(handler).__name__ for handler in handlers(task)} for task in Task}
    assert "VaspScfHandler" in names[Task.LABEL] and "VaspStepsScfHandler" in names[Task.AIMD]
    used = set.union(*names.values())
    assert not used & {"UnconvergedErrorHandler", "PotimErrorHandler", "LargeSigmaHandler", "WalltimeHandler"}


def test_the_scf_ladder_goes_from_davidson_over_all_bands_to_mixing(folder):
    rungs = climb(folder, scf_ladder, "ALGO = Fast\n")
    assert [rung.get("ALGO") for rung in rungs] == ["Normal", "All", "Normal", "Normal"]
    assert [rung.integer("NELM", 60) for rung in rungs] == [200, 200, 300, 300]
    assert rungs[2].get("BMIX") == "0.0001" and rungs[3].get("BMIX") == "3.0"


def test_the_scf_ladder_never_goes_back(folder):
    rungs = climb(folder, scf_ladder, "ALGO = All\nNELM = 250\n")
    assert [rung.get("ALGO") for rung in rungs] == ["Normal", "Normal"]
    assert all(rung.integer("NELM", 0) >= 250 for rung in rungs)


def test_tetrahedra_and_all_bands_do_not_go_together(folder):
    assert "All" not in [rung.get("ALGO") for rung in climb(folder, scf_ladder, "ISMEAR = -5\n")]


def test_hybrids_go_over_all_bands_to_damped(folder):
    for text in ("LHFCALC = .TRUE.\n", "METAGGA = SCAN\n"):
        assert [rung.get("ALGO") for rung in climb(folder, scf_ladder, text)] == ["All", "Damped"]


def test_more_bands_than_the_run_had(folder):
    (folder / "OUTCAR").write_text("   k-points  NKPTS =  4   number of bands    NBANDS=     24\n")
    rungs = climb(folder, LADDERS["too_few_bands"], "ENCUT = 300\n")
    assert [rung.get("NBANDS") for rung in rungs] == ["26", "28"]


def test_a_fresh_start_leaves_no_wavefunction(folder):
    for name in ("WAVECAR", "CHGCAR", "vasp.out"):
        (folder / name).write_text(" BRMIX: very serious problems\n")
    handler = VaspMessageHandler()
    assert handler.check(folder)
    assert handler.correct(folder)["actions"] == [{"restart": "from scratch"}]
    assert not (folder / "WAVECAR").exists() and not (folder / "CHGCAR").exists()


def test_edddav_before_the_first_electronic_step(folder, monkeypatch):
    """custodian's own correction raises TypeError where OUTCAR tells no number of electrons yet."""
    outcar = type("Outcar", (), {"nelect": None})
    monkeypatch.setattr(custodian_handlers, "load_outcar", lambda path: outcar())
    (folder / "vasp.out").write_text(" Error EDDDAV: Call to ZHEGV failed. Returncode =  16  2  16\n")
    handler = VaspMessageHandler()
    assert handler.check(folder) and handler.correct(folder)["actions"]
    assert Incar.read(folder / "INCAR").get("ALGO") == "All"
    assert handler.check(folder)
    done = handler.correct(folder)
    assert done["actions"] is None and done["kind"] == "scf" and "EDDDAV" in done["errors"][0]


def test_less_memory_by_fewer_groups_of_kpoints_once(folder):
    (folder / "INCAR").write_text("KPAR = 4\n")
    (folder / "job.err").write_text("forrtl: severe (41): insufficient virtual memory\n")
    handler = VaspMemoryHandler()
    assert handler.check(folder)
    done = handler.correct(folder)
    assert done["kind"] == "memory" and Incar.read(folder / "INCAR").get("KPAR") == "2"
    handler.n_applied_corrections = 1
    assert handler.correct(folder)["actions"] is None


@pytest.mark.parametrize(
    "words",
    [
        "Error reading item 'ENCUT' from file INCAR.",
        "forrtl: severe (29): file not found, unit 10, file /scratch/POTCAR",
        "ERROR: number of potentials on File POTCAR incompatible with number of species",
        "vasp_std: error while loading shared libraries: libmkl_core.so.2: cannot open shared object file",
        "|     ---->  I REFUSE TO CONTINUE WITH THIS SICK JOB ... BYE!!! <----       |",
    ],
)
def test_a_bad_input_is_never_run_again(folder, words):
    (folder / "vasp.out").write_text(words + "\n")
    for handler in handlers(Task.LABEL):
        if handler.check(folder):
            done = handler.correct(folder)
            assert done["kind"] == FailureKind.INPUT.value and done["actions"] is None
            return
    pytest.fail("nobody minded")


def test_dynamics_that_made_steps_is_not_run_again_from_its_beginning(folder):
    (folder / "OUTCAR").write_text("     LOOP+:  cpu time    1.0000: real time    1.0000\n")
    assert VaspCrashHandler(Task.AIMD).correct(folder)["actions"] is None
    assert VaspCrashHandler(Task.LABEL).correct(folder)["actions"] == [{"rerun": 1}]


def oszicar(*counts):
    lines = []
    for number, count in enumerate(counts, start=1):
        lines += [
            f"DAV: {k:3d}    -0.1E+02   -0.1E-01   -0.1E-01   960   0.1E-01" for k in range(1, count + 1)
        ]
        lines += [f"{number:7d} T=   300. E= -.34E+02 F= -.34E+02 E0= -.34E+02  EK= 0.3E+00 SP= 0.0 SK= 0.0"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("counts", "failed"),
    [((60,) * 5, True), ((60,) * 4, False), ((12, 60, 60, 60, 60, 60), True), ((60, 60, 12, 60, 60), False)],
)
def test_five_unconverged_steps_in_a_row_are_too_many(folder, counts, failed):
    (folder / "OSZICAR").write_text(oszicar(*counts) + "DAV:   1    -0.1E+02   -0.1E-01\n")
    assert VaspStepsScfHandler().check(folder) is failed


def test_the_text_in_vasps_box_is_told(folder):
    (folder / "vasp.out").write_text(
        """ running on    4 total cores
 -----------------------------------------------------------------------------
|                     _     ____    _    _    _____     _                     |
|                    | |   |  _ \\  | |  | |  / ____|   | |                    |
|                    |_|   |____/   \\____/   \\_____|   |_|                    |
|                                                                             |
|     internal error in: main.F  at line: 812                                 |
|     The mesh is not commensurate                                            |
 -----------------------------------------------------------------------------
"""
    )
    assert last_words(folder) == "internal error in: main.F at line: 812 The mesh is not commensurate"


def test_ordinary_output_is_no_explanation(folder):
    (folder / "vasp.out").write_text(
        " entering main loop\nDAV:   1  0.5E+02  0.5E+02\n writing wavefunctions\n"
    )
    assert last_words(folder) == ""
