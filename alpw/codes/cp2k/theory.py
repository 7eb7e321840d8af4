"""Level of theory of a CP2K label: what in its input decides the numbers, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alpw.codes.cp2k.data import file_hash, find_data_file
from alpw.codes.cp2k.inputs import INPUT
from alpw.codes.cp2k.outputs import read_output
from alpw.codes.cp2k.sections import Section, read
from alpw.codes.protocol import INPUTS_FILE

NUMERICAL_PATH: dict[str, set[str] | None] = {
    "GLOBAL": None,
    "FORCE_EVAL/SUBSYS/CELL": None,
    "FORCE_EVAL/SUBSYS/COORD": None,
    "FORCE_EVAL/DFT": {"WFN_RESTART_FILE_NAME", "RESTART_FILE_NAME"},
    "FORCE_EVAL/DFT/KPOINTS": {"PARALLEL_GROUP_SIZE", "VERBOSE"},
    "FORCE_EVAL/DFT/QS": {"EXTRAPOLATION", "EXTRAPOLATION_ORDER"},
    "FORCE_EVAL/DFT/SCF": {
        "CHOLESKY",
        "EPS_DIIS",
        "EPS_SCF_HISTORY",
        "IGNORE_CONVERGENCE_FAILURE",
        "MAX_DIIS",
        "MAX_SCF",
        "MAX_SCF_HISTORY",
        "SCF_GUESS",
    },
    "FORCE_EVAL/DFT/SCF/DIAGONALIZATION": None,
    "FORCE_EVAL/DFT/SCF/MIXING": None,
    "FORCE_EVAL/DFT/SCF/OT": None,
    "FORCE_EVAL/DFT/SCF/OUTER_SCF": {"DIIS_BUFFER_LENGTH", "MAX_SCF", "OPTIMIZER", "STEP_SIZE", "TYPE"},
}
"""Keys that change how the answer is reached, not the answer; None stands for the whole section. ``PRINT``
sections are left out everywhere. EPS_SCF stays: it is how well the answer is known."""


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
        "version": read_output(directory).version,
        "kpoints": kpoints,
        "files": _data_files(root, directory),
        "input": _level(root.need("FORCE_EVAL"), "FORCE_EVAL"),
    }


def _level(section: Section, path: str) -> dict[str, Any]:
    """A section as nested dict without its numerical path, independent of order, case and number format."""
    left_out = NUMERICAL_PATH.get(path, set()) or set()
    level: dict[str, Any] = {}
    for keyword, value in section.keywords:
        name = keyword.upper()
        if name not in left_out and not name.endswith("FILE_NAME"):
            level.setdefault(name, []).append(_canonical(value))
    for child in section.sections:
        child_path = f"{path}/{child.name}"
        if child.name == "PRINT" or (child_path in NUMERICAL_PATH and NUMERICAL_PATH[child_path] is None):
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
    for section in root.walk():
        for keyword, value in section.keywords:
            name = keyword.upper()
            if name.endswith("FILE_NAME") and name not in NUMERICAL_PATH["FORCE_EVAL/DFT"]:  # type: ignore[operator]
                path = find_data_file(value.strip("\"'"), directory)
                files.setdefault(name, []).append(file_hash(path) if path else value.strip("\"'"))
    return files
