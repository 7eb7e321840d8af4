"""The model of init_param.json: the first data set, from start structures to labelled frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import Self

from alpw.config import compat
from alpw.config.control import ControlFile
from alpw.config.dft import Dft
from alpw.config.dynamics import AimdFile, BigModel
from alpw.config.explore import Count, with_prefix
from alpw.config.param import CAMPAIGN_NAME, DEFAULT_SEED
from alpw.config.section import (
    AnyPath,
    InputFile,
    Problem,
    Section,
    StoredPath,
    choices,
    folder_of,
    setting,
)
from alpw.config.structures import StartConfig

CODES = ("vasp", "pwmat", "cp2k", "xtb", "ase")
PREFIX = "init_bulk-"
NEEDS_CONTROL = frozenset({"vasp", "pwmat", "cp2k"})
"""codes that do nothing without a control file"""


class Start(NamedTuple):
    """One start structure: its number, the file, and the entry of ``sys_configs`` that names it."""

    number: int
    file: Path
    entry: int


def _with_kind(name: Any) -> Any:
    """A name of its own beside that of the campaign of active learning in the same folder."""
    return f"{PREFIX}{name}" if isinstance(name, str) and not name.startswith(PREFIX) else name


def _interval(value: Any) -> Any:
    words = value.strip().lower() if isinstance(value, str) else value
    if words != "auto" and not (type(words) is int and words >= 1):
        raise ValueError(f'{value!r} must be a whole number, at least 1, or "auto"')
    return words


def _shares(total: int, caps: dict[int, int | None]) -> dict[int, int]:
    """A total divided evenly, the first ones first, and nobody above a cap."""
    shares = dict.fromkeys(caps, 0)
    waiting = list(caps)
    while total and waiting:
        each = max(1, total // len(waiting))
        for number in list(waiting):
            cap = caps[number]
            more = min(each, total, total if cap is None else cap - shares[number])
            shares[number] += more
            total -= more
            if cap is not None and shares[number] == cap:
                waiting.remove(number)
    return shares


class InitBulk(Section):
    """init_param.json: relaxation, generators, sampling, selection and labels of a first data set."""

    section: ClassVar[str] = "init_bulk"

    campaign: Annotated[str, BeforeValidator(_with_kind)] = setting(
        meaning="name of the campaign, to which init_bulk- is added; absent: the name of the folder",
        pattern=CAMPAIGN_NAME,
    )
    seed: int = setting(DEFAULT_SEED, meaning="seed of every random draw", ge=0)
    work_dir: AnyPath = setting(meaning="folder of the calculations; absent: the folder of the file")
    sys_config_prefix: str | None = setting(None, meaning="folder put in front of every config")
    sys_configs: list[StartConfig] = setting(meaning="start structures", min_length=1)
    dft: Dft = setting(meaning="block: the code of all calculations; its keys may stand at the top too")
    relax_input: list[ControlFile] = setting([], meaning="control files of relaxations")
    aimd_input: list[AimdFile] = setting([], meaning="control files of AIMD")
    scf_input: list[ControlFile] = setting([], meaning="control files of single-point labels")
    bigmodel_input: list[BigModel] = setting([], meaning="blocks: force fields that run in place of AIMD")
    scf_style: Annotated[Literal["vasp", "pwmat", "cp2k", "xtb", "ase"] | None, choices(*CODES)] = setting(
        None, meaning="another code for single-point labels; absent: dft_style"
    )
    scf_pseudo: list[InputFile] = setting([], meaning="its pseudopotentials; absent: pseudo")
    scf_max_num: Count | None = setting(None, meaning="largest number of single-point labels; absent: all")
    interval: Annotated[int | Literal["auto"], BeforeValidator(_interval)] = setting(
        1, meaning='take one sampled frame in so many; "auto": one per autocorrelation time of the energy'
    )
    data_format: Annotated[Literal["pwmlff/npy", "extxyz"] | None, choices("pwmlff/npy", "extxyz")] = setting(
        None, meaning="extxyz, pwmlff/npy; absent: pwmlff/npy if train_valid_ratio is given, else extxyz"
    )
    train_valid_ratio: float | None = setting(
        None, meaning="part of the frames that is for training; absent: all", gt=0, le=1
    )
    data_shuffle: bool = setting(False, meaning="write the frames of a data set in random order")
    reserve_work: bool = setting(
        False, meaning="keep wavefunctions and charge densities; all other files always stay"
    )
    notes: SkipJsonSchema[list[str]] = Field([])
    source: SkipJsonSchema[dict[str, Any]] = Field({})
    file: SkipJsonSchema[StoredPath] = Path()

    @model_validator(mode="before")
    @classmethod
    def _defaults_from_context(cls, value: Any, info: ValidationInfo) -> Any:
        folder = folder_of(info)
        if not isinstance(value, dict) or folder is None:
            return value
        name = folder.parent.name if folder.name == "init_bulk" else folder.name
        return {"campaign": name, "work_dir": str(folder), **with_prefix(value)}

    @model_validator(mode="after")
    def _one_level_for_all_elements(self, info: ValidationInfo) -> Self:
        """Per-element settings and pseudopotentials go by the campaign's elements, not by one structure's."""
        if folder_of(info):
            symbols = {s for entry in self.sys_configs for atoms in entry.read() for s in atoms.symbols}
            # The model is frozen for everybody else.
            self.__dict__["dft"] = self.dft.model_copy(update={"elements": sorted(symbols)})
        return self

    @property
    def starts(self) -> list[Start]:
        """Every start structure; with shell patterns there are more of them than entries."""
        files = ((file, entry) for entry, system in enumerate(self.sys_configs) for file in system.files)
        return [Start(number, file, entry) for number, (file, entry) in enumerate(files)]

    def entry(self, index: int) -> StartConfig:
        """The entry of ``sys_configs`` of start structure ``index``."""
        return self.sys_configs[self.starts[index].entry]

    @property
    def elements(self) -> list[str]:
        """Elements of all start structures."""
        return self.dft.elements

    @property
    def input_files(self) -> list[Path]:
        """Files whose content decides what comes out."""
        blocks = [self.dft, *(self.label_of(entry) for entry in self.sys_configs)]
        files = [start.file for start in self.starts]
        files += [file for dft in blocks for file in dft.control_files]
        for controls in (self.relax_input, self.aimd_input, self.scf_input):
            files += [control.input for control in controls if control.input]
        files += [big.model for big in self.bigmodel_input if big.model]
        return sorted(set(files))

    @property
    def ratio(self) -> float:
        """Part of the frames that is for training."""
        return 1.0 if self.train_valid_ratio is None else self.train_valid_ratio

    @property
    def format(self) -> str:
        """Format of the data sets in ``collection/``."""
        if self.data_format:
            return self.data_format
        return "extxyz" if self.train_valid_ratio is None else "pwmlff/npy"

    def relaxes(self, entry: StartConfig) -> bool:
        """Whether a structure is relaxed first."""
        return bool(self.relax_input) if entry.relax is None else entry.relax

    def runs_aimd(self, entry: StartConfig) -> bool:
        """Whether AIMD runs from what is made of a structure."""
        if entry.aimd is None:
            return bool(self.aimd_input) and not entry.bigmodel
        return entry.aimd

    def samples(self, entry: StartConfig) -> bool:
        """Whether dynamics of any kind runs from what is made of a structure."""
        return entry.bigmodel or self.runs_aimd(entry)

    def relax_of(self, entry: StartConfig) -> Dft:
        """Settings of a structure's relaxation."""
        return self._with(self.relax_input, entry.relax_input_idx)

    def label_of(self, entry: StartConfig) -> Dft:
        """Settings of the single-point labels of what was made of a structure."""
        changes: dict[str, Any] = {"dft_style": self.scf_style} if self.scf_style else {}
        if self.scf_pseudo:
            changes["pseudo"] = self.scf_pseudo
        return self._with(self.scf_input, entry.scf_input_idx).model_copy(update=changes)

    def label_dft(self, index: int) -> Dft:
        """Settings of the labels of start structure ``index``."""
        return self.label_of(self.entry(index))

    @property
    def reserve_scf_files(self) -> bool:
        """Whether the large files of labels stay."""
        return self.reserve_work

    def dynamics_of(self, entry: StartConfig) -> AimdFile | BigModel | None:
        """The AIMD or the force field that a structure is sampled with; None without sampling."""
        if entry.bigmodel:
            return self.bigmodel_input[entry.bigmodel_input_idx]
        if not self.runs_aimd(entry):
            return None
        return self.aimd_input[entry.aimd_input_idx] if self.aimd_input else AimdFile.model_construct()

    def runs_of(self, entry: StartConfig) -> list[tuple[str, Dft]]:
        """A name and the settings of each run that a leaf of a structure's tree gets."""
        dynamics = self.dynamics_of(entry)
        return dynamics.runs(self.dft) if dynamics else []

    def label_quota(self, index: int) -> int | None:
        """The share of ``scf_max_num`` of a start structure; None for no limit.

        Shares are even; what a structure may not take because of its ``direct_max_num`` goes to the others.
        """
        entries = {start.number: self.sys_configs[start.entry] for start in self.starts}
        caps = {
            number: entry.direct_max_num if entry.direct else None
            for number, entry in entries.items()
            if entry.scf
        }
        if self.scf_max_num is None or index not in caps:
            return None
        return _shares(self.scf_max_num, caps)[index]

    def _with(self, controls: Sequence[ControlFile], index: int) -> Dft:
        return self.dft.with_control(controls[index]) if controls else self.dft

    def problems(self) -> Iterator[Problem]:
        for i, entry in enumerate(self.sys_configs):
            yield from (Problem(("sys_configs", i, key), text) for key, text in self._entry_problems(entry))
        yield from self._mixed_labels()

    def _entry_problems(self, entry: StartConfig) -> Iterator[tuple[str, str]]:
        stages: dict[str, tuple[bool, Sequence[Any], str]] = {
            "relax": (self.relaxes(entry), self.relax_input, self.dft.dft_style),
            "aimd": (self.runs_aimd(entry), self.aimd_input, self.dft.dft_style),
            "scf": (entry.scf, self.scf_input, self.scf_style or self.dft.dft_style),
            "bigmodel": (entry.bigmodel, self.bigmodel_input, "bigmodel"),
        }
        for stage, (wanted, controls, style) in stages.items():
            index = getattr(entry, f"{stage}_input_idx")
            if wanted and not controls and (style in NEEDS_CONTROL or style == "bigmodel"):
                yield stage, f"is asked for, and {stage}_input is empty"
            elif wanted and controls and index >= len(controls):
                text = f"{index} is no entry of {stage}_input, which has {len(controls)} (from 0)"
                yield f"{stage}_input_idx", text
        if self.runs_aimd(entry) and entry.bigmodel:
            yield "bigmodel", "stands in place of AIMD; set one of aimd and bigmodel to false"
        if entry.direct and not self.samples(entry):
            yield "direct", "chooses among sampled frames, and there is neither aimd nor bigmodel"

    def _mixed_labels(self) -> Iterator[Problem]:
        """A data set has one level of theory: that of DFT, or that of a force field."""
        by_force_field = [i for i, e in enumerate(self.sys_configs) if e.bigmodel and not e.scf]
        by_dft = [i for i, e in enumerate(self.sys_configs) if e.scf or self.runs_aimd(e)]
        if by_force_field and by_dft:
            text = (
                f"its frames would have the force field's labels and those of sys_configs[{by_dft[0]}] "
                "DFT's; set scf to true"
            )
            yield Problem(("sys_configs", by_force_field[0], "scf"), text)

    def file_problems(self) -> Iterator[Problem]:
        if self.work_dir.is_file():
            yield Problem(("work_dir",), f"{self.work_dir} is a file, not a folder")

    def remarks(self) -> Iterator[Problem]:
        yield from (Problem(("dft", *loc), text) for loc, text in self.dft.remarks())
        files = [start.file for start in self.starts]
        for file in sorted({file for file in files if files.count(file) > 1}):
            yield Problem(("sys_configs",), f"takes {file} more than once")
        yield from compat.notes(self)
