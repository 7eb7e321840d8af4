"""Models for other programs, and from them: what ``alpw export`` and ``alpw import`` do with one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from alpw.cli.common import console, note, print_json
from alpw.cli.export import Engine, Target
from alpw.cli.models import free, of_file
from alpw.errors import InputError
from alpw.formats.trajectory import read_trajectory
from alpw.potential import DeepPotential
from alpw.potential.interchange import export_model, find_deepmd, import_model


def write_model(
    model_file: Path,
    to: Target,
    out: Path | None,
    *,
    sel: list[int] | None,
    engine: Engine,
    structure: Path | None,
    deepmd_python: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """What ``alpw export`` does with a model; see there."""
    target = out or _default(model_file, to, deepmd_python)
    free(target, force=force)
    model = DeepPotential.load(model_file)
    start = read_trajectory(structure, model.config.elements).frames[-1] if structure else None
    if start is not None:
        with of_file(structure):
            model.neighbors(start)
    written = export_model(
        model,
        to.value,
        target,
        sel=None if not sel else sel[0] if len(sel) == 1 else sel,
        engine=engine.value if to is Target.LAMMPS else None,
        deepmd_python=deepmd_python,
        model_file=model_file,
        structure=start,
    )
    if as_json:
        print_json({"model": str(model_file), "to": to.value, "files": [str(path) for path in written]})
        return
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)
    if to is Target.DEEPMD and model.config.set_davg_zero:
        slots = sel or model.descriptor.sel.tolist()
        note(f"deepmd-kit looks at {slots} neighbours at most and drops the farthest; --sel changes it")


def import_model_file(
    file: Path, out: Path, deepmd_python: Path | None, *, force: bool, as_json: bool
) -> None:
    """Read a model of deepmd-kit exactly, write it as ours, and say what it is.

    Raises:
        InputError: no such file, a file that may not be replaced, or a model that ours cannot represent
            exactly.
    """
    free(out, force=force)
    if not file.is_file():
        raise InputError("no such file", file)
    model = import_model(file, deepmd_python=deepmd_python)
    model.save(out)
    config = model.config
    if as_json:
        print_json({"file": str(file), "model": str(out), "network": asdict(config)})
        return
    kind = f"{config.type_embedding} type embedding" if config.type_embedding else "se_e2_a"
    n_weights = sum(weight.numel() for weight in model.parameters())
    console.print(f"{kind} of {', '.join(config.elements)}, rcut {config.rcut:g} Å, {n_weights} weights")
    console.print(f"wrote {out}", soft_wrap=True)


def _default(model_file: Path, to: Target, deepmd_python: Path | None) -> Path:
    """Beside the model, with an ending that says what it is."""
    if to is Target.DEEPMD:
        if find_deepmd(deepmd_python):
            return model_file.with_suffix(".pb")
        made = model_file.with_suffix(".yaml")
        pb = model_file.with_suffix(".pb").name
        note(
            f"deepmd-kit is not installed here; where it is, `dp convert-backend {made.name} {pb}` freezes it"
        )
        return made
    endings = {Target.TORCHSCRIPT: ".torchscript.pt", Target.ASE: ".ase.py", Target.LAMMPS: ".lammps.in"}
    return model_file.with_suffix(endings[to])
