"""The model of param.json."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import Self

from alpw.config.dft import Dft
from alpw.config.explore import Explore, Index, MdJob
from alpw.config.section import (
    AnyPath,
    CampaignData,
    Problem,
    Section,
    StoredPath,
    choices,
    folder_of,
    setting,
)
from alpw.config.strategy import Strategy, override
from alpw.config.train import Train

DEFAULT_SEED = 2024
CAMPAIGN_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
FUNCTION = r"^[A-Za-z_][\w]*(\.[A-Za-z_]\w*)+$"


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


class Hook(Section):
    """A function of the user's that is called between two stages of every iteration."""

    section: ClassVar[str] = "hooks"

    after: Annotated[
        Literal["train", "explore", "select", "label"], choices("train", "explore", "select", "label")
    ] = setting(meaning="stage after which the function is called: train, explore, select, label")
    function: str = setting(
        meaning="function by import path, such as mypackage.checks.volume",
        pattern=FUNCTION,
    )
    arguments: dict[str, Any] = setting({}, meaning="keyword arguments of the function")


class Param(Section):
    """param.json: one campaign of active learning."""

    campaign: str = setting(
        meaning="name of the campaign; absent: the name of the folder that holds the file",
        pattern=CAMPAIGN_NAME,
    )
    seed: int = setting(DEFAULT_SEED, meaning="seed of every random draw", ge=0)
    work_dir: AnyPath = setting(meaning="folder of the calculations; absent: the folder of the file")
    init_data: CampaignData = setting(
        [], meaning="training sets: extxyz, PWdata and deepmd-kit's data, shell patterns; query:, snapshot:"
    )
    valid_data: CampaignData = setting([], meaning="fixed validation sets, as init_data")
    initial: Initial | None = setting(None, meaning="block: make a first data set when init_data is empty")
    train: Train = setting(meaning="train block")
    strategy: Strategy = setting(meaning="strategy block")
    explore: Explore = setting(meaning="explore block")
    dft: Dft = setting(meaning="dft block")
    reserve_scf_files: bool = setting(
        False, meaning="keep wavefunctions and charge densities of labels; all other files always stay"
    )
    reserve_work: bool = setting(False, meaning="keep them for every calculation, not only for labels")
    reserve_md_traj: bool = setting(
        True,
        meaning="keep every explored frame; false: of an iteration that has ended those that were chosen",
    )
    init_data_only_pretrain: bool = setting(
        False, meaning="from iteration 1 on train on new labels only, from the models of the iteration before"
    )
    hooks: list[Hook] = setting([], meaning="functions of your own between two stages")
    webhook: str | None = setting(
        None,
        meaning="address that is told as JSON what a campaign begins, ends or stalls at; absent: nobody is",
    )
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

    @model_validator(mode="after")
    def _labels_know_the_elements(self) -> Self:
        """Per-element settings and pseudopotentials go by the campaign's elements, not by one structure's."""
        # The model is frozen for everybody else.
        self.__dict__["dft"] = self.dft.model_copy(update={"elements": list(self.train.atom_type)})
        return self

    @property
    def input_files(self) -> list[Path]:
        """Files whose content decides what comes out, without the data sets."""
        files = [path for entry in self.explore.sys_configs for path in entry.files]
        own = [self.train.deepmd_input] if self.train.deepmd_input else []
        return [*files, *self.explore.lmps_in, *self.train.init_models, *own, *self.dft.control_files]

    def label_dft(self, index: int) -> Dft:
        """Settings of the labels of iteration ``index``: those of every other one."""
        return self.dft

    def thresholds(self, entry: int, job: MdJob) -> dict[str, float | None]:
        """Thresholds of the frames that a block explores from an entry of ``sys_configs``; see `override`."""
        return override(self.strategy, self.explore.sys_configs[entry], job)

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
        if self.strategy.has_kpu and not self.train.optimizer.is_kalman:
            text = (
                "Kalman prediction uncertainty needs the covariance that LKF or GKF leaves; use one of them"
            )
            if (trainer := self.train.trainer) != "alpw":
                text = f"trainer '{trainer}' has no Kalman prediction uncertainty; 'alpw' does, with LKF"
            yield Problem(("train", "optimizer", "optimizer"), text)
        if self.init_data_only_pretrain and not self.train.use_pre_model:
            text = (
                "training on new labels only needs the models of the iteration before: use_pre_model is false"
            )
            yield Problem(("init_data_only_pretrain",), text)
        if self.train.deepmd_input and self.strategy.final_factor != 1:
            text = "the number of steps is that of train.deepmd_input; set it to 1"
            yield Problem(("strategy", "final_factor"), text)
        for pair in self.strategy.min_distance:
            if unknown := [symbol for symbol in pair.split("-") if symbol not in self.train.atom_type]:
                text = f"train.atom_type lacks {', '.join(unknown)}"
                yield Problem(("strategy", "min_distance", pair), text)

        elements = {symbol for blocks in self.explore.md_jobs for job in blocks for symbol in job.mass}
        if unknown := sorted(elements - set(self.train.atom_type)):
            text = f"mass: train.atom_type lacks {', '.join(unknown)}"
            yield Problem(("explore", "md_jobs"), text)
        limit, needed = self.strategy.max_iterations, self.strategy.converge_after
        if limit is not None and needed > limit:
            text = f"{needed} iterations in a row cannot be: strategy.max_iterations is {limit}"
            yield Problem(("strategy", "converge_after"), text)
        if self.webhook is not None and not re.match(r"https?://[^\s@/]+(/\S*)?$", self.webhook):
            # Not quoted: it may be a secret.
            text = "is no address that begins with http:// or https:// and has no user and password in it"
            yield Problem(("webhook",), text)
        yield from self._half_thresholds()

    def _half_thresholds(self) -> Iterator[Problem]:
        """Blocks whose absolute thresholds, their own and inherited ones, are no interval."""
        if not self.strategy.has_committee and self.strategy.kpu_mode == "relative":
            return
        for k, blocks in enumerate(self.explore.md_jobs):
            for m, job in enumerate(blocks):
                for entry in job.sys_idx:
                    if entry >= len(self.explore.sys_configs):
                        continue
                    wanted = self.thresholds(entry, job)
                    lower, upper = wanted["lower_model_devi_f"], wanted["upper_model_devi_f"]
                    own = wanted != override(self.strategy)
                    if own and not wanted["target_force_error"] and not (lower and upper and lower < upper):
                        text = (
                            f"with structure {entry} the thresholds are {lower} and {upper} eV/Å; both are "
                            "needed, the lower one below the upper one, or a target_force_error"
                        )
                        yield Problem(("explore", "md_jobs", k, m), text)

    def file_problems(self) -> Iterator[Problem]:
        if self.work_dir.is_file():
            yield Problem(("work_dir",), f"{self.work_dir} is a file, not a folder")
        for i, entry in enumerate(self.explore.sys_configs):
            elements = {symbol for atoms in entry.read() for symbol in atoms.symbols}
            if missing := sorted(elements - set(self.train.atom_type)):
                text = f"{self.train.atom_type} lacks {', '.join(missing)} of explore.sys_configs[{i}]"
                yield Problem(("train", "atom_type"), text)

    def remarks(self) -> Iterator[Problem]:
        for block in ("train", "strategy", "explore", "dft"):
            for loc, message in getattr(self, block).remarks():
                yield Problem((block, *loc), message)
        if self.initial is not None and self.init_data:
            yield Problem(("initial",), "has no effect: init_data holds the first data set")
