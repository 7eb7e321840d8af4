"""The block ``explore`` of param.json: start structures and molecular dynamics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from ase import Atoms
from ase.data import atomic_numbers
from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from alpw.config.section import (
    InputFile,
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
from alpw.config.strategy import LOWER, TARGET, UPPER, Threshold, in_order
from alpw.config.vocabulary import ENSEMBLES
from alpw.errors import InputError
from alpw.structures.read import FORMATS, read_structure
from alpw.structures.sanity import defect

Index = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Temperature = Annotated[float, Field(gt=0, le=100_000)]
Pressure = Annotated[float, Field(ge=-1e8, le=1e8)]
Mass = Annotated[float, Field(gt=0, le=500)]
Ensemble = Annotated[Literal["nve", "nvt", "npt-iso", "npt-aniso", "npt-tri"], one_of(ENSEMBLES)]


class StructureFile(Section):
    """A structure file, or a shell pattern of several."""

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


class SysConfig(StructureFile):
    """One entry of ``sys_configs`` of a campaign."""

    section: ClassVar[str] = "explore.sys_configs"

    lower_model_devi_f: Threshold = LOWER
    upper_model_devi_f: Threshold = UPPER
    target_force_error: Threshold = TARGET

    def problems(self) -> Iterator[Problem]:
        yield from in_order(self, "lower_model_devi_f", "upper_model_devi_f")


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
    select_sys: list[Count] | dict[str, Count] | None = setting(
        None,
        meaning=(
            "largest number of frames labelled per structure: one number, one per entry of sys_idx, "
            "or by index "
            'of the structure, such as {"0": 20}'
        ),
    )
    lower_model_devi_f: Threshold = LOWER
    upper_model_devi_f: Threshold = UPPER
    target_force_error: Threshold = TARGET
    lmps_in_idx: list[Index] | None = setting(
        None,
        meaning=(
            "LAMMPS templates: indices into lmps_in, one for all or one per entry of sys_idx; "
            "ensemble, time step, "
            "number of steps, temperatures, pressures and damping are then the template's"
        ),
    )
    from_uncertain: int = setting(
        0,
        meaning=(
            "start from so many of the structure's frames that the last iteration labelled, the most "
            "uncertain "
            "first, in place of the structure; 0: always from the structure"
        ),
        ge=0,
    )
    ensemble: Ensemble = setting(
        "nvt", meaning="nve, nvt, npt (= npt-i = npt-iso), npt-a (aniso), npt-t (tri)"
    )
    nsteps: int | None = setting(None, meaning="number of steps; needed without lmps_in_idx", ge=1)
    md_dt: float = setting(0.001, meaning="time step", unit="ps", gt=0, le=0.02)
    trj_freq: int = setting(10, meaning="steps between two frames", ge=1)
    temps: list[Temperature] = setting([], meaning="temperatures; with nve those of the start", unit="K")
    temps_end: list[Temperature] = setting(
        [],
        meaning="ramps: temperatures at the end of the run, one for all or one per entry of temps",
        unit="K",
    )
    press: list[Pressure] = setting([], meaning="pressures, used by npt", unit="bar")
    taut: float = setting(0.1, meaning="damping time of the thermostat", unit="ps", gt=0)
    taup: float = setting(0.5, meaning="damping time of the barostat", unit="ps", gt=0)
    neigh_modify: int = setting(10, meaning="steps between two checks of the neighbour list", ge=0)
    mass: dict[str, Mass] = setting({}, meaning='masses by element, such as {"H": 2.014}', unit="u")
    boundary: bool = setting(True, meaning="accepted; every direction is periodic")
    merge_traj: bool = setting(False, meaning="accepted; frames of a trajectory are together anyway")

    @field_validator("mass", mode="before")
    @classmethod
    def _masses_by_element(cls, value: Any) -> Any:
        if isinstance(value, (str, list)):
            text = (
                'the predecessor\'s lines go by number of type; give masses by element, such as {"H": 2.014}'
            )
            raise ValueError(text)
        return value

    def problems(self) -> Iterator[Problem]:
        yield from in_order(self, "lower_model_devi_f", "upper_model_devi_f")
        if self.lmps_in_idx is None:
            yield from self._incomplete()
        yield from self._lengths()
        if len(set(self.sys_idx)) < len(self.sys_idx):
            yield Problem(("sys_idx",), f"{self.sys_idx} names a structure twice")
        for symbol in self.mass:
            if symbol not in atomic_numbers:
                yield Problem(("mass", symbol), "is not the symbol of an element")

    def _incomplete(self) -> Iterator[Problem]:
        """What our own input needs, and a template's does not."""
        if self.nsteps is None:
            yield Problem(("nsteps",), "required; the number of steps of a trajectory")
        elif self.trj_freq > self.nsteps:
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
        if self.temps_end and self.ensemble == "nve":
            yield Problem(("temps_end",), "nve has no thermostat that could follow it")

    def _lengths(self) -> Iterator[Problem]:
        """Lists that go along with another one."""
        for key, other in (("select_sys", "sys_idx"), ("lmps_in_idx", "sys_idx"), ("temps_end", "temps")):
            values, along = getattr(self, key), getattr(self, other)
            if isinstance(values, list) and values and len(values) not in (1, len(along)):
                text = f"has {len(values)} entries; allowed are 1, or {len(along)} as in {other}"
                yield Problem((key,), text)
        if isinstance(self.select_sys, dict):
            for name in self.select_sys:
                if name not in {str(index) for index in self.sys_idx}:
                    yield Problem(("select_sys", name), f"is not in sys_idx {self.sys_idx}")

    def remarks(self) -> Iterator[Problem]:
        if not self.boundary:
            yield Problem(("boundary",), "false has no effect, as in the predecessor: the cell is periodic")
        if self.merge_traj:
            yield Problem(("merge_traj",), "has no effect: frames of a trajectory are together anyway")
        template = self.lmps_in_idx is not None
        for key in ("ensemble", "nsteps", "md_dt", "temps", "temps_end", "press", "taut", "taup"):
            if template and key in self.model_fields_set:
                yield Problem((key,), "has no effect: the template says it")

    def cap(self, position: int, usual: int) -> int:
        """Largest number of frames labelled of the structure at ``position`` of ``sys_idx``."""
        if isinstance(self.select_sys, dict):
            return self.select_sys.get(str(self.sys_idx[position]), usual)
        caps = self.select_sys or [usual]
        return caps[position] if len(caps) > 1 else caps[0]


