"""The parts that all input models are built from: the base model, the field, paths and choices."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Self

Loc = tuple[str | int, ...]
"""Place of a value: keys and list indices, ``("explore", "md_jobs", 0, 0, "temps")``."""


class Problem(NamedTuple):
    """What is wrong (or worth a note) with the value at ``loc``."""

    loc: Loc
    message: str


def raise_problems(found: list[Problem]) -> None:
    """Hands the problems of one block to pydantic, each with its own place; none, no error."""
    if found:
        raise PydanticCustomError("problems", "{text}", {"text": found[0].message, "problems": found})


def unknown_key(key: str, known: Sequence[str]) -> str:
    """What to tell about a key that a block does not have."""
    nearest = difflib.get_close_matches(key, known, n=1)
    return (
        f"unknown key, did you mean '{nearest[0]}'?"
        if nearest
        else f"unknown key; known are {', '.join(known)}"
    )


def setting(default: Any = ..., *, meaning: str, unit: str = "", **limits: Any) -> Any:
    """A field of an input model with its meaning and physical unit, which errors and documents quote."""
    if unit:
        limits["json_schema_extra"] = {"unit": unit}
    return Field(default, description=meaning, **limits)


class Section(BaseModel):
    """A block of an input file. Strict types, no unknown keys, immutable once read."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    section: ClassVar[str] = ""
    """where the tables of the vocabulary know it"""

    imports: ClassVar[str] = ""
    """the key whose value is a file with further keys of this block"""

    @classmethod
    def shorthand(cls, value: Any) -> Any:
        """The block that a shorter value stands for; anything else as it is."""
        return value

    def problems(self) -> Iterator[Problem]:
        """What the values of this block, each valid by itself, do to each other."""
        return iter(())

    def file_problems(self) -> Iterator[Problem]:
        """What is asked only while an input file is being read.

        What the files that this block names do to it, and what campaigns that began before it was refused
        may hold.
        """
        return iter(())

    def remarks(self) -> Iterator[Problem]:
        """What is valid and has no effect; notes, not errors."""
        return iter(())

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Self:
        files = self.file_problems() if folder_of(info) else ()
        raise_problems([*self.problems(), *files])
        return self


def folder_of(info: ValidationInfo) -> Path | None:
    """The folder of the input file that is being read; relative paths start there.

    ``None`` when no file is being read: values out of the database were checked before, and their paths may
    lie on another machine, so that none of them is touched.
    """
    folder: Path | None = (info.context or {}).get("folder")
    return folder


def resolve(path: str, folder: Path) -> Path:
    """An absolute path: ``~`` expanded, relative paths taken from ``folder``."""
    return (folder / Path(path).expanduser()).resolve()


def expand(pattern: str, folder: Path) -> list[Path]:
    """The existing paths that a path or a shell pattern names, sorted.

    Raises:
        ValueError: nothing there; the message has the absolute path that was tried.
    """
    target = str(resolve(pattern, folder))
    # Path.glob takes no absolute patterns.
    hits = sorted(glob.glob(target, recursive=True)) if glob.has_magic(target) else [target]  # noqa: PTH207
    found = [Path(hit) for hit in hits if Path(hit).exists()]
    if not found:
        raise ValueError(f"nothing found at {target}")
    return found


def _as_path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) else value


def _existing(kind: Callable[[Path], bool], name: str) -> BeforeValidator:
    def check(value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        folder = folder_of(info)
        if value is None or folder is None:
            return _as_path(value)
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a path in quotes")
        path = resolve(value, folder)
        if not kind(path):
            raise ValueError(f"no {name} at {path}")
        return path

    return BeforeValidator(check, json_schema_input_type=str)


def data_file(value: Any, info: ValidationInfo) -> Any:
    """The absolute path of an existing file; a bare name that is no file stays, for the program to find."""
    folder = folder_of(info)
    if folder is None or not isinstance(value, str):
        return value
    path = resolve(value, folder)
    if not path.is_file() and Path(value).name != value:
        raise ValueError(f"no file at {path}")
    return str(path) if path.is_file() else value


def _any_path(value: Any, info: ValidationInfo) -> Any:
    folder = folder_of(info)
    return resolve(value, folder) if isinstance(value, str) and folder else _as_path(value)


StoredPath = Annotated[Path, BeforeValidator(_as_path)]
InputFile = Annotated[Path, _existing(Path.is_file, "file")]
DataFile = Annotated[str, BeforeValidator(data_file)]
"""A file, or the name of one that the program brings along."""
InputFolder = Annotated[Path, _existing(Path.is_dir, "folder")]
AnyPath = Annotated[Path, BeforeValidator(_any_path, json_schema_input_type=str)]


def _data_sets(values: Any, info: ValidationInfo, *, stored: bool = False) -> Any:
    folder = folder_of(info)
    entries = values if isinstance(values, list) else [values]
    if folder is None:
        return [entry if is_stored(entry) else _as_path(entry) for entry in entries]
    paths: list[Path | str] = []
    problems: list[Problem] = []
    for i, entry in enumerate(entries):
        try:
            paths += _stored(entry, allowed=stored) if is_stored(entry) else _data_set(entry, folder)
        except ValueError as error:
            problems.append(Problem((i,), str(error)))
    raise_problems(problems)
    return paths


def is_stored(entry: Any) -> bool:
    """Whether an entry of ``init_data`` means frames of the database: ``query:...``, ``snapshot:NAME``."""
    return isinstance(entry, str) and entry.startswith(("query:", "snapshot:"))


def _stored(entry: str, *, allowed: bool) -> list[str]:
    if not allowed:
        raise ValueError(
            f"{entry!r} is in the database, which campaigns read; `alpw export` makes a file of it"
        )
    return [entry]


def _data_set(entry: Any, folder: Path) -> list[Path]:
    if not isinstance(entry, str):
        raise ValueError(f"{entry!r} is not a path in quotes")
    found = expand(entry, folder)
    for path in found:
        marks = (f"{d}{name}" for d in ("", "*/", "*/*/") for name in ("image_type.npy", "type.raw"))
        if path.is_dir() and not any(True for mark in marks for _ in path.glob(mark)):
            raise ValueError(
                f"the folder {path} holds no PWdata (image_type.npy) and no system of deepmd-kit (type.raw)"
            )
    return found


DataSets = Annotated[list[Path], BeforeValidator(_data_sets, json_schema_input_type=list[str])]
"""Labelled data: files, PWdata (with train/ and valid/, or flat), systems of deepmd-kit, patterns of them."""


def _campaign_data(values: Any, info: ValidationInfo) -> Any:
    return _data_sets(values, info, stored=True)


CampaignData = Annotated[
    list[Path | str],
    BeforeValidator(_campaign_data, json_schema_input_type=list[str]),
]
"""The same, or ``query:...`` and ``snapshot:NAME`` of the campaign's database."""


def one_of(names: Mapping[str, str]) -> BeforeValidator:
    """Accepts any case and any synonym of a choice; ``names`` maps lower-case spellings to the value."""

    def choose(value: Any) -> Any:
        return names.get(value.strip().lower(), value) if isinstance(value, str) else value

    return BeforeValidator(choose)


def choices(*values: str) -> BeforeValidator:
    """Accepts any case of the given values."""
    return one_of({value.lower(): value for value in values})
