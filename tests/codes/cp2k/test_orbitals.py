"""Orbitals of an earlier label as the start of the next one."""

import pytest

from alpw.codes.cp2k.sections import read
from alpw.codes.protocol import Task
from alpw.codes.registry import code_of

from .conftest import CONTROL

CP2K = code_of("cp2k")


@pytest.fixture
def earlier(control, silicon, make_dft, tmp_path):
    """Folder of a label that left its orbitals."""
    folder = tmp_path / "earlier"
    folder.mkdir()
    CP2K.write_inputs(silicon, folder, make_dft(dft_style="cp2k", input=control))
    (folder / "run-RESTART.wfn").write_bytes(b"orbitals")
    return folder


def test_orbitals_of_the_same_atoms_are_the_start_of_the_next_label(
    earlier, control, silicon, make_dft, tmp_path
):
    silicon.rattle(0.1, seed=1)
    (tmp_path / "run").mkdir()
    dft = make_dft(dft_style="cp2k", input=control)
    changes = CP2K.write_inputs(silicon, tmp_path / "run", dft, reuse=earlier)
    section = read(tmp_path / "run" / "cp2k.inp").need("FORCE_EVAL/DFT")
    assert section.get("WFN_RESTART_FILE_NAME") == "start.wfn"
    assert section.need("SCF").get("SCF_GUESS") == "RESTART"
    assert (tmp_path / "run" / "start.wfn").read_bytes() == b"orbitals"
    assert any("orbitals of earlier" in change for change in changes)


@pytest.mark.parametrize(
    "why", ["k-points", "spin", "LSD .TRUE.", "other atoms", "not wanted", "aimd", "lost"]
)
def test_orbitals_are_not_reused_where_they_could_mislead_or_do_not_fit(
    earlier, moving, silicon, make_dft, tmp_path, why
):
    options = {"kspacing": 0.3} if why == "k-points" else {}
    if why == "not wanted":
        options["reuse_wavefunctions"] = False
    if why in {"spin", "LSD .TRUE."}:
        keyword = "UKS" if why == "spin" else why
        moving.write_text(moving.read_text().replace("  &DFT\n", f"  &DFT\n    {keyword}\n"))
    if why == "other atoms":
        silicon.symbols[2] = "O"
    if why == "lost":
        (earlier / "run-RESTART.wfn").unlink()
    task = Task.AIMD if why == "aimd" else Task.LABEL
    (tmp_path / "run").mkdir()
    dft = make_dft(dft_style="cp2k", input=moving, **options)
    CP2K.write_inputs(silicon, tmp_path / "run", dft, task, reuse=earlier)
    section = read(tmp_path / "run" / "cp2k.inp").need("FORCE_EVAL/DFT")
    assert not section.values("WFN_RESTART_FILE_NAME") and section.need("SCF").get("SCF_GUESS") != "RESTART"


def test_spin_that_is_switched_off_is_no_spin(earlier, control, silicon, make_dft, tmp_path):
    control.write_text(CONTROL.replace("  &DFT\n", "  &DFT\n    UKS .FALSE.\n"))
    (tmp_path / "run").mkdir()
    CP2K.write_inputs(silicon, tmp_path / "run", make_dft(dft_style="cp2k", input=control), reuse=earlier)
    assert (tmp_path / "run" / "start.wfn").is_file()
