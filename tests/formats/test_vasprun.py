"""vasprun.xml against ASE and pymatgen, and against the OUTCAR of the same run."""

from __future__ import annotations

import gzip
import lzma
import re
import tracemalloc
from pathlib import Path

import ase.io
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.vasp.outputs import Vasprun

from alpw.errors import InputError
from alpw.formats.outcar import read_outcar
from alpw.formats.vasprun import KBAR, read_vasprun
from alpw.structures.frame import LabelledFrame
from alpw.structures.frames import LabelledFrames

DATA = Path(__file__).parent / "data"

# name -> frames, converged frames
FILES = {"relax_spin": (5, 3), "relax_truncated": (18, 18), "linear_response": (1, 1)}

# What another reader does otherwise, and why it is not a fault of ours.
EXCEPTIONS = {
    ("pymatgen", "relax_truncated"): "cannot read asterisks among the parameters",
    (
        "pymatgen",
        "linear_response",
    ): "takes the electronic steps of the response for those of the ground state",
    ("ase", "linear_response"): "has the energy without smearing from the last step of the response",
}


def packed(name: str) -> Path:
    return DATA / f"{name}.vasprun.xml.xz"


def text_of(name: str) -> str:
    return lzma.open(packed(name), "rt", encoding="iso-8859-1").read()


def whole(path: Path, **options: object) -> LabelledFrames:
    return LabelledFrames.join(list(read_vasprun(path, **options)))


def frames_of(path: Path) -> list[LabelledFrame]:
    return [frame for batch in read_vasprun(path) for frame in batch]


@pytest.fixture
def vasprun(tmp_path):
    """Writes a text as a vasprun.xml."""

    def write(text: str) -> Path:
        (tmp_path / "vasprun.xml").write_text(text, encoding="iso-8859-1")
        return tmp_path / "vasprun.xml"

    return write


@pytest.mark.parametrize("name", FILES)
def test_ase_reads_the_same_frames(vasprun, name: str) -> None:
    path = vasprun(text_of(name))
    frames, others = whole(path), ase.io.read(path, index=":", format="vasp-xml")
    assert len(frames) == len(others) == FILES[name][0]
    for k, (frame, other) in enumerate(zip(frames, others, strict=True)):
        assert np.array_equal(frame.atoms.numbers, other.numbers)
        assert np.allclose(frame.atoms.positions, other.positions, rtol=0, atol=1e-12)
        assert np.allclose(np.asarray(frame.atoms.cell), np.asarray(other.cell), rtol=0, atol=1e-12)
        assert np.allclose(frame.label.forces, other.get_forces(apply_constraint=False), rtol=0, atol=1e-12)
        assert frame.label.energy == pytest.approx(other.calc.results["free_energy"], abs=1e-10)
        if ("ase", name) not in EXCEPTIONS:
            assert frames.extras["energy_sigma0"][k] == pytest.approx(other.get_potential_energy(), abs=1e-10)
        # ASE converts kB with another value of the electron's charge.
        stress = other.get_stress(voigt=False) * other.get_volume()
        assert np.allclose(frame.label.virial, -stress, rtol=1e-6, atol=1e-9)


def test_pymatgen_reads_the_same_frames(vasprun) -> None:
    path = vasprun(text_of("relax_spin"))
    frames, other = whole(path), Vasprun(path, parse_potcar_file=False)
    assert len(frames) == other.nionic_steps
    for k, step in enumerate(other.ionic_steps):
        assert np.allclose(step["forces"], frames.forces[k], rtol=0, atol=1e-12)
        assert np.allclose(step["structure"].lattice.matrix, frames.cells[k], rtol=0, atol=1e-12)
        assert np.allclose(step["structure"].cart_coords, frames.positions[k], rtol=0, atol=1e-10)
        assert step["e_fr_energy"] == pytest.approx(frames.energies[k], abs=1e-10)
        assert len(step["electronic_steps"]) == frames.extras["electronic_steps"][k]
    assert other.final_energy == pytest.approx(frames.extras["energy_sigma0"][-1], abs=1e-8)


@pytest.mark.parametrize("name", ["relax_spin", "linear_response"])
def test_the_outcar_of_the_run_holds_the_same(name: str) -> None:
    xml = whole(packed(name))
    log = LabelledFrames.join(list(read_outcar(DATA / f"{name}.OUTCAR.xz")))
    # The OUTCAR has five decimals of positions and virials, six of forces.
    assert np.array_equal(xml.numbers, log.numbers)
    assert np.allclose(xml.cells, log.cells, rtol=0, atol=1e-8)
    shifts = np.linalg.solve(
        xml.cells[:, None].transpose(0, 1, 3, 2), (xml.positions - log.positions)[..., None]
    )
    assert np.allclose(shifts, np.round(shifts), rtol=0, atol=1e-5)
    assert np.allclose(xml.energies, log.energies, rtol=0, atol=1e-8)
    assert np.allclose(xml.forces, log.forces, rtol=0, atol=6e-7)
    assert np.allclose(xml.virials, log.virials, rtol=0, atol=6e-6)
    for extra in ("energy_sigma0", "electronic_steps"):
        assert np.allclose(xml.extras[extra], log.extras[extra], rtol=0, atol=2e-8)


@pytest.mark.parametrize("name", FILES)
def test_steps_at_the_limit_count_as_unconverged(name: str) -> None:
    frames = whole(packed(name))
    assert frames.converged.sum() == FILES[name][1]
    if name == "relax_spin":
        assert frames.converged.tolist() == (frames.extras["electronic_steps"] < 15).tolist()


