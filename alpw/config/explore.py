"""The block ``explore`` of param.json: start structures and molecular dynamics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from ase import Atoms
from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from alpw.config.section import (
    Loc,
    Problem,
    Section,
    StoredPath,
    expand,
    folder_of,
    one_of,
    raise_problems,
    setting,
)
from alpw.config.vocabulary import ENSEMBLES
from alpw.errors import InputError
from alpw.structures.read import FORMATS, read_structure
from alpw.structures.sanity import defect

Index = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Temperature = Annotated[float, Field(gt=0, le=100_000)]
Pressure = Annotated[float, Field(ge=-1e8, le=1e8)]
Ensemble = Annotated[Literal["nve", "nvt", "npt-iso", "npt-aniso", "npt-tri"], one_of(ENSEMBLES)]


class SysConfig(Section):
    """One entry of ``sys_configs``: a structure file, or a shell pattern of several."""

    section: ClassVar[str] = "explore.sys_configs"

    config: str = setting(
        meaning="structure file; a shell pattern stands for all files that it matches, sorted"
    )
    format: str | None = setting(
        None, meaning="format of the file; absent: recognised by its name and content"
    )
    files: SkipJsonSchema[list[StoredPath]] = Field([])

    @model_validator(mode="before")
    @classmethod
    def _find(cls, value: Any, info: ValidationInfo) -> Any:
        entry = {"config": value} if isinstance(value, str) else value
        folder = folder_of(info)
        if folder is None or not isinstance(entry, dict) or not isinstance(entry.get("config"), str):
            return entry
        try:
            return {**entry, "files": expand(entry["config"], folder)}
        except ValueError as error:
            raise_problems([Problem(("config",), str(error))])

    @field_validator("format")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name.lower() not in FORMATS:
            raise ValueError(f"{name!r} is not one of {', '.join(sorted(FORMATS))}")
        return name.lower() if name else None

    def file_problems(self) -> Iterator[Problem]:
        for path in self.files:
            try:
                reason = defect(read_structure(path, self.format))
            except InputError as error:
                yield Problem(("config",), str(error))
            else:
                if reason:
                    yield Problem(("config",), f"the structure in {path} is not physical: {reason}")

    def read(self) -> list[Atoms]:
        """The structures of this entry, one per file, periodic in all directions."""
        return [read_structure(path, self.format) for path in self.files]


def with_prefix(block: dict[str, Any]) -> dict[str, Any]:
    """A block as it was read, its ``sys_config_prefix`` put in front of every ``config``."""
    prefix, entries = block.get("sys_config_prefix"), block.get("sys_configs")
    if not isinstance(prefix, str) or not isinstance(entries, list):
        return block
    entries = [{"config": entry} if isinstance(entry, str) else entry for entry in entries]
    joined = [
        {**entry, "config": str(Path(prefix) / entry["config"])}
        if isinstance(entry, dict) and isinstance(entry.get("config"), str)
        else entry
        for entry in entries
    ]
    return {**block, "sys_configs": joined}


class MdJob(Section):
    """One block of molecular dynamics: its structures times its temperatures (times its pressures)."""

    section: ClassVar[str] = "explore.md_jobs"

    sys_idx: list[Index] = setting(meaning="start structures: indices into sys_configs", min_length=1)
    select_sys: list[Count] | None = setting(
        None,
        meaning="largest number of frames labelled per structure: one number, or one per entry of sys_idx",
    )
    ensemble: Ensemble = setting(
        "nvt", meaning="nve, nvt, npt (= npt-i = npt-iso), npt-a (aniso), npt-t (tri)"
    )
    nsteps: int = setting(meaning="number of steps", ge=1)
    md_dt: float = setting(0.001, meaning="time step", unit="ps", gt=0, le=0.02)
    trj_freq: int = setting(10, meaning="steps between two frames", ge=1)
    temps: list[Temperature] = setting([], meaning="temperatures; with nve those of the start", unit="K")
    press: list[Pressure] = setting([], meaning="pressures, used by npt", unit="bar")
    taut: float = setting(0.1, meaning="damping time of the thermostat", unit="ps", gt=0)
    taup: float = setting(0.5, meaning="damping time of the barostat", unit="ps", gt=0)
    neigh_modify: int = setting(10, meaning="steps between two checks of the neighbour list", ge=0)
    boundary: bool = setting(True, meaning="periodic in all directions; false is not available")
    merge_traj: bool = setting(
        False, meaning="true is not available, frames of a trajectory are together anyway"
    )

    def problems(self) -> Iterator[Problem]:
        if self.trj_freq > self.nsteps:
            yield Problem(
                ("trj_freq",), f"{self.trj_freq} is larger than nsteps {self.nsteps}: no frame is written"
            )
        if not self.temps:
            yield Problem(
                ("temps",), f"empty; the ensemble {self.ensemble} needs at least one temperature (K)"
            )
        if self.ensemble.startswith("npt") and not self.press:
            yield Problem(
                ("press",), f"empty; the ensemble {self.ensemble} needs at least one pressure (bar)"
            )
        if self.select_sys is not None and len(self.select_sys) not in (1, len(self.sys_idx)):
            n, m = len(self.select_sys), len(self.sys_idx)
            yield Problem(("select_sys",), f"has {n} entries; allowed are 1, or {m} as in sys_idx")
        if len(set(self.sys_idx)) < len(self.sys_idx):
            yield Problem(("sys_idx",), f"{self.sys_idx} names a structure twice")


class Explore(Section):
    """The block ``explore``: entry k of ``md_jobs`` is iteration k, a list of blocks."""

    section: ClassVar[str] = "explore"

    sys_config_prefix: str | None = setting(None, meaning="folder put in front of every config")
    sys_configs: list[SysConfig] = setting(meaning="start structures", min_length=1)
    md_jobs: list[list[MdJob]] = setting(meaning="iterations, each a list of blocks", min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _prefix(cls, value: Any, info: ValidationInfo) -> Any:
        return with_prefix(value) if isinstance(value, dict) and folder_of(info) else value

    def problems(self) -> Iterator[Problem]:
        for k, blocks in enumerate(self.md_jobs):
            if not blocks:
                yield Problem(("md_jobs", k), "is empty; an iteration needs at least one block")
            for m, job in enumerate(blocks):
                yield from self.beyond(job.sys_idx, ("md_jobs", k, m, "sys_idx"))

    def beyond(self, indices: list[int], loc: Loc) -> Iterator[Problem]:
        """The indices at ``loc`` that name no structure."""
        last = len(self.sys_configs) - 1
        for i, index in enumerate(indices):
            if index > last:
                yield Problem(
                    (*loc, i), f"{index} is not a structure; sys_configs has the indices 0 to {last}"
                )
