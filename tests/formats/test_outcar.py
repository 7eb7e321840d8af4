"""OUTCARs of other people, read as ASE, pymatgen and dpdata read them, and what runs do to such files."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
from pathlib import Path

import ase.io
import dpdata
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.vasp.outputs import Outcar

from alpw.errors import InputError
from alpw.formats.outcar import is_finished, outcar_header, read_outcar
from alpw.structures.frame import LabelledFrame
from alpw.structures.frames import LabelledFrames

DATA = Path(__file__).parent / "data"

# name -> frames, converged frames
FILES = {
    "relax": (8, 8),
    "relax_spin": (5, 4),
    "nelm_reached": (1, 0),
    "vasp_5.3": (1, 1),
    "linear_response": (1, 1),
}

# What another reader does otherwise, and why it is not a fault of ours.
EXCEPTIONS = {
    ("dpdata", "relax_spin"): "leaves out steps that converged in the very last of NELM electronic steps",
    ("dpdata", "nelm_reached"): "leaves out unconverged steps; ours are marked",
}


def packed(name: str) -> Path:
    return DATA / f"{name}.OUTCAR.xz"


def text_of(name: str) -> str:
    return lzma.open(packed(name), "rt").read()


def unpacked(tmp_path: Path, name: str) -> Path:
    """For readers that take no packed files."""
    (tmp_path / "OUTCAR").write_text(text_of(name))
    return tmp_path / "OUTCAR"


def whole(path: Path, **options: object) -> LabelledFrames:
    return LabelledFrames.join(list(read_outcar(path, **options)))


@pytest.fixture
def outcar(tmp_path):
    """Writes a text as an OUTCAR."""

    def write(text: str, name: str = "OUTCAR") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def frames_of(path: Path) -> list[LabelledFrame]:
    return [frame for batch in read_outcar(path) for frame in batch]


@pytest.mark.parametrize("name", FILES)
def test_ase_reads_the_same_frames(tmp_path: Path, name: str) -> None:
    frames = frames_of(packed(name))
    others = ase.io.read(unpacked(tmp_path, name), index=":", format="vasp-out")
    assert len(frames) == len(others) == FILES[name][0]
    for frame, other in zip(frames, others, strict=True):
        assert np.array_equal(frame.atoms.numbers, other.numbers)
        assert np.allclose(frame.atoms.positions, other.positions, rtol=0, atol=1e-12)
        assert np.allclose(np.asarray(frame.atoms.cell), np.asarray(other.cell), rtol=0, atol=1e-12)
        assert np.allclose(frame.label.forces, other.get_forces(apply_constraint=False), rtol=0, atol=1e-12)
        assert frame.label.energy == pytest.approx(other.calc.results["free_energy"], abs=1e-10)
        # From the row in kB, which has five decimals like the one in eV.
        stress = other.get_stress(voigt=False) * other.get_volume()
        assert np.allclose(frame.label.virial, -stress, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_pymatgen_reads_the_same_energies_and_last_forces(tmp_path: Path, name: str) -> None:
    frames, other = whole(packed(name)), Outcar(unpacked(tmp_path, name))
    other.read_pattern({"free": r"free  energy   TOTEN\s+=\s+(\S+)"}, postprocess=float)
    assert frames.energies == pytest.approx(np.ravel(other.data["free"]), abs=1e-10)
    assert frames.extras["energy_sigma0"][-1] == pytest.approx(other.final_energy, abs=1e-10)
    table = other.read_table_pattern(
        header_pattern=r"\sPOSITION\s+TOTAL-FORCE \(eV/Angst\)\n\s-+",
        row_pattern=r"\s+" + r"\s+".join([r"([+-]?\d+\.\d+)"] * 6),
        footer_pattern=r"\s--+",
        postprocess=float,
    )
    assert np.allclose(np.array(table)[:, 3:], frames.forces[-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"nelm_reached"}))
def test_dpdata_reads_the_same_frames(tmp_path: Path, name: str) -> None:
    path = unpacked(tmp_path, name)
    ours = whole(path)
    if ("dpdata", name) in EXCEPTIONS:
        ours = ours.select(ours.extras["electronic_steps"] < outcar_header(path).nelm)
    system = dpdata.LabeledSystem(str(path), fmt="vasp/outcar")
    names = [system["atom_names"][kind] for kind in system["atom_types"]]
    assert names == ours[0].atoms.get_chemical_symbols()
    # dpdata turns cells into lower triangular form.
    assert np.allclose(system["energies"], ours.energies, rtol=0, atol=1e-9)
    assert np.allclose(
        np.linalg.norm(system["forces"], axis=2), np.linalg.norm(ours.forces, axis=2), rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("name", FILES)
def test_the_converged_frames_are_counted(name: str) -> None:
    assert whole(packed(name)).converged.sum() == FILES[name][1]


def test_vasp_6_says_itself_which_steps_are_converged() -> None:
    said = re.findall(r"aborting loop (because EDIFF is|EDIFF was not) reached", text_of("relax_spin"))
    frames = whole(packed("relax_spin"))
    assert frames.converged.tolist() == [word == "because EDIFF is" for word in said]
    nelm = outcar_header(packed("relax_spin")).nelm
    # The fourth step used all of NELM and reached EDIFF with the last one.
    assert frames.extras["electronic_steps"].tolist() == [15, 11, 14, 15, 14]
    assert nelm == 15


def test_vasp_5_claims_convergence_after_nelm_steps_and_is_not_believed() -> None:
    assert "aborting loop because EDIFF is reached" in text_of("nelm_reached")
    frames = whole(packed("nelm_reached"))
    assert frames.extras["electronic_steps"][-1] == outcar_header(packed("nelm_reached")).nelm == 8
    assert not frames.converged.any()


def test_a_hard_stop_is_not_convergence(outcar) -> None:
    text = text_of("relax")
    at = text.index("aborting loop because EDIFF is reached")
    at = text.rindex("\n", 0, at)
    stopped = text[:at] + "\n hard stop encountered!  aborting job ...\n" + text[at:]
    assert whole(outcar(stopped)).converged.tolist() == [False] + 7 * [True]


def test_without_nelm_vasps_default_is_taken(outcar) -> None:
    text = re.sub(r"NELM\b", "XELM", text_of("relax"))
    path = outcar(text)
    assert outcar_header(path).nelm is None
    assert whole(path).converged.all()
    many = re.sub(r"Iteration( +\d+)\( +(\d+)\)", lambda m: f"Iteration{m[1]}({int(m[2]) + 80:4d})", text)
    many = re.sub(r"Iteration( +\d+)\(  81\)", r"Iteration\1(   1)", many)
    # The last change of each step is still below EDIFF.
    assert whole(outcar(many)).converged.all()
    assert not whole(outcar(many.replace("total energy-change", "some other change"))).converged.any()


def test_the_virial_is_the_pressure_times_the_volume() -> None:
    text = text_of("relax")
    frames = whole(packed("relax"))
    kilobar = [float(row) for row in re.findall(r"external pressure =\s+(\S+) kB", text)]
    volumes = np.abs(np.linalg.det(frames.cells))
    mean = np.trace(frames.virials, axis1=1, axis2=2) / 3
    # 1602.177 kB = 1 eV/Å^3; the pressure has two decimals.
    assert np.allclose(mean / volumes * 1602.177, kilobar, rtol=0, atol=0.006)


def test_the_components_of_the_virial_are_in_place(outcar) -> None:
    text = re.sub(
        r"\n  Total .*",
        "\n  Total       1.00000     2.00000     3.00000     4.00000     5.00000     6.00000",
        text_of("vasp_5.3"),
    )
    virial = frames_of(outcar(text))[0].label.virial
    assert np.array_equal(virial, [[1, 4, 6], [4, 2, 5], [6, 5, 3]])


def test_without_stress_there_is_no_virial(outcar) -> None:
    text = re.sub(r"  FORCE on cell =-STRESS(.|\n)*?Pullay.*\n", "", text_of("vasp_5.3"))
    frame = frames_of(outcar(text))[0]
    assert frame.label.virial is None
    assert frame.label.energy == frames_of(packed("vasp_5.3"))[0].label.energy


def test_the_energy_can_be_that_without_smearing() -> None:
    free, sigma0 = whole(packed("relax_spin")), whole(packed("relax_spin"), energy="sigma0")
    assert free.energies[0] == -1.38713455
    assert sigma0.energies[0] == free.extras["energy_sigma0"][0] == -1.38438257


def test_linear_response_after_the_forces_is_no_step() -> None:
    assert text_of("linear_response").count("(   1)  ---") == 10
    frames = whole(packed("linear_response"))
    assert frames.extras["electronic_steps"].tolist() == [22]
    assert frames[0].atoms.get_chemical_formula() == "P4S16Zn6"


RELAX = text_of("relax")
ENERGIES = [match.end() for match in re.finditer(r"free  energy   TOTEN.*\n.*\n.*sigma->0\).*\n", RELAX)]


@given(st.integers(0, len(RELAX)))
def test_a_file_cut_anywhere_gives_its_complete_steps(tmp_path_factory, length: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "OUTCAR"
    path.write_text(RELAX[:length])
    complete = sum(end <= length for end in ENERGIES)
    if length <= RELAX.index("vasp.") + len("vasp."):
        # Not even the version is there.
        with pytest.raises(InputError, match="not an OUTCAR"):
            list(read_outcar(path))
    elif complete == 0:
        assert list(read_outcar(path)) == []
    else:
        frames, full = whole(path), whole(packed("relax"))
        assert len(frames) == complete
        assert np.array_equal(frames.forces, full.forces[:complete])
        assert np.array_equal(frames.energies, full.energies[:complete])
    assert not is_finished(path) or "Elapsed time (sec)" in RELAX[:length]


def test_a_run_killed_in_its_first_electronic_loop_has_no_frames() -> None:
    assert list(read_outcar(packed("cut_in_scf"))) == []
    assert outcar_header(packed("cut_in_scf")).n_atoms == 2
    assert not is_finished(packed("cut_in_scf"))
    assert is_finished(packed("relax"))


@pytest.mark.parametrize("broken", ["*************", "          NaN"])
@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<=TOTEN  =)( +\S+)(?= eV\n\n  energy  without entropy=)",
        r"(?<=eV/Angst\)\n)( -+\n +\S+)",
        r"(?<=\n  Total {4})( +\S+)",
    ],
    ids=["energy", "position", "virial"],
)
def test_a_step_with_broken_numbers_is_left_out_by_number(
    outcar, caplog: pytest.LogCaptureFixture, pattern: str, broken: str
) -> None:
    third = list(re.finditer(pattern, RELAX))[2]
    kept = third[1][: third[1].rindex("\n") + 1] if "\n" in third[1] else ""
    path = outcar(RELAX[: third.start(1)] + kept + broken + RELAX[third.end(1) :])
    frames, full = whole(path), whole(packed("relax"))
    assert np.array_equal(frames.energies, np.delete(full.energies, 2))
    assert np.array_equal(frames.positions, np.delete(full.positions, 2, axis=0))
    assert "frame 2 is left out" in caplog.text


def test_many_broken_steps_are_not_told_one_by_one(outcar, caplog: pytest.LogCaptureFixture) -> None:
    assert list(read_outcar(outcar(re.sub(r"(TOTEN  =) +\S+ eV", r"\1 ******** eV", RELAX)))) == []
    assert len(caplog.messages) == 6
    assert "8 frames are left out" in caplog.messages[-1]


def test_fields_without_blanks_between_them_are_numbers(outcar) -> None:
    rows = "\n".join(
        ["   110.123456789-20.000000000 -3.500000000     0.009000000  0.000000000-10.000000000"] * 3
    )
    text = text_of("vasp_5.3")
    title = text.rindex("direct lattice vectors")
    begin = text.index("\n", title) + 1
    end = begin
    for _ in range(3):
        end = text.index("\n", end) + 1
    atoms = frames_of(outcar(text[:begin] + rows + "\n" + text[end:]))[0].atoms
    assert np.array_equal(np.asarray(atoms.cell), [[110.123456789, -20, -3.5]] * 3)


def test_steps_of_a_force_field_in_between_are_not_read(outcar) -> None:
    predicted = """
  ML FORCE on cell =-STRESS in cart. coord. units (eV/cell)
  Direction    XX          YY          ZZ          XY          YZ          ZX
  ---------------------------------------------------------------------------
  Total       9.00000     9.00000     9.00000     9.00000     9.00000     9.00000
  in kB       9.00000     9.00000     9.00000     9.00000     9.00000     9.00000

  VOLUME and BASIS-vectors are now :
      direct lattice vectors                 reciprocal lattice vectors
     9.000000000  0.000000000  0.000000000     0.111111111  0.000000000  0.000000000
     0.000000000  9.000000000  0.000000000     0.000000000  0.111111111  0.000000000
     0.000000000  0.000000000  9.000000000     0.000000000  0.000000000  0.111111111

  POSITION                                       TOTAL-FORCE (eV/Angst) (ML)
 -----------------------------------------------------------------------------------
      9.00000      9.00000      9.00000         9.000000      9.000000      9.000000
      9.00000      9.00000      9.00000         9.000000      9.000000      9.000000
 -----------------------------------------------------------------------------------

  ML FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy ML TOTEN  =         9.00000000 eV

  ML energy  without entropy=        9.00000000  ML energy(sigma->0) =        9.00000000
