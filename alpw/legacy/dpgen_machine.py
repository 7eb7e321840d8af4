"""machine.json of DP-GEN as a resource.json of ours: what dpdispatcher is told, in the words of a block."""

from __future__ import annotations

import shlex
from typing import Any

from alpw.config.flags import flag_text, take_flags
from alpw.errors import InputError
from alpw.legacy import dpgen_keys as keys
from alpw.legacy.dpgen_param import note_missing
from alpw.legacy.notes import Converted, NoteBook, is_comment, leaves

OLD = ("machine", "resources", "command", "group_size")
"""What older files write one level higher, as ``fp_machine`` and ``fp_command``."""

UNKNOWN = keys.Missing("not known as a key of DP-GEN")

REMARKS = (
    "run ALPW where its jobs run, on the cluster's login node or on this machine: nothing is copied by SSH",
)


def convert_machine(raw: dict[str, Any], name: str) -> Converted:
    """Translate a machine.json of DP-GEN, in its present form and in that of before 2021.

    Args:
        raw: the parsed file.
        name: of the file, for the notes.

    Raises:
        InputError: a stage that is no block.
    """
    book = NoteBook(name)
    content: dict[str, Any] = {block: {} for block in keys.BLOCKS.values()}
    for key in ("api_version", "deepmd_version", "deepmd_path"):
        book.absent(key, "versions are recorded where programs run")
    remote = False
    for stage, block in keys.BLOCKS.items():
        old = {part: raw[f"{stage}_{part}"] for part in OLD if f"{stage}_{part}" in raw}
        names = {part: f"{stage}_{part}" for part in OLD} if old else {}
        entries = _entries(raw.get(stage, old), name, stage)
        content[block], far = _block(entries[0], stage, names, book)
        for entry in entries[1:]:
            text = "a stage runs by one block; those behind the first are left out"
            todo = "queue_name takes several partitions, with commas"
            book.add_block(stage, entry, "", text, None, todo)
        remote |= far
    return Converted(content, book.complete(raw, UNKNOWN.text), list(REMARKS) * remote)


def _entries(found: Any, name: str, stage: str) -> list[dict[str, Any]]:
    """The entries of a stage, at least one."""
    entries = found if isinstance(found, list) else [found]
    if not all(isinstance(entry, dict) for entry in entries):
        raise InputError("is no block", name, stage)
    return entries or [{}]


def _block(
    entry: dict[str, Any], stage: str, names: dict[str, str], book: NoteBook
) -> tuple[dict[str, Any], bool]:
    """A block of resource.json, and whether the source reaches its machine by SSH."""
    block: dict[str, Any] = {}
    ours = keys.BLOCKS[stage]

    def named(path: tuple[Any, ...]) -> str:
        first, *rest = (str(part) for part in path if isinstance(part, str))
        return ".".join([names.get(first, f"{stage}.{first}"), *rest])

    machine = entry.get("machine") or {}
    system = str(machine.get("batch_type", machine.get("machine_type", machine.get("batch", "")))).lower()
    in_queue = not system or system in keys.SLURM
    environment: list[str] = []
    modules: list[str] = []
    for path, value in leaves(entry):
        if is_comment(path):
            continue
        key = ".".join(str(part) for part in path if isinstance(part, str))
        tail = path[-1] if path else ""
        if key == "command":
            block["command"] = value
            book.taken(named(path), f"{ours}.command")
        elif key == "group_size":
            block["group_size"] = value
            book.taken(named(path), f"{ours}.group_size")
        elif key in ("machine.batch_type", "machine.machine_type", "machine.batch"):
            _system(book, named(path), system)
        elif key == "machine.context_type":
            _context(book, named(path), str(value))
        elif key.startswith(("machine.remote_profile", "machine.input_data")) or (
            key.startswith("machine.") and tail in ("hostname", "username", "port", "password", "timeout")
        ):
            book.absent(named(path), "nothing is reached by SSH or in a cloud", "run ALPW on that machine")
        elif path[0] == "resources":
            _resource(book, named(path), path, value, block, (environment, modules), in_queue, ours)
        elif (missing := keys.MACHINE_MISSING.get(key)) is not None:
            note_missing(book, named(path), value, missing)
    # What is unloaded has to be gone before anything is loaded.
    for target, first, last in (("module_list", modules, []), ("env_list", [], environment)):
        if first or last:
            block[target] = [*first, *block.get(target, []), *last]
    far = "ssh" in str(machine.get("context_type", "")).lower() or "remote_profile" in machine
    if not in_queue:
        # Without a queue they have no effect; what they ask for is told.
        for key in ("queue_name", "custom_flags"):
            block.pop(key, None)
    _settle(block, book, named, ours)
    return block, far


