"""Level of theory of a CP2K label: what in its input decides the numbers, and nothing else.

It is the same for a label, a relaxation and AIMD: how the atoms move is no part of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alpw.codes.corrections import is_numerical
from alpw.codes.cp2k.corrections import INPUT, RULES, STRUCTURE
from alpw.codes.cp2k.data import file_hash, find_data_file
from alpw.codes.cp2k.outputs import read_version
from alpw.codes.cp2k.sections import Section, read
from alpw.codes.protocol import INPUTS_FILE


def settings(directory: Path) -> dict[str, Any]:
    """Level of theory as run, read back from the last input and the output.

    Rules stand for what they give: ``kspacing`` for the meshes of different cells, the default kind for the
    ``&KIND`` of whatever elements a structure has. Equal levels of theory then have equal settings.

    Returns:
        ``code``, ``version``, ``kpoints``, ``files`` (SHA-256 of each data file) and ``input`` (nested).
    """
    root = read(directory / INPUT)
    rules = json.loads((directory / INPUTS_FILE).read_text())["rules"]
    dft, subsys = root.need("FORCE_EVAL/DFT"), root.need("FORCE_EVAL/SUBSYS")
    mesh = dft.find("KPOINTS")
    kpoints: Any = _level(mesh, "FORCE_EVAL/DFT/KPOINTS") if mesh else "gamma"
    if rules["kspacing"] is not None:
        kpoints = {"kspacing": rules["kspacing"]}
    dft.remove("KPOINTS")
    if rules["kind"]:
        subsys.remove("KIND")
        subsys.sections.append(
            Section("KIND", "every element", [(key.upper(), name) for key, name in rules["kind"].items()])
        )
    return {
        "code": "CP2K",
        "version": read_version(directory),
        "kpoints": kpoints,
        "files": _data_files(root, directory),
        "input": _level(root.need("FORCE_EVAL"), "FORCE_EVAL"),
    }


def _level(section: Section, path: str) -> dict[str, Any]:
    """A section as nested dict without what is numerical, independent of order, case and number format."""
    level: dict[str, Any] = {}
    for keyword, value in section.keywords:
        name = keyword.upper()
        if not is_numerical(RULES, f"{INPUT}/{path}/{name}") and not name.endswith("FILE_NAME"):
            level.setdefault(name, []).append(_canonical(value))
    for child in section.sections:
        child_path = f"{path}/{child.name}"
        is_structure = path.endswith("/SUBSYS") and child.name in STRUCTURE
        if child.name == "PRINT" or is_structure or is_numerical(RULES, f"{INPUT}/{child_path}/_"):
            continue
        level[f"&{child.name} {_canonical(child.argument)}".rstrip()] = _level(child, child_path)
    return level


def _canonical(value: str) -> str:
    return " ".join(_canonical_word(word) for word in value.split())


def _canonical_word(word: str) -> str:
    try:
        return f"{float(word.upper().replace('D', 'E')):.12g}"
    except ValueError:
        return word.upper()


def _data_files(root: Section, directory: Path) -> dict[str, list[str]]:
    """SHA-256 of every data file the input names; the bare name where CP2K found it and we cannot."""
    files: dict[str, list[str]] = {}
    dft = f"{INPUT}/FORCE_EVAL/DFT"
    for section in root.walk():
        for keyword, value in section.keywords:
            name = keyword.upper()
            if name.endswith("FILE_NAME") and not is_numerical(RULES, f"{dft}/{name}"):
                path = find_data_file(value.strip("\"'"), directory)
                files.setdefault(name, []).append(file_hash(path) if path else value.strip("\"'"))
    return files
