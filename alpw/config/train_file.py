"""What ``alpw train`` reads: the train block of a param.json, or a train json of PWMLFF or MatPL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from alpw.config.json_file import InputErrors, JsonObject, read_json
from alpw.config.keys import Translation, keys_of, translate
from alpw.config.load import validated
from alpw.config.param import DEFAULT_SEED, Param
from alpw.config.section import DataSets, Problem, Section, choices, setting
from alpw.config.train import Train
from alpw.errors import InputError


@dataclass(frozen=True)
class TrainInput:
    """One training outside a campaign.

    Attributes:
        file: the file that was read.
        train: the model and its training; ``seed`` is set.
        train_data: files and folders with the training set; ``valid`` folders of PWdata are held out.
        valid_data, test_data: files and folders with frames to validate and to test with.
        notes: what was read and has no effect, one line each.
    """

    file: Path
    train: Train
    train_data: list[Path]
    valid_data: list[Path]
    test_data: list[Path]
    notes: list[str]


class TrainFile(Train):
    """A train json: the keys of the train block and its data."""

    train_data: DataSets = setting([], meaning="training sets")
    datasets_path: DataSets = setting([], meaning="PWdata folders with train and valid")
    raw_files: DataSets = setting([], meaning="training sets")
    valid_data: DataSets = setting([], meaning="validation sets")
    test_data: DataSets = setting([], meaning="test sets")
    format: Annotated[Literal["pwmlff/npy", "extxyz"] | None, choices("pwmlff/npy", "extxyz")] = setting(
        None, meaning="format of the data; recognised by content"
    )


class CampaignTraining(Section):
    """What a training by itself uses of a param.json."""

    section: ClassVar[str] = ""

    seed: int = setting(DEFAULT_SEED, meaning="seed of the campaign", ge=0)
    train: Train = setting(meaning="train block")
    init_data: DataSets = setting([], meaning="training sets")
    valid_data: DataSets = setting([], meaning="validation sets")


def load_train(path: str | Path, *, needs_data: bool = True) -> TrainInput:
    """Reads and checks what a training needs: a param.json (of a campaign, started or not), or a train json.

    Of a param.json only ``train``, ``init_data``, ``valid_data`` and ``seed`` are looked at.

    Args:
        path: the file.
        needs_data: whether it must name training data.

    Raises:
        InputError: anything that is wrong with it (an ``InputErrors`` that has every error).
    """
    path = Path(path).expanduser()
    raw = read_json(path)
    is_param = any(key.lower() == "train" and isinstance(value, dict) for key, value in raw.items())
    found = (_from_param if is_param else _from_train_json)(raw, path)
    if needs_data and not found.train_data:
        key = "init_data" if is_param else "train_data"
        text = "empty; a training needs labelled frames (extxyz, PWdata)"
        raise InputErrors([InputError(text, path, key)])
    return found


def _from_param(raw: JsonObject, path: Path) -> TrainInput:
    content, translation = translate(Param, raw, path)
    used = keys_of(CampaignTraining)
    translation.problems = [problem for problem in translation.problems if problem.loc[0] in used]
    content = {key: content[key] for key in used if key in content}
    if isinstance(content.get("train"), dict):
        content["train"] = {"seed": content.get("seed", DEFAULT_SEED), **content["train"]}
    loaded = validated(CampaignTraining, content, translation, path)
    return TrainInput(
        path,
        loaded.train,
        loaded.init_data,
        loaded.valid_data,
        [],
        _notes(translation, loaded.train, ("train",), path),
    )


def _from_train_json(raw: JsonObject, path: Path) -> TrainInput:
    content, translation = translate(TrainFile, raw, path)
    loaded = validated(TrainFile, {"seed": DEFAULT_SEED, **content}, translation, path)
    train = loaded.model_dump(exclude=set(keys_of(TrainFile)) - set(keys_of(Train)))
    return TrainInput(
        path,
        Train.model_validate(train),
        [*loaded.train_data, *loaded.datasets_path, *loaded.raw_files],
        loaded.valid_data,
        loaded.test_data,
        _notes(translation, loaded, (), path),
    )


def _notes(translation: Translation, train: Train, loc: tuple[str, ...], path: Path) -> list[str]:
    remarks = [translation.locate(Problem((*loc, *inner), text)) for inner, text in train.remarks()]
    found = [note for note in translation.notes if note.loc[: len(loc)] == loc]
    return [finding.note(path) for finding in (*found, *remarks)]
