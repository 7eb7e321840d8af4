"""``alpw doctor``: can a campaign run here?"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from alpw.cli.common import EXIT_FAILED, AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.cluster.queue.files import queue_blocks
from alpw.codes import lammps
from alpw.codes.registry import CODES, available
from alpw.config.load import load_inputs
from alpw.config.param import Param
from alpw.config.resource import Resource
from alpw.database.access import describe
from alpw.errors import AlpwError, InputError
from alpw.workflows.check import check_inputs

#: Free disk space below which trajectories and labels may not fit, in GB.
LEAST_DISK_GB = 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: what was looked at, whether it serves, and what there is or what to do."""

    subject: str
    ok: bool
    needed: bool
    text: str


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
    """Look at database, LAMMPS, torch, label engines, SLURM and disk, one line each.

    With PARAM and RESOURCE, only what these inputs need decides the exit status: 1 if they cannot run.

    Example: `alpw doctor param.json resource.json`
    """
    with errors_as_exit_status():
        if param_file and not resource_file:
            raise InputError("give resource.json as well: doctor PARAM RESOURCE", param_file)
        inputs = load_inputs(param_file, resource_file) if param_file and resource_file else None
        findings = examine(inputs, launchpad)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            console.print(_mark(finding) + Text(f" {finding.subject:<14} {finding.text}"), soft_wrap=True)
    if any(finding.needed and not finding.ok for finding in findings):
        raise typer.Exit(EXIT_FAILED)


def _mark(finding: Finding) -> Text:
    if finding.ok:
        return Text("ok  ", style="green")
    return Text("FAIL", style="red") if finding.needed else Text("-   ", style="dim")


def examine(inputs: tuple[Param, Resource] | None, launchpad: Path | None) -> list[Finding]:
    """Every finding; without inputs, what the default engines need counts as needed."""
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
    return findings


def _finding(subject: str, needed: bool, look: Callable[[], tuple[bool, str]]) -> Finding:
    try:
        ok, text = look()
    except AlpwError as error:
        ok, text = False, str(error)
    return Finding(subject, ok, needed, text)


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
