"""What hurts users of FireWorks' own commands: settings, queue adapters, versions.

Functions that read a file raise :class:`~alpw.errors.InputError` where it is no YAML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

from alpw.config.amounts import asked_duration
from alpw.config.yaml_file import read_settings
from alpw.findings import Finding, Severity

#: Settings of FW_config.yaml that name a file or a folder.
PLACES = ("LAUNCHPAD_LOC", "FWORKER_LOC", "QUEUEADAPTER_LOC", "CONFIG_FILE_DIR", "TEMPLATE_DIR")


@dataclass(frozen=True)
class Pitfall:
    """One setting of FireWorks, when it hurts, and why."""

    key: str
    hurts: Callable[[Any], bool]
    text: str


PITFALLS = (
    Pitfall(
        "QUEUE_UPDATE_INTERVAL",
        lambda seconds: seconds > 1,
        "qlaunch sleeps {value} s after each job; write 0.2 into FW_config.yaml",
    ),
    Pitfall(
        "RAPIDFIRE_SLEEP_SECS",
        lambda seconds: seconds > 10,
        "qlaunch and rlaunch sleep {value} s whenever nothing is ready; write 2 into FW_config.yaml",
    ),
    Pitfall(
        "PING_TIME_SECS",
        lambda seconds: seconds > 600,
        "lpad detect_lostruns takes a killed job for alive during four times {value} s; write 300 into "
        "FW_config.yaml, RUN_EXPIRATION_SECS 1200 with it",
    ),
    Pitfall(
        "DS_PASSWORD",
        lambda word: word in (b"1234", "1234"),
        "rlaunch multi opens a port with a password that everybody knows: another user of the node could run "
        "code as you; write one of your own into FW_config.yaml, or leave rlaunch multi alone",
    ),
    Pitfall(
        "MONGOMOCK_SERVERSTORE_FILE",
        bool,
        "FireWorks works with {value} in place of the database; remove it",
    ),
)


#: Time limits of sbatch that are none.
NO_LIMIT = ("unlimited", "infinite", "-1")

#: How the names of settings end that are a number of seconds.
SECONDS = ("_INTERVAL", "_SECS")


def setting_findings(settings: Mapping[str, Any]) -> Iterator[Finding]:
    """What of FireWorks' settings hurts; ``settings`` as `fireworks.fw_config.config_to_dict` gives them."""
    wrong = [key for key, value in settings.items() if key.endswith(SECONDS) and not _is_number(value)]
    for key in wrong:
        yield _warning(f"{key}: {settings[key]!r} is no number of seconds; correct it in FW_config.yaml")
    for pitfall in PITFALLS:
        value = settings.get(pitfall.key)
        if value is not None and pitfall.key not in wrong and pitfall.hurts(value):
            yield _warning(f"{pitfall.key}: {pitfall.text.format(value=value)}")
    if int(version("monty").partition(".")[0]) >= 2026:
        yield _warning(f"monty {version('monty')} breaks `rlaunch --offline`: pip install 'monty<2026'")


def config_findings(files: list[Path]) -> Iterator[Finding]:
    """What is wrong with the FW_config.yaml files that FireWorks finds."""
    if len(files) > 1:
        others = ", ".join(map(str, files[1:]))
        yield _warning(f"FireWorks heeds {files[0]} and not {others}; keep one")
    for file in files[:1]:
        for key, value in read_settings(file).items():
            if key in PLACES and not Path(str(value)).is_absolute():
                text = f"{file}: {key}: {value} means another place in every folder; write an absolute path"
                yield _warning(text)


def launchpad_findings(file: Path) -> Iterator[Finding]:
    """What in a my_launchpad.yaml hurts."""
    settings = read_settings(file)
    if str(settings.get("strm_lvl", "")).upper() in ("DEBUG", "INFO"):
        text = f"{file}: strm_lvl: FireWorks' messages stand between ours, in --json too; write WARNING"
        yield _warning(text)
    if (logs := settings.get("logdir")) and not Path(str(logs)).expanduser().is_dir():
        yield _warning(f"{file}: logdir: {logs} is no folder")


def adapter_findings(file: Path) -> Iterator[Finding]:
    """What in a my_qadapter.yaml hurts; other queues than SLURM are not looked at."""
    adapter = read_settings(file)
    if adapter.get("_fw_q_type") != "SLURM":
        return
    place = adapter.get("_fw_template_file") or CommonAdapter._get_default_template_file("SLURM")
    template = Path(place).read_text()
    known = set(re.findall(r"\$\$\{([^}]+)\}", template)) | {"logdir"}
    for key in sorted(key for key in adapter if not key.startswith("_") and key not in known):
        meant = "queue" if key == "partition" else next(iter(get_close_matches(key, known)), None)
        yield _warning(f"{file}: {key}: is ignored" + (f"; write {meant}" if meant else ""))
    time = adapter.get("walltime")
    if time is not None and str(time).lower() not in NO_LIMIT and asked_duration(str(time)) is None:
        yield _warning(f"{file}: walltime: {time!r} is no time limit for sbatch; write e.g. 24:00:00")
    if (logs := adapter.get("logdir")) and not Path(str(logs)).is_dir():
        yield _warning(f"{file}: logdir: {logs} is no folder; qlaunch -m would wait for it without a word")
    if "--no-requeue" not in template + str(adapter.get("pre_rocket")):
        text = "pre_rocket: without '#SBATCH --no-requeue' a job that SLURM starts anew loses its Firework"
        yield _warning(f"{file}: {text}")
    launcher = str(adapter.get("rocket_launch") or "").split()
    for word in launcher[:1] + [word for word in launcher if word.endswith((".yaml", ".json"))]:
        if not Path(word.strip("'\"")).is_absolute():
            text = f"rocket_launch: {word} depends on the job's PATH and folder; write an absolute path"
            yield _warning(f"{file}: {text}")


def adapter_files(*folders: Path) -> list[Path]:
    """The queue adapters that qlaunch could take in these folders."""
    found = [file.resolve() for folder in folders for file in sorted(folder.glob("*qadapter*.yaml"))]
    return list(dict.fromkeys(found))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _warning(text: str) -> Finding:
    return Finding("FireWorks", Severity.WARN, text)