class Explore(Section):
    """The block ``explore``: entry k of ``md_jobs`` is iteration k, a list of blocks."""

    section: ClassVar[str] = "explore"

    sys_config_prefix: str | None = setting(None, meaning="folder put in front of every config")
    sys_configs: list[SysConfig] = setting(meaning="start structures", min_length=1)
    lmps_prefix: str | None = setting(None, meaning="folder put in front of every entry of lmps_in")
    lmps_in: list[InputFile] = setting([], meaning="LAMMPS inputs of your own, chosen by lmps_in_idx")
    md_jobs: list[list[MdJob]] = setting(meaning="iterations, each a list of blocks", min_length=1)
    stage_iterations: list[Count] = setting(
        [],
        meaning=(
            "entries of md_jobs are stages, each repeated until it has converged, at most so many "
            "times: one number "
            "for all or one each; absent: one iteration per entry"
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _prefix(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict) or not folder_of(info):
            return value
        prefix, templates = value.get("lmps_prefix"), value.get("lmps_in")
        if isinstance(prefix, str) and isinstance(templates, list):
            value = {**value, "lmps_in": [str(Path(prefix) / str(name)) for name in templates]}
        return with_prefix(value)

    def problems(self) -> Iterator[Problem]:
        for k, blocks in enumerate(self.md_jobs):
            if not blocks:
                yield Problem(("md_jobs", k), "is empty; an iteration needs at least one block")
            for m, job in enumerate(blocks):
                yield from self.beyond(job.sys_idx, ("md_jobs", k, m, "sys_idx"))
                for i, index in enumerate(job.lmps_in_idx or []):
                    if index >= len(self.lmps_in):
                        text = f"{index} is not a template; lmps_in has {len(self.lmps_in)} entries"
                        yield Problem(("md_jobs", k, m, "lmps_in_idx", i), text)
        if len(self.stage_iterations) not in (0, 1, len(self.md_jobs)):
            n, m = len(self.stage_iterations), len(self.md_jobs)
            yield Problem(("stage_iterations",), f"has {n} entries; allowed are 1, or {m} as in md_jobs")

    def remarks(self) -> Iterator[Problem]:
        for k, blocks in enumerate(self.md_jobs):
            for m, job in enumerate(blocks):
                for loc, message in job.remarks():
                    yield Problem(("md_jobs", k, m, *loc), message)

    def beyond(self, indices: list[int], loc: Loc) -> Iterator[Problem]:
        """The indices at ``loc`` that name no structure."""
        last = len(self.sys_configs) - 1
        for i, index in enumerate(indices):
            if index > last:
                yield Problem(
                    (*loc, i), f"{index} is not a structure; sys_configs has the indices 0 to {last}"
                )
