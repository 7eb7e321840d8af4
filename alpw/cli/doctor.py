"""``alpw doctor``: can a campaign run here?"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from fireworks import fw_config
from rich.text import Text

from alpw.cli.common import (
    EXIT_FAILED,
    STYLES,
    AsJson,
    LaunchpadFile,
    console,
    errors_as_exit_status,
    print_json,
)
from alpw.cluster import pitfalls
from alpw.cluster.fw_config import config_files
from alpw.cluster.queue.files import queue_blocks
from alpw.cluster.queue.trial import script_findings
from alpw.codes import lammps
from alpw.codes.registry import CODES, available
from alpw.config.load import load_inputs
from alpw.config.param import Param
from alpw.config.resource import Resource
from alpw.database import exposure
from alpw.database.access import describe
from alpw.database.launchpad import find_launchpad_file
from alpw.database.secrets import without_secrets
from alpw.errors import AlpwError, InputError
from alpw.findings import Finding, Severity
from alpw.workflows.check import check_inputs

#: Free disk space below which trajectories and labels may not fit, in GB.
LEAST_DISK_GB = 2.0
Looked = TypeVar("Looked", Path, list[Path])


def doctor(
    param_file: Annotated[
        Path | None, typer.Argument(metavar="[PARAM]", help="param.json to check for.")
    ] = None,
    resource_file: Annotated[
        Path | None, typer.Argument(metavar="[RESOURCE]", help="resource.json to check for.")
    ] = None,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Look at database, LAMMPS, torch, label engines, SLURM, disk, secrets and FireWorks, one line each.

    With PARAM and RESOURCE, only what these inputs need decides the exit status: 1 if they cannot run. The
    job script of each block with a queue is shown to SLURM then, and nothing is submitted. A warning (warn)
    names what will hurt, and changes no exit status.

    Example: `alpw doctor param.json resource.json`
    """
    with errors_as_exit_status():
        if param_file and not resource_file:
            raise InputError("give resource.json as well: doctor PARAM RESOURCE", param_file)
        inputs = load_inputs(param_file, resource_file) if param_file and resource_file else None
        findings = [*examine(inputs, launchpad), *warnings(inputs, launchpad)]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = Text(f"{finding.severity.value:6}", style=STYLES[finding.severity])
            console.print(mark + Text(f" {finding.subject:<14} {finding.text}"), soft_wrap=True)
    if any(finding.severity is Severity.FAIL for finding in findings):
        raise typer.Exit(EXIT_FAILED)


def examine(inputs: tuple[Param, Resource] | None, launchpad: Path | None) -> list[Finding]:
    """What can run here; without inputs, what the default engines need counts as needed."""
    style = inputs[0].dft.dft_style if inputs else "xtb"
    folder = inputs[0].work_dir if inputs else Path.cwd()
    queued = bool(inputs and queue_blocks(inputs[1]))
    engines = [_finding(f"label {name}", name == style, partial(available, name)) for name in CODES]
    findings = [
        _finding("database", True, lambda: describe(launchpad)),
        _finding("LAMMPS", True, lammps.available),
        _finding("torch", True, _torch),
        *engines,
        _finding("SLURM", queued, _slurm),
        _finding("disk", True, lambda: _disk(folder)),
    ]
    if inputs:
        findings.append(_finding("inputs", True, lambda: _label_inputs(*inputs)))
        findings += script_findings(*inputs)
    return findings


def warnings(inputs: tuple[Param, Resource] | None, launchpad: Path | None) -> Iterator[Finding]:
    """What will hurt: an open database, secrets that others can read, FireWorks' pitfalls."""
    here, home = Path.cwd(), Path.home() / ".fireworks"
    try:
        file = find_launchpad_file(launchpad)
    except InputError:
        # It is told where the database was looked at.
        file = None
    places = [here, home, *([file.resolve().parent] if file else [])]
    secrets = exposure.launchpad_files(*places)
    if inputs and inputs[0].webhook:
        secrets[inputs[0].file] = "the address of a webhook"
    if file:
        yield from _warned(exposure.database_findings, file)
        yield from _warned(pitfalls.launchpad_findings, file)
    yield from exposure.file_findings(secrets)
    configured, adapters = config_files(), pitfalls.adapter_files(here, home)
    # They hurt those who call FireWorks' own commands.
    if configured or adapters or (inputs and queue_blocks(inputs[1])):
        yield from pitfalls.setting_findings(fw_config.config_to_dict())
    yield from _warned(pitfalls.config_findings, configured)
    for adapter in adapters:
        yield from _warned(pitfalls.adapter_findings, adapter)


def _warned(look: Callable[[Looked], Iterator[Finding]], at: Looked) -> Iterator[Finding]:
    """What is found in a file; one that cannot be read is a finding too."""
    try:
        yield from look(at)
    except InputError as error:
        yield Finding("file", Severity.WARN, str(error))


def _finding(subject: str, needed: bool, look: Callable[[], tuple[bool, str]]) -> Finding:
    try:
        ok, text = look()
    except AlpwError as error:
        ok, text = False, str(error)
    missing = Severity.FAIL if needed else Severity.ABSENT
    return Finding(subject, Severity.OK if ok else missing, without_secrets(text))


def _torch() -> tuple[bool, str]:
    # torch takes seconds to import, and only this check and the models need it.
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    return True, f"{torch.__version__} on {device}, {torch.get_num_threads()} threads"


def _slurm() -> tuple[bool, str]:
    if not shutil.which("sinfo"):
        return False, "sinfo is not on PATH; tasks run on this machine"
    answer = subprocess.run(
        ["sinfo", "--noheader", "--format=%P %D nodes %t"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if answer.returncode:
        return False, f"sinfo failed: {answer.stderr.strip().splitlines()[-1]}"
    return True, "; ".join(answer.stdout.split("\n")).strip("; ")


def _disk(folder: Path) -> tuple[bool, str]:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    enough = free >= LEAST_DISK_GB
    return enough, f"{free:.1f} GB free in {existing}" + ("" if enough else f", below {LEAST_DISK_GB:g} GB")


def _label_inputs(param: Param, resource: Resource) -> tuple[bool, str]:
    check_inputs(param, resource)
    return (
        True,
        f"campaign {param.campaign}: {param.dft.dft_style} labels for {' '.join(param.train.atom_type)}",
    )