"""
    pieces = re.split(r"(?=\n-+ Iteration +\d+\( +1\))", RELAX)
    mixed = whole(outcar(predicted.join(pieces)))
    pure = whole(packed("relax"))
    for name in ("energies", "forces", "positions", "cells", "virials"):
        assert np.array_equal(getattr(mixed, name), getattr(pure, name)), name


def test_dynamics_have_times_and_temperatures(outcar) -> None:
    text = re.sub(r"(IBRION = +)1\b", r"\g<1>0", RELAX)
    text = re.sub(r"(POTIM  = ?)\S+", r"\g<1>1.5000", text)
    kinetic = "\n  kin. lattice  EKIN_LAT=         0.000000  (temperature{} K)\n"
    pieces = re.split(r"(?=\n-+ Iteration +\d+\( +1\))", text)
    degrees = [f"{300 + k:8.2f}" for k in range(7)] + ["*" * 8]
    joined = pieces[0] + "".join(
        piece + kinetic.format(degree) for piece, degree in zip(pieces[1:], degrees, strict=True)
    )
    frames = whole(outcar(joined))
    assert frames.extras["time"] == pytest.approx(0.0015 * np.arange(8))
    assert frames.extras["temperature"][:7] == pytest.approx(300 + np.arange(7))
    # Too hot for its field; the label is whole.
    assert np.isnan(frames.extras["temperature"][7])
    assert "time" not in whole(packed("relax")).extras


def test_forces_without_dispersion_stand_beside_the_forces(outcar) -> None:
    text = text_of("vasp_5.3").replace(
        "TOTAL-FORCE (eV/Angst)", "TOTAL-FORCE (eV/Angst),    FORCE-w/o vdW (eV/Angst)"
    )
    begin = text.index("\n", text.index("\n", text.index("TOTAL-FORCE")) + 1) + 1
    rows = text[begin:].splitlines(keepends=True)
    rows[:8] = [row[:-1] + "        -9.000000           NaN      9.000000\n" for row in rows[:8]]
    frame, plain = frames_of(outcar(text[:begin] + "".join(rows)))[0], frames_of(packed("vasp_5.3"))[0]
    assert np.array_equal(frame.label.forces, plain.label.forces)


def test_files_put_together_change_their_atoms(outcar) -> None:
    path = outcar(text_of("relax") + text_of("vasp_5.3") + text_of("linear_response"))
    batches = list(read_outcar(path))
    assert [len(batch) for batch in batches] == [8, 1, 1]
    assert [batch[0].atoms.get_chemical_formula() for batch in batches] == ["Si2", "As4In4", "P4S16Zn6"]


def test_batches_are_as_large_as_wanted(outcar) -> None:
    assert [len(batch) for batch in read_outcar(outcar(RELAX), batch=3)] == [3, 3, 2]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)])
def test_packed_files_are_read(tmp_path: Path, suffix: str, pack) -> None:
    path = tmp_path / f"OUTCAR{suffix}"
    with pack(path, "wt") as file:
        file.write(RELAX)
    assert len(whole(path)) == 8
    assert is_finished(path)


def test_a_packed_file_that_ends_too_early_gives_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "OUTCAR.gz"
    data = gzip.compress(RELAX.encode())
    path.write_bytes(data[: len(data) // 2])
    assert 0 < len(whole(path)) < 8


def test_a_file_that_is_not_packed_as_it_says_is_refused(tmp_path: Path) -> None:
    shutil.copy(packed("relax"), tmp_path / "OUTCAR.gz")
    with pytest.raises(InputError, match="cannot be unpacked"):
        list(read_outcar(tmp_path / "OUTCAR.gz"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "no output of VASP\n" * 100, "not an OUTCAR"),
        (lambda text: text.replace("   TITEL  =", "   TITLE  =").replace("POTCAR:", ""), "0 potentials"),
        (
            lambda text: re.sub("(TITEL  = PAW) In.*", r"\1 Qq 1", text).replace("VRHFIN =In", ""),
            "element",
        ),
    ],
)
def test_files_without_atoms_are_refused(outcar, change, message: str) -> None:
    path = outcar(change(text_of("vasp_5.3")))
    with pytest.raises(InputError, match=message):
        list(read_outcar(path))
    with pytest.raises(InputError, match="no such file"):
        list(read_outcar(path.with_name("nothing")))


def test_the_header_holds_what_vasp_was_told() -> None:
    header = outcar_header(packed("relax_spin"))
    assert header.version == "6.2.0"
    assert (header.nelm, header.nsw, header.ibrion, header.ispin, header.isif) == (15, 5, 1, 2, 3)
    assert (header.encut, header.ediff, header.ediffg, header.potim) == (240.0, 1e-9, 1e-8, 0.1)
    assert outcar_header(packed("vasp_5.3")).symbols == ("In", "As")
    three = outcar_header(packed("linear_response"))
    assert three.titel == ("PAW_PBE P 06Sep2000", "PAW_PBE S 06Sep2000", "PAW_PBE Zn 06Sep2000")
    assert three.counts == (4, 16, 6)
    assert three.numbers.tolist() == [15] * 4 + [16] * 16 + [30] * 6


def test_counts_above_999_that_touch_are_told_apart(outcar) -> None:
    text = text_of("linear_response").replace(
        "ions per type =               4  16   6", "ions per type =            10001600 600"
    )
    text = text.replace("NIONS =     26", "NIONS =   3200")
    assert outcar_header(outcar(text)).counts == (1000, 1600, 600)
