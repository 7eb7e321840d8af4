"""What can be known of init_bulk to fail before anything is submitted, beyond what the files show alone."""

from __future__ import annotations

from collections.abc import Iterator

from ase import Atoms

from alpw.codes.protocol import Task
from alpw.codes.registry import code_of
from alpw.config import Dft, InitBulk, InitResource, StartConfig
from alpw.config.commands import command_name, command_names
from alpw.errors import InputError
from alpw.structures.recipe import build, trial
from alpw.workflows.init_bulk import KINDS, is_bigmodel
from alpw.workflows.launch_init import read_starts


def check_init(init: InitBulk, resource: InitResource) -> None:
    """Check control files, structures and commands of everything that will run.

    Raises:
        InputError: names the file and the key at fault.
    """
    if any(entry.bigmodel for entry in init.sys_configs) and "explore" not in resource.model_fields_set:
        raise InputError("is missing; bigmodel runs in it", resource.file, "explore")
    for start, atoms in zip(init.starts, read_starts(init), strict=True):
        entry, key = init.entry(start.number), f"sys_configs[{start.entry}]"
        for task, name, dft in _calculations(init, entry):
            _check_settings(init, dft, task, name)
        if init.relaxes(entry):
            _check_structure(init, atoms, init.relax_of(entry), Task.RELAX, key)
        _check_discard(init, entry)
        leaf = _a_leaf(init, entry, atoms, key)
        for _, dft in init.runs_of(entry):
            _check_structure(init, leaf, dft, Task.AIMD, key)
        if entry.scf:
            _check_structure(init, leaf, init.label_of(entry), Task.LABEL, key)
    _check_commands(init, resource)


def _calculations(init: InitBulk, entry: StartConfig) -> Iterator[tuple[Task, str, Dft]]:
    """Every kind of calculation that a structure gets, with the key that describes it."""
    if init.relaxes(entry):
        yield Task.RELAX, "relax_input", init.relax_of(entry)
    for _, dft in init.runs_of(entry):
        yield Task.AIMD, "bigmodel_input" if entry.bigmodel else "aimd_input", dft
    if entry.scf:
        yield Task.LABEL, "scf_input", init.label_of(entry)


def _check_settings(init: InitBulk, dft: Dft, task: Task, key: str) -> None:
    try:
        code_of(dft.dft_style).check(dft, init.elements, task)
    except InputError as error:
        raise InputError(error.message, error.file or init.file, error.key or key) from error


def _check_discard(init: InitBulk, entry: StartConfig) -> None:
    """Equilibration must leave something to label."""
    dynamics, key = init.dynamics_of(entry), "bigmodel_input" if entry.bigmodel else "aimd_input"
    for _, dft in init.runs_of(entry):
        frames = code_of(dft.dft_style).frames_asked(dft)
        if dynamics and dynamics.discard >= frames:
            text = f"discard {dynamics.discard} leaves none of the {frames} frames of a run"
            raise InputError(text, init.file, f"{key}[{getattr(entry, f'{key}_idx')}].discard")


def _check_structure(init: InitBulk, atoms: Atoms, dft: Dft, task: Task, key: str) -> None:
    try:
        code_of(dft.dft_style).check_structure(atoms, dft, task)
    except InputError as error:
        raise InputError(f"{task.value}: {error.message}", init.file, key) from error


def _a_leaf(init: InitBulk, entry: StartConfig, atoms: Atoms, key: str) -> Atoms:
    """One structure of those that dynamics or labels start from, without relaxation."""
    try:
        return build(atoms, trial(entry.recipe), seed=0, root="init")[-1].atoms
    except InputError as error:
        raise InputError(error.message, init.file, error.key or key) from error


def _check_commands(init: InitBulk, resource: InitResource) -> None:
    names = command_names(init)
    for entry in init.sys_configs:
        for task, _, dft in _calculations(init, entry):
            block = resource.category(KINDS[task])
            command = resource.block(block).command
            own = names[block] == command_name(dft.dft_style)
            if command is not None and own and not is_bigmodel(task, dft):
                _check_command(dft, command, resource, block)


def _check_command(dft: Dft, command: str, resource: InitResource, name: str) -> None:
    try:
        code_of(dft.dft_style).check_command(dft, command)
    except InputError as error:
        raise InputError(error.message, resource.file, f"{name}.command") from error
