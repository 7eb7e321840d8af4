"""The model of param.json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator
from pydantic.json_schema import SkipJsonSchema

from alpw.config.explore import Explore, Index
from alpw.config.section import (
    AnyPath,
    DataFile,
    DataSets,
    InputFile,
    InputFolder,
    Problem,
    Section,
    StoredPath,
    choices,
    data_file,
    folder_of,
    raise_problems,
    setting,
    unknown_key,
)
from alpw.config.train import Train

DEFAULT_SEED = 2024

DFT_KEYS: dict[str, frozenset[str]] = {
    "xtb": frozenset({"method"}),
    "cp2k": frozenset({"input", "basis_set_file", "potential_file", "gaussian_param", "kspacing"}),
}
"""Which keys of the block ``dft`` each code uses."""

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


class Initial(Section):
    """A first data set of perturbed structures that are labelled; used when ``init_data`` is empty."""

    section: ClassVar[str] = "initial"

    sys_idx: list[Index] = setting(None, meaning="structures: indices into explore.sys_configs; absent: all")
    perturb: int = setting(20, meaning="perturbed copies per structure and scale", ge=1)
    scale: list[Annotated[float, Field(gt=0.5, lt=2)]] = setting(
        [1.0], meaning="factors of the cell's lengths", min_length=1
    )
    cell_pert_fraction: float = setting(0.03, meaning="largest component of the random strain", ge=0, le=0.3)
    atom_pert_distance: float = setting(
        0.01, meaning="root mean square displacement of an atom", unit="Å", ge=0, le=2
    )


class Strategy(Section):
    """How uncertain frames are chosen, and when a campaign is finished."""

    section: ClassVar[str] = "strategy"

    uncertainty: Annotated[Literal["committee"], choices("committee")] = setting(
        "committee", meaning="measure of uncertainty"
    )
    model_num: int = setting(4, meaning="members of the committee", ge=3, le=100)
    lower_model_devi_f: float = setting(
        meaning="from this force deviation on a frame is a candidate (also lower_model_deiv_f)",
        unit="eV/Å",
        gt=0,
    )
    upper_model_devi_f: float = setting(
        meaning="from this force deviation on a frame is not trusted (also upper_model_deiv_f)",
        unit="eV/Å",
        gt=0,
    )
    max_select: int = setting(100, meaning="largest number of frames labelled per block and structure", ge=1)
    accurate_ratio: float = setting(
        0.95, meaning="converged when this part of the explored frames is accurate", gt=0, le=1
    )
    max_iterations: int | None = setting(
        None, meaning="largest number of iterations; absent: one per entry of md_jobs", ge=1
    )
    validation_frames: int = setting(
        4, meaning="frames per iteration drawn at random, labelled and held out of training", ge=0
    )
    min_label_ratio: float = setting(
        0.5, meaning="quorum: an iteration needs this part of its labels to succeed", ge=0, le=1
    )

    deviation: Annotated[Literal["dpgen", "legacy"], choices("dpgen", "legacy")] = setting(
        "dpgen",
        meaning=(
            "force deviation of an atom over the models: dpgen, the root mean square distance from the mean "
            "force; legacy, the largest distance"
        ),
    )
    stop_after: int | None = setting(
        None,
        meaning="end a trajectory after so many frames in a row above the upper threshold; absent: never",
        ge=1,
    )
    compress: bool = setting(False, meaning="explore with models whose embedding nets are tables")
    compress_order: Literal[3, 5] = setting(5, meaning="order of the polynomials of these tables")
    compress_dx: float = setting(0.01, meaning="spacing of these tables in the scaled s", ge=1e-4, le=1)

    def problems(self) -> Iterator[Problem]:
        if self.lower_model_devi_f >= self.upper_model_devi_f:
            lower, upper = self.lower_model_devi_f, self.upper_model_devi_f
            text = f"{lower} must be smaller than the upper threshold {upper} (eV/Å)"
            yield Problem(("lower_model_devi_f",), text)

    def remarks(self) -> Iterator[Problem]:
        for key in ("compress_order", "compress_dx"):
            if key in self.model_fields_set and not self.compress:
                yield Problem((key,), "has no effect: compress is not true")


class Dft(Section):
    """The code that labels, and its control files."""

    section: ClassVar[str] = "dft"

    dft_style: Annotated[Literal["xtb", "cp2k"], choices("xtb", "cp2k")] = setting(
        meaning="the code that labels"
    )
    input: InputFile | None = setting(None, meaning="control file of the code")
    kspacing: float | None = setting(None, meaning="spacing of the k-point mesh", unit="1/Å", gt=0, le=10)
    flag_symm: int | None = setting(None, meaning="symmetry flag of PWmat", ge=0, le=3)
    pseudo: list[InputFile] = setting([], meaning="pseudopotential files of PWmat and VASP")
    in_skf: InputFolder | None = setting(None, meaning="folder of Slater-Koster files of PWmat-DFTB")
    basis_set_file: DataFile | None = setting(
        None, meaning="basis set file of CP2K, or the name of one of its own"
    )
    potential_file: DataFile | None = setting(None, meaning="pseudopotential file of CP2K, or one of its own")
    gaussian_param: Annotated[dict[str, Any] | None, BeforeValidator(_gaussian_param)] = setting(
        None, meaning="basis and potential names per element of CP2K"
    )
    method: Annotated[Literal["GFN1-xTB", "GFN2-xTB"], choices("GFN1-xTB", "GFN2-xTB")] = setting(
        "GFN1-xTB", meaning="tight-binding Hamiltonian of xtb"
    )

    def remarks(self) -> Iterator[Problem]:
        for key in sorted(self.model_fields_set - DFT_KEYS[self.dft_style] - {"dft_style"}):
            yield Problem((key,), f"has no effect: {self.dft_style} does not use it")


class Param(Section):
    """param.json: one campaign of active learning."""

    campaign: str = setting(
        meaning="name of the campaign; absent: the name of the folder that holds the file",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
    )
    seed: int = setting(DEFAULT_SEED, meaning="seed of every random draw", ge=0)
    work_dir: AnyPath = setting(meaning="folder of the calculations; absent: the folder of the file")
    init_data: DataSets = setting([], meaning="training sets: extxyz files, PWdata folders, shell patterns")
    valid_data: DataSets = setting([], meaning="fixed validation sets, as init_data")
    initial: Initial | None = setting(None, meaning="block: make a first data set when init_data is empty")
    train: Train = setting(meaning="train block")
    strategy: Strategy = setting(meaning="strategy block")
    explore: Explore = setting(meaning="explore block")
    dft: Dft = setting(meaning="dft block")
    notes: SkipJsonSchema[list[str]] = Field([])
    source: SkipJsonSchema[dict[str, Any]] = Field({})
    file: SkipJsonSchema[StoredPath] = Path()

    @model_validator(mode="before")
    @classmethod
    def _defaults_from_context(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        if folder := folder_of(info):
            value = {"campaign": folder.name, "work_dir": str(folder), **value}
        value = dict(value)
        train, initial, explore = value.get("train"), value.get("initial"), value.get("explore")
        seed = value.get("seed", DEFAULT_SEED)
        if isinstance(train, dict) and isinstance(seed, int):
            value["train"] = {"seed": seed, **train}
        if (
            isinstance(initial, dict)
            and isinstance(explore, dict)
            and isinstance(explore.get("sys_configs"), list)
        ):
            value["initial"] = {"sys_idx": list(range(len(explore["sys_configs"]))), **initial}
        return value

    def problems(self) -> Iterator[Problem]:
        if not self.init_data and self.initial is None:
            yield Problem(
                ("init_data",), "empty; give training sets here, or the block 'initial' to make a first one"
            )
        if self.initial is not None:
            yield from self.explore.beyond(self.initial.sys_idx, ("initial", "sys_idx"))
        n, members = len(self.train.init_models), self.strategy.model_num
        if n not in (0, members):
            text = (
                f"has {n} entries; strategy.model_num is {members}, and every member needs a start of its own"
            )
            yield Problem(("train", "init_models"), text)

    def file_problems(self) -> Iterator[Problem]:
        if self.work_dir.is_file():
            yield Problem(("work_dir",), f"{self.work_dir} is a file, not a folder")
        for i, entry in enumerate(self.explore.sys_configs):
            elements = {symbol for atoms in entry.read() for symbol in atoms.symbols}
            if missing := sorted(elements - set(self.train.atom_type)):
                text = f"{self.train.atom_type} lacks {', '.join(missing)} of explore.sys_configs[{i}]"
                yield Problem(("train", "atom_type"), text)

    def remarks(self) -> Iterator[Problem]:
        for block in ("train", "strategy", "dft"):
            for loc, message in getattr(self, block).remarks():
                yield Problem((block, *loc), message)
        if self.initial is not None and self.init_data:
            yield Problem(("initial",), "has no effect: init_data holds the first data set")
