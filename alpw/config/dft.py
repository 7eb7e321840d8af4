"""The block ``dft`` of param.json: which code labels, with which control file and pseudopotentials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from ase.data import atomic_numbers
from pydantic import BeforeValidator, Field, ValidationInfo
from pydantic.json_schema import SkipJsonSchema

from alpw.config.control import ControlFile, first_control
from alpw.config.section import (
    DataFile,
    InputFile,
    InputFolder,
    Problem,
    Section,
    choices,
    data_file,
    raise_problems,
    setting,
    unknown_key,
)

EVERY_CODE = frozenset({"dft_style", "elements", "stress", "max_force", "max_silence", "allow_physics"})

DFT_KEYS: dict[str, frozenset[str]] = {
    "xtb": frozenset({"method", "input"}),
    "cp2k": frozenset(
        {"input", "basis_set_file", "potential_file", "gaussian_param", "kspacing", "reuse_wavefunctions"}
    ),
    "vasp": frozenset({"input", "kspacing", "pseudo", "by_element", "energy", "reuse_wavefunctions"}),
    "pwmat": frozenset({"input", "kspacing", "flag_symm", "pseudo", "in_skf", "gaussian_param"}),
    "ase": frozenset({"input", "calculator", "arguments", "model"}),
}
"""Which keys of the block ``dft`` each code uses, beside those that concern every code."""

GAUSSIAN_KEYS = (
    "basis_set_file",
    "potential_file",
    "atom_list",
    "basis_set_list",
    "potential_list",
    "kspacing",
)
"""Keys of ``dft.gaussian_param``: two files, three parallel lists, and the spacing of k-points in 1/Å."""


def _gaussian_param(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, dict):
        return value
    found = {key.lower(): content for key, content in value.items() if not key.startswith("_")}
    problems = [Problem((key,), unknown_key(key, GAUSSIAN_KEYS)) for key in found if key not in GAUSSIAN_KEYS]
    for key in {"basis_set_file", "potential_file"} & found.keys():
        try:
            found[key] = data_file(found[key], info)
        except ValueError as error:
            problems.append(Problem((key,), str(error)))
    raise_problems(problems)
    return found


def _by_element(value: Any) -> Any:
    """``{"MAGMOM": {"Fe": 5}}`` with keys in upper case, every element known and every value a number."""
    if not isinstance(value, dict):
        return value
    problems = []
    for key, values in value.items():
        if not isinstance(values, dict):
            problems.append(Problem((key,), f'{values!r} is no block such as {{"Fe": 5.0}}'))
            continue
        for symbol, number in values.items():
            if symbol not in atomic_numbers:
                problems.append(Problem((key, symbol), "is not an element"))
            elif isinstance(number, bool) or not isinstance(number, (int, float)):
                problems.append(Problem((key, symbol), f"{number!r} is not a number"))
    raise_problems(problems)
    return {key.upper(): {s: float(number) for s, number in values.items()} for key, values in value.items()}


class Dft(Section):
    """The code that labels, and its control file."""

    section: ClassVar[str] = "dft"

    dft_style: Annotated[
        Literal["xtb", "cp2k", "vasp", "pwmat", "ase"], choices("xtb", "cp2k", "vasp", "pwmat", "ase")
    ] = setting(meaning="the code that labels")
    input: Annotated[InputFile | None, BeforeValidator(first_control)] = setting(
        None, meaning="control file of the code: INCAR, etot.input, cp2k.inp"
    )
    kspacing: float | None = setting(None, meaning="spacing of the k-point mesh", unit="1/Å", gt=0, le=10)
    flag_symm: int | None = setting(
        None, meaning="symmetry flag of PWmat; absent: 0, for AIMD 3 (no symmetry)", ge=0, le=3
    )
    pseudo: list[InputFile] = setting([], meaning="pseudopotential files of PWmat and VASP")
    in_skf: InputFolder | None = setting(None, meaning="folder of Slater-Koster files of PWmat-DFTB")
    basis_set_file: DataFile | None = setting(
        None, meaning="basis set file of CP2K, or the name of one of its own"
    )
    potential_file: DataFile | None = setting(None, meaning="pseudopotential file of CP2K, or one of its own")
    gaussian_param: Annotated[dict[str, Any] | None, BeforeValidator(_gaussian_param)] = setting(
        None, meaning="basis and potential names per element of CP2K and of PWmat's Gaussian basis"
    )
    by_element: Annotated[dict[str, dict[str, float]], BeforeValidator(_by_element)] = setting(
        {}, meaning='INCAR values per element of VASP, such as {"MAGMOM": {"Fe": 5}, "LDAUU": {"Fe": 4}}'
    )
    energy: Annotated[Literal["free", "sigma0"], choices("free", "sigma0")] = setting(
        "free", meaning="energy of a VASP label: free, TOTEN, which belongs to the forces; sigma0"
    )
    method: Annotated[Literal["GFN1-xTB", "GFN2-xTB"], choices("GFN1-xTB", "GFN2-xTB")] = setting(
        "GFN1-xTB", meaning="tight-binding Hamiltonian of xtb"
    )
    calculator: str | None = setting(
        None, meaning="ASE calculator by import path, such as mace.calculators.mace_mp"
    )
    arguments: dict[str, Any] = setting({}, meaning="keyword arguments of the ASE calculator")
    model: InputFile | None = setting(None, meaning="model of our own, in place of an ASE calculator")
    stress: bool = setting(True, meaning="a label of a periodic structure needs a stress")
    max_force: float = setting(
        100.0, meaning="a label with a larger force on an atom is quarantined", unit="eV/Å", gt=0
    )
    max_silence: float = setting(
        3600.0,
        meaning="a calculation that writes nothing for so long hangs, and is run again",
        unit="s",
        gt=0,
    )
    allow_physics: bool = setting(
        False,
        meaning="error handlers may change the physics of relaxations and AIMD; never that of labels",
    )
    reuse_wavefunctions: bool = setting(
        True, meaning="start a label from the wavefunction of the one before it, where the code can"
    )
    reuse_labels: bool = setting(
        False,
        meaning=(
            "take a label of the same structure and level of theory from another campaign of the database"
        ),
    )
    elements: SkipJsonSchema[list[str]] = Field([])
    temperature: SkipJsonSchema[float | None] = Field(None)
    """K, of AIMD from beginning to end; None leaves it to the control file"""
    seed: SkipJsonSchema[int | None] = Field(None)
    """of the first velocities and the thermostat of AIMD, for codes that can be told"""
    motion: SkipJsonSchema[dict[str, Any] | None] = Field(None)
    """what the control file of ``xtb`` and ``ase`` says, where it is not in a file"""

    def with_control(self, control: ControlFile) -> Dft:
        """The same code with another control file; what the file's entry leaves open stays as it is."""
        given = ControlFile.model_fields.keys() & control.model_fields_set
        changes = {key: getattr(control, key) for key in given}
        return self.model_copy(update=changes)

    def remarks(self) -> Iterator[Problem]:
        used = DFT_KEYS[self.dft_style] | EVERY_CODE
        for key in sorted(self.model_fields_set - used):
            yield Problem((key,), f"has no effect: {self.dft_style} does not use it")

    @property
    def control_files(self) -> list[Path]:
        """Files whose content decides a label, as far as the block names them."""
        gaussian = self.gaussian_param or {}
        named = [self.input, self.basis_set_file, self.potential_file, *self.pseudo]
        named += [gaussian.get("basis_set_file"), gaussian.get("potential_file"), self.model]
        if self.dft_style == "vasp" and self.input:
            named.append(self.input.parent / "KPOINTS")
        if self.in_skf:
            named += sorted(self.in_skf.glob("*.skf"))
        return [Path(path) for path in named if path]
