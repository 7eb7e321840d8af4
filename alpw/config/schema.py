"""JSON schema of the input files, for editors that complete and check keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alpw.config.init_bulk import InitBulk
from alpw.config.param import Param
from alpw.config.resource import Resource
from alpw.config.section import Section
from alpw.config.vocabulary import MOVED, SPELLINGS

FILES: dict[str, type[Section]] = {"param": Param, "init_param": InitBulk, "resource": Resource}


def json_schema(file: str = "param") -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of ``"param"``, ``"init_param"`` or ``"resource"``.

    A schema cannot say that keys are case-insensitive, nor see files; reading the file checks more.
    """
    schema = FILES[file].model_json_schema()
    defined = schema.get("$defs", {})
    blocks = {m.section: defined[m.__name__] for m in _sections(Section) if m.__name__ in defined}
    blocks[FILES[file].section] = schema
    for section, spellings in SPELLINGS.items():
        if block := blocks.get(section):
            for other, key in spellings.items():
                block["properties"][other] = block["properties"][key]
            block["required"] = [key for key in block.get("required", []) if key not in spellings.values()]
    for section, moved in reversed(MOVED.items()):
        for key, target in moved.items() if section in blocks else ():
            below = blocks[f"{section}.{target}".strip(".") if section != "init_bulk" else target]
            blocks[section]["properties"][key] = below["properties"][key]
    if file == "param":
        # The file that train_input_file names may have the rest.
        del blocks["train"]["required"]
    for block in (schema, *schema.get("$defs", {}).values()):
        block["patternProperties"] = {"^_": {}}
        block["properties"] = {key: _scalar_or_list(value) for key, value in block["properties"].items()}
    return schema


def _sections(model: type[Section]) -> Iterator[type[Section]]:
    """A model of input files and all that are derived from it."""
    for derived in model.__subclasses__():
        yield derived
        yield from _sections(derived)


def _scalar_or_list(value: dict[str, Any]) -> dict[str, Any]:
    """A list that may also be written as its only entry."""
    if value.get("type") != "array":
        return value
    described: dict[str, Any] = {
        key: value[key] for key in ("description", "default", "unit") if key in value
    }
    return {**described, "anyOf": [value, value["items"]]}
