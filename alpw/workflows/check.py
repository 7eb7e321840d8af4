"""What can be known to fail before anything is submitted, beyond what the input files show by themselves."""

from __future__ import annotations

import logging

from alpw import hooks
from alpw.codes.lammps.rehearsal import check_template
from alpw.codes.registry import code_of
from alpw.config.param import Param
from alpw.config.resource import Resource
from alpw.config.section import is_stored
from alpw.dataset.lending import query_of
from alpw.errors import InputError
from alpw.formats.load import load_frames

logger = logging.getLogger(__name__)


def check_inputs(param: Param, resource: Resource) -> None:
    """Check what the inputs name: label engine, start structures, data, start models, functions.

    Raises:
        InputError: names the file and the key at fault.
    """
    _check_label_engine(param)
    _check_command(param, resource)
    _check_data(param)
    _check_templates(param)
    _check_models(param, resource)
    for index in range(len(param.hooks)):
        hooks.load(param, index)


def _check_templates(param: Param) -> None:
    """Try the user's LAMMPS inputs, each with the first structure of the first block that runs it."""
    jobs = [job for blocks in param.explore.md_jobs for job in blocks]
    for index, path in enumerate(param.explore.lmps_in):
        job = next((job for job in jobs if index in (job.lmps_in_idx or [])), None)
        if job is None or job.lmps_in_idx is None:
            continue
        position = job.lmps_in_idx.index(index) if len(job.lmps_in_idx) > 1 else 0
        atoms = param.explore.sys_configs[job.sys_idx[position]].read()[0]
        for note in check_template(path, atoms, job.trj_freq):
            logger.warning("%s: %s", path, note)


def _check_label_engine(param: Param) -> None:
    code = code_of(param.dft.dft_style)
    try:
        code.check(param.dft, param.train.atom_type)
    except InputError as error:
        raise InputError(error.message, error.file or param.file, error.key or "dft") from error
    for index, system in enumerate(param.explore.sys_configs):
        for file, atoms in zip(system.files, system.read(), strict=True):
            try:
                code.check_structure(atoms, param.dft)
            except InputError as error:
                key = f"explore.sys_configs[{index}]"
                raise InputError(f"{file}: {error.message}", param.file, key) from error


def _check_command(param: Param, resource: Resource) -> None:
    if resource.dft.command is None:
        return
    try:
        code_of(param.dft.dft_style).check_command(param.dft, resource.dft.command)
    except InputError as error:
        raise InputError(error.message, resource.file, "dft.command") from error


def _check_data(param: Param) -> None:
    for key in ("init_data", "valid_data"):
        for path in getattr(param, key):
            if is_stored(path):
                _check_query(path, param, key)
                continue
            elements = {symbol for frame in load_frames(path) for symbol in set(frame.atoms.symbols)}
            if missing := sorted(elements - set(param.train.atom_type)):
                raise InputError(
                    f"{path} holds {', '.join(missing)}, which train.atom_type {param.train.atom_type} lacks",
                    param.file,
                    key,
                )


def _check_query(entry: str, param: Param, key: str) -> None:
    """See that an entry of the database is a query; what it selects is known where the database is."""
    try:
        query_of(entry)
    except InputError as error:
        raise InputError(f"{entry!r}: {error.message}", param.file, key) from error


def _check_models(param: Param, resource: Resource) -> None:
    """See that the trainer can follow the block ``train``, and that it and its LAMMPS are named."""
    # Imported late: it brings torch, for which no other command of the command line should wait.
    from alpw.trainers import Compression, Training, trainer_of

    strategy = param.strategy
    trainer = trainer_of(param.train.trainer)
    tables = Compression(strategy.compress_dx, strategy.compress_order) if strategy.compress else None
    training = Training(
        param.train, (), compression=tables, covariance=strategy.has_kpu, command=resource.train.command
    )
    try:
        trainer.check(training)
    except InputError as error:
        raise InputError(error.message, error.file or param.file, error.key) from error
    if not trainer.needs_command:
        return
    if strategy.has_kpu:
        text = f"'{strategy.uncertainty}' needs trainer 'alpw': '{trainer.name}' explores with a committee"
        raise InputError(text, param.file, "strategy.uncertainty")
    for kind, columns in (("e", "energies"), ("v", "virials")):
        # Of the pair styles only deepmd-kit's writes virials, and none energies of a frame.
        for key in (f"{end}_model_devi_{kind}" for end in ("lower", "upper")):
            if getattr(strategy, key) is not None and not (kind == "v" and trainer.name == "deepmd"):
                text = f"the LAMMPS of trainer '{trainer.name}' writes no deviation of {columns}; remove it"
                raise InputError(text, param.file, f"strategy.{key}")
    for key in ("train", "explore"):
        # A worker's env may hold the commands instead, but only the worker knows it.
        if getattr(resource, key).command is None:
            text = f"missing; trainer '{trainer.name}' is called by it"
            raise InputError(text, resource.file, f"{key}.command")