def _settle(block: dict[str, Any], book: NoteBook, named: Any, ours: str) -> None:
    """Numbers of calculations that go together, and flags that are keys of ours."""
    for flag, key in take_flags(block):
        book.changed(
            named(("resources", "custom_flags")), f"{ours}.{key}" if key else "", flag_text(flag, key)
        )
    lanes = block.get("parallel_num", 1)
    if isinstance(lanes, int) and lanes > 1 and 0 <= block.get("group_size", 1) < lanes:
        block["group_size"] = lanes
        book.changed(named(("resources", "para_deg")), "group_size", "at least as many as run at a time")


def _system(book: NoteBook, key: str, system: str) -> None:
    if system in keys.SLURM:
        book.taken(key, "", "SLURM; jobs are grouped and sent by ALPW")
    elif system in keys.LOCAL:
        book.changed(key, "", "no queue_name: everything runs on this machine")
    else:
        todo = "use SLURM, or start `alpw run` inside a job of that system"
        book.absent(key, "SLURM is the only queue; without queue_name everything runs on this machine", todo)


def _context(book: NoteBook, key: str, context: str) -> None:
    if "ssh" in context.lower():
        book.absent(key, "nothing is reached by SSH", "run ALPW on that machine")
    elif "local" in context.lower():
        book.taken(key, "", "files stay on one file system")
    else:
        book.absent(key, "calculations run where ALPW does or in its SLURM", "run ALPW on that machine")


def _resource(
    book: NoteBook,
    name: str,
    path: tuple[Any, ...],
    value: Any,
    block: dict[str, Any],
    lines: tuple[list[str], list[str]],
    in_queue: bool,
    ours: str,
) -> None:
    key = str(path[1]) if len(path) > 1 else ""
    environment, modules = lines
    if key in keys.RESOURCES:
        target, text = keys.RESOURCES[key]
        # 0 is dpdispatcher's word for all of them.
        block[target] = -1 if target == "group_size" and value == 0 else value
        if target == "custom_flags" and not in_queue:
            book.absent(name, "there is no queue that it is for", "give SLURM's flags, if there is one")
        else:
            book.taken(name, f"{ours}.{target}", text)
    elif key in ("queue_name", "partition"):
        if value and in_queue:
            block["queue_name"] = value
            book.taken(name, f"{ours}.queue_name", "SLURM's partition")
        else:
            book.absent(name, "there is no queue of SLURM", "name the partition as queue_name")
    elif key == "time_limit":
        block["walltime"] = ":".join(f"{int(part):02d}" for part in str(value).split(":"))
        book.taken(name, f"{ours}.walltime")
    elif key == "exclude_list" and value and in_queue:
        block["exclude_nodes"] = ",".join(value)
        book.taken(name, f"{ours}.exclude_nodes")
    elif key == "mem_limit":
        block["memory"] = f"{value}G"
        book.changed(name, f"{ours}.memory", "GB")
    elif key == "envs" and len(path) > 2:
        environment.append(f"export {path[2]}={shlex.quote(str(value))}")
        book.changed(name, f"{ours}.env_list", "a line `export ...`")
    elif key == "prepend_script":
        environment.extend(value if isinstance(value, list) else [value])
        book.taken(name, f"{ours}.env_list")
    elif key == "module_unload_list":
        modules.extend(f"module unload {module}" for module in value)
        book.changed(name, f"{ours}.module_list", "lines `module unload ...`")
    elif key == "module_purge":
        if value:
            modules.insert(0, "module purge")
        book.changed(name, f"{ours}.module_list", "a line `module purge`" if value else "asks for nothing")
    else:
        note_missing(book, name, value, keys.MACHINE_MISSING.get(f"resources.{key}", UNKNOWN))
