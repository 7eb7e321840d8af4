"""PWact's input files in the words of ours: most of them are the same already.

What ALPW reads of them is what counts (docs/inputs.md); this writes it down with present names, merges what a
block has in several places, and tells of every key what became of it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from alpw.config.flags import flag_text, take_all_flags
from alpw.config.init_bulk import InitBulk
from alpw.config.json_file import InputErrors
from alpw.config.keys import Finding, Translation, translate
from alpw.config.param import Param
from alpw.config.resource import InitResource, Resource
from alpw.config.vocabulary import CHOICES_NOT_AVAILABLE
from alpw.legacy.notes import Converted, Fate, NoteBook, Place, Rebase, dotted, is_comment, leaves

Model = type[Param] | type[Resource] | type[InitResource] | type[InitBulk]

PATHS = frozenset(
    {
        *("work_dir", "init_data", "valid_data", "train.deepmd_input", "train.init_models"),
        *("dft.input", "dft.pseudo", "dft.in_skf", "dft.model", "scf_pseudo"),
        *("dft.gaussian_param.basis_set_file", "dft.gaussian_param.potential_file"),
        *("dft.basis_set_file", "dft.potential_file"),
        *("relax_input.input", "aimd_input.input", "scf_input.input", "bigmodel_input.model"),
    }
)
"""Keys of ours whose values are paths, without indices."""

PREFIXED = {
    "explore.sys_configs.config": "explore.sys_config_prefix",
    "sys_configs.config": "sys_config_prefix",
    "explore.lmps_in": "explore.lmps_prefix",
}
"""Paths behind a prefix, which is rebased in their place if there is one."""

REPLACED = {
    "work_dir": "absent: the folder of the file",
    "train.train_input_file": "its keys stand in the block `train` now",
}
"""Keys that need not be written any more."""

DEFAULTS: dict[str, tuple[tuple[str, str], ...]] = {
    "Param": (
        ("train.optimizer.optimizer", "ADAM, as in PWact; AL-PWMLFF took LKF"),
        ("train.optimizer.pre_fac_etot", "10 with a Kalman filter, beside forces that are not divided by n"),
        ("strategy.deviation", "dpgen, as in PWact from 0.4.2 on; thresholds of before do not carry over"),
        ("strategy.validation_frames", "4 frames of each iteration are labelled and held out besides"),
        ("strategy.accurate_ratio", "the campaign ends early when 95 % of the frames are accurate"),
    )
}
"""What a file that does not say otherwise gets, where that is new or not the same in all versions."""


def convert_pwact(raw: dict[str, Any], model: Model, file: Path, rebase: Rebase) -> Converted:
    """Write one of PWact's files with our names.

    Args:
        raw: the parsed file.
        model: what it is.
        file: where it was read; files that it names are looked for from there.
        rebase: writes a path of the source for the new file.
    """
    content, found = translate(model, raw, file)
    left_out = [finding for finding in found.problems if _is_left_out(finding)]
    if errors := [finding.error() for finding in found.problems if finding not in left_out]:
        raise InputErrors(errors)
    for finding in left_out:
        _drop(content, finding.loc)
    book = NoteBook(file.name)
    (content.get("train") or {}).pop("train_input_file", None)
    if content.get("work_dir") in (".", "./"):
        del content["work_dir"]
    _note(raw, content, found, left_out, book)
    if issubclass(model, Resource):
        for name, flag, key in take_all_flags(content):
            place = _plain(found.places[name, "custom_flags"].key)
            book.changed(place, f"{name}.{key}" if key else "", flag_text(flag, key))
    content = _rebased(content, rebase)
    remarks = [f"{key}: {text}" for key, text in DEFAULTS.get(model.__name__, ()) if not _has(content, key)]
    return Converted(content, book.complete(raw, "not known, neither there nor here"), remarks)


def _is_left_out(finding: Finding) -> bool:
    """Whether a problem is that a key or its value means nothing here, which PWact's users need not mend."""
    known = ("not available", "unknown key")
    return dotted(finding.loc) in CHOICES_NOT_AVAILABLE or finding.message.startswith(known)


def _note(
    raw: dict[str, Any],
    content: dict[str, Any],
    found: Translation,
    left_out: list[Finding],
    book: NoteBook,
) -> None:
    # Without indices, as a single block stands for a list of one, whose place has one more.
    here = {loc: place.key for loc, place in found.places.items() if place.file.name == book.file}
    written = {_plain(key): dotted(loc) for loc, key in here.items()}
    without = {_plain(finding.place.key): finding.message for finding in (*found.notes, *left_out)}
    names = {dotted(path[:n]) for path, _ in leaves(content) for n in range(1, len(path) + 1)}
    for path, _ in leaves(raw):
        if is_comment(path):
            continue
        if (message := _nearest(without, path)) is not None:
            text, _, advice = message[0].removeprefix("has no effect: ").partition("; ")
            # What all keys of a block are is for documents, not for a table.
            book.absent(path, text, "" if text == "unknown key" else advice)
        elif (text := REPLACED.get(dotted(path).lower(), "")) and not _has(content, dotted(path).lower()):
            book.changed(path, "", text)
        elif (place := _nearest(written, path)) and (ours := dotted((place[0], *place[1]))) in names:
            same = ours == dotted(path)
            how = (Fate.TAKEN, ours, "") if same else (Fate.CHANGED, ours, "another name or place")
            book.add(path, *how)
        else:
            book.taken(path, "", "asks for nothing, or says again what another key says")


def _nearest(table: dict[str, Any], path: Place) -> tuple[Any, Place] | None:
    """What a table has for a place or for the nearest block that holds it, and the rest of the place."""
    for length in range(len(path), 0, -1):
        if isinstance(path[length - 1], str) and (key := dotted(path[:length])) in table:
            return table[key], path[length:]
    return None


def _plain(key: str) -> str:
    return re.sub(r"\[\d+\]", "", key)


def _rebased(content: dict[str, Any], rebase: Rebase) -> dict[str, Any]:
    prefixes = {ours for ours in PREFIXED.values() if _has(content, ours)}

    def walk(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {name: walk(inner, f"{key}.{name}" if key else name) for name, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, key) for inner in value]
        is_path = key in PATHS or key in prefixes or (key in PREFIXED and PREFIXED[key] not in prefixes)
        return rebase(value) if is_path and isinstance(value, str) and value else value

    result: dict[str, Any] = walk(content, "")
    return result


def _has(content: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(content, dict) or part not in content:
            return False
        content = content[part]
    return content is not None


def _drop(content: Any, loc: Place) -> None:
    """Leave out a value; the model's default or its complaint takes its place."""
    for part in loc[:-1]:
        content = content[part] if isinstance(part, int) else content.get(part, {})
    if isinstance(content, dict):
        content.pop(loc[-1], None)
