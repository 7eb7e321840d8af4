"""FW_config.yaml, which FireWorks reads while it is imported, and which can make that fail.

This module imports FireWorks within a function only, to tell what is wrong with the file.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from alpw.config.yaml_file import read_settings
from alpw.errors import InputError

CONFIG_NAME = "FW_config.yaml"


def config_files() -> list[Path]:
    """The FW_config.yaml files that FireWorks finds from this folder; it heeds the first one."""
    folders = (Path.cwd(), Path.home() / ".fireworks", _package().parent)
    found = [folder / CONFIG_NAME for folder in folders if (folder / CONFIG_NAME).is_file()]
    if (named := os.environ.get("FW_CONFIG_FILE")) and Path(named).is_file():
        found.append(Path(named))
    return list(dict.fromkeys(file.resolve() for file in found))


def import_fireworks() -> None:
    """Import FireWorks, for the first time in this process, with a file that it can read.

    Raises:
        InputError: a FW_config.yaml that it cannot read; names the file, the key and what to do.
    """
    try:
        import fireworks.fw_config  # noqa: F401
    except ImportError:
        raise
    # The YAML reader's exceptions, FireWorks' own, and whatever a value of the wrong type leads to.
    except Exception as error:
        files = config_files()
        if not files:
            raise
        _check(files[0])
        reason = f"FireWorks cannot use it ({str(error).strip().splitlines()[0]}); correct or remove it"
        raise InputError(reason, file=files[0]) from error


def _check(file: Path) -> None:
    """Raise what is wrong with a file that FireWorks refuses, if that is known."""
    settings = read_settings(file)
    source = (_package() / "fw_config.py").read_text(encoding="utf-8")
    known = [*re.findall(r"^([A-Z_]+) = ", source, re.MULTILINE), "ADD_USER_PACKAGES", "ECHO_TEST"]
    for key in settings:
        if key not in known:
            nearest = get_close_matches(str(key), known, n=1)
            advice = f"write {nearest[0]}, or remove it" if nearest else "remove it"
            raise InputError(f"FireWorks has no such setting, and does not start; {advice}", file, str(key))


def _package() -> Path:
    """The folder of FireWorks, without importing it."""
    spec = find_spec("fireworks")
    if spec is None or spec.origin is None:
        raise ImportError("FireWorks is not installed")
    return Path(spec.origin).parent