def test_the_energy_can_be_that_without_smearing() -> None:
    frames = whole(packed("relax_spin"), energy="sigma0")
    assert np.array_equal(frames.energies, frames.extras["energy_sigma0"])
    assert not np.array_equal(frames.energies, whole(packed("relax_spin")).energies)


def test_an_external_pressure_adds_nothing_to_the_energy(vasprun) -> None:
    text = text_of("relax_spin")
    frames = whole(packed("relax_spin"))
    volumes = np.abs(np.linalg.det(frames.cells))
    # As VASP does: PV is in the energy of the ionic step, not in that of the last electronic step.
    enthalpies = iter(frames.energies + 10.0 * KBAR * volumes)
    text = re.sub(
        r'(</structure>\s*<varray name="forces"(?:.|\n)*?<i name="e_fr_energy">)[^<]*',
        lambda match: f"{match[1]} {next(enthalpies):.8f} ",
        text,
    )
    assert next(enthalpies, None) is None
    text = re.sub(r'(name="PSTRESS">)[^<]*', r"\1 10.00000000", text)
    found = whole(vasprun(text))
    assert np.allclose(found.energies, frames.energies, rtol=0, atol=1e-8)
    assert np.allclose(found.extras["energy_sigma0"], frames.extras["energy_sigma0"], rtol=0, atol=1e-8)


TRUNCATED = text_of("relax_truncated")
STEPS = [match.end() for match in re.finditer("</calculation>", TRUNCATED)]


@given(st.integers(0, len(TRUNCATED)))
def test_a_file_cut_anywhere_gives_its_complete_steps(tmp_path_factory, length: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "vasprun.xml"
    path.write_text(TRUNCATED[:length], encoding="iso-8859-1")
    complete = sum(end <= length for end in STEPS)
    if length < TRUNCATED.index("</atominfo>") + len("</atominfo>"):
        with pytest.raises(InputError, match="ends before the atoms"):
            list(read_vasprun(path))
    elif complete:
        assert len(whole(path)) == complete
    else:
        assert list(read_vasprun(path)) == []


def test_damage_in_the_middle_is_told(vasprun, caplog: pytest.LogCaptureFixture) -> None:
    text = text_of("relax_spin")
    second = text.index("<calculation>", text.index("</calculation>"))
    assert len(whole(vasprun(text[:second] + "<<<" + text[second:]))) == 1
    assert "is damaged" in caplog.text


def test_a_step_with_asterisks_is_left_out_by_number(vasprun, caplog: pytest.LogCaptureFixture) -> None:
    parts = text_of("relax_spin").split('<varray name="forces" >')
    assert len(parts) == 6
    parts[2] = re.sub(r"<v>[^<]*</v>", "<v> **************** 0.0 0.0 </v>", parts[2], count=1)
    frames, full = whole(vasprun('<varray name="forces" >'.join(parts))), whole(packed("relax_spin"))
    assert np.array_equal(frames.energies, np.delete(full.energies, 1))
    assert "frame 1 is left out" in caplog.text


def test_steps_of_a_force_field_are_not_read(vasprun) -> None:
    text = text_of("relax_spin")
    begin = text.index("<calculation>", text.index("</calculation>"))
    end = text.index("</calculation>", begin)
    learned = re.sub(r"<scstep>(.|\n)*?</scstep>", "", text[begin:end])
    frames = whole(vasprun(text[:begin] + learned + text[end:]))
    assert np.array_equal(frames.energies, np.delete(whole(packed("relax_spin")).energies, 1))


def test_dynamics_have_times(vasprun) -> None:
    text = re.sub(r'(name="IBRION">\s+)1', r"\g<1>0", text_of("relax_spin"))
    text = re.sub(r'(name="POTIM">)[^<]*', r"\1 2.00000000", text)
    assert whole(vasprun(text)).extras["time"] == pytest.approx(0.002 * np.arange(5))
    assert "time" not in whole(packed("relax_spin")).extras


def test_without_stress_there_is_no_virial(vasprun) -> None:
    text = re.sub(r'<varray name="stress" >(.|\n)*?</varray>', "", text_of("relax_spin"))
    assert frames_of(vasprun(text))[0].label.virial is None


def test_packed_files_are_read_and_others_refused(tmp_path: Path) -> None:
    data = gzip.compress(text_of("relax_spin").encode("iso-8859-1"))
    (tmp_path / "vasprun.xml.gz").write_bytes(data)
    assert len(whole(tmp_path / "vasprun.xml.gz")) == 5
    (tmp_path / "vasprun.xml.gz").write_bytes(data[: len(data) * 2 // 3])
    assert 0 < len(whole(tmp_path / "vasprun.xml.gz")) < 5
    (tmp_path / "other.xml").write_text("<html><body/></html>")
    with pytest.raises(InputError, match=r"not a vasprun\.xml"):
        list(read_vasprun(tmp_path / "other.xml"))
    with pytest.raises(InputError, match="no such file"):
        list(read_vasprun(tmp_path / "nothing.xml"))


def test_memory_does_not_grow_with_the_number_of_steps(tmp_path: Path) -> None:
    text = text_of("relax_spin")
    begin, end = text.index("<calculation>"), text.index("</calculation>") + len("</calculation>")
    peaks = []
    for times in (20, 100):
        path = tmp_path / f"{times}.xml"
        path.write_text(text[:begin] + text[begin:end] * times + text[end:], encoding="iso-8859-1")
        tracemalloc.start()
        assert sum(len(batch) for batch in read_vasprun(path, batch=10)) == times + 4
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
