"""``alpw calculate``: one label, relaxation or AIMD run with a campaign's settings and without a database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ase.io import write
from ase.units import GPa

from alpw.cli.common import AsJson, ParamFile, ResourceFile, console, errors_as_exit_status, print_json
from alpw.codes.failures import REMEDIES
from alpw.codes.protocol import LabelResult, Record, Steps, Task
from alpw.codes.registry import code_of
from alpw.codes.run import run_label, run_steps
from alpw.config import load_inputs
from alpw.config.dft import Dft
from alpw.errors import CalculationError
from alpw.formats.extxyz import write_extxyz
from alpw.structures.frame import LabelledFrame
from alpw.structures.read import read_structure

RESULT = "result.xyz"
LAST = "last.xyz"
"""The structure in which a relaxation or AIMD ended, whether its last step can be a label or not."""


def calculate(
    task: Annotated[Task, typer.Argument(help="What to do with the structure.", case_sensitive=False)],
    param: ParamFile,
    resource: ResourceFile,
    structure: Annotated[Path, typer.Argument(help="Structure file: POSCAR, atom.config, cif, xyz, ...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")] = Path("calculation"),
    control: Annotated[
        Path | None, typer.Option("--input", help="Another control file than dft.input of param.json.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Time limit in s; a relaxation or AIMD goes on when repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try the settings of block `dft` on one structure, before a campaign depends on them.

    Runs the code as a campaign does, with the same checks, repairs and refusals. Repeating the command reads
    what is finished and goes on with what is not. Writes the frames that can be labels to `result.xyz`, and
    the structure in which a relaxation or AIMD ends to `last.xyz`.

    Example: `alpw calculate label param.json resource.json POSCAR --out try`
    """
    with errors_as_exit_status():
        loaded, resources = load_inputs(param, resource)
        dft = loaded.dft.model_copy(update={"input": control.resolve()} if control else {})
        atoms, code = read_structure(structure), code_of(dft.dft_style)
        common: dict[str, Any] = {"command": resources.dft.command, "timeout": timeout}
        try:
            if task is Task.LABEL:
                result: LabelResult | Steps = run_label(code, atoms, out, dft, **common)
            else:
                result = run_steps(code, task, atoms, out, dft, **common)
        except CalculationError as error:
            if as_json:
                print_json({"kind": error.kind.value, "diagnosis": error.diagnosis})
            else:
                console.print(f"quarantined: {error.diagnosis}", style="red", soft_wrap=True)
                console.print(f"  {error.kind.value}: {REMEDIES[error.kind].advice}", soft_wrap=True)
            raise typer.Exit(1) from error
        frames = [LabelledFrame(atoms, result.label)] if isinstance(result, LabelResult) else _usable(result)
        write_extxyz(out / RESULT, frames)
        if isinstance(result, Steps):
            write(out / LAST, result.structure, format="extxyz")
        report = _report(dft, task, result, frames)
        if as_json:
            print_json(report)
            return
        for key, value in report.items():
            console.print(f"{key:<18} {value}", soft_wrap=True)


def _usable(steps: Steps) -> list[LabelledFrame]:
    return list(steps.frames.select(steps.frames.converged))


def _report(dft: Dft, task: Task, result: Record, frames: list[LabelledFrame]) -> dict[str, Any]:
    report: dict[str, Any] = {"code": dft.dft_style, "task": task.value}
    if isinstance(result, Steps):
        report |= {"steps": len(result.frames), "complete": result.complete, "rejected": result.rejected}
    if frames:
        last = frames[-1].label
        report["energy (eV)"] = last.energy
        report["max force (eV/Å)"] = float(np.linalg.norm(last.forces, axis=1).max())
        if last.virial is not None:
            pressure = np.trace(last.virial) / 3 / frames[-1].atoms.get_volume() / GPa
            report["pressure (GPa)"] = float(pressure)
    return report | {
        "changes": result.changes,
        "corrections": [entry["errors"] for entry in result.corrections],
        "level of theory": result.settings_hash,
        "wall time (s)": round(result.wall_time, 1),
        "frames": str(result.directory / RESULT),
        **({"last structure": str(result.directory / LAST)} if isinstance(result, Steps) else {}),
    }
