"""What an OUTCAR says: steps, their convergence, energies, virials, dynamics, settings."""

from __future__ import annotations

import re

import numpy as np
import pytest

from alpw.formats.outcar import outcar_header, read_outcar
from tests.formats.outcars import RELAX, frames_of, packed, text_of, whole


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
