"""What can be known to fail before anything is submitted, beyond what the input files show by themselves."""

from __future__ import annotations

from alpw.codes.registry import code_of
from alpw.config.param import Param
from alpw.config.resource import Resource
from alpw.errors import AlpwError, InputError
from alpw.formats.load import load_frames


def check_inputs(param: Param, resource: Resource) -> None:
    """Check what the files that the inputs name hold: label engine, start structures, data, start models.

    Raises:
        InputError: names the file and the key at fault.
    """
    _check_label_engine(param)
    _check_command(param, resource)
    _check_data(param)
    _check_models(param)


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
            elements = {symbol for frame in load_frames(path) for symbol in set(frame.atoms.symbols)}
            if missing := sorted(elements - set(param.train.atom_type)):
                raise InputError(
                    f"{path} holds {', '.join(missing)}, which train.atom_type {param.train.atom_type} lacks",
                    param.file,
                    key,
                )


def _check_models(param: Param) -> None:
    """Build the network, and read the weights that it is to start from."""
    # Imported late: they bring torch, for which no other command of the command line should wait.
    from alpw.potential import DeepPotential
    from alpw.uncertainty.committee import check_committee
    from alpw.workflows.training import load_start, model_config

    wanted = model_config(param.train, seed=0)
    try:
        DeepPotential(wanted)
    except InputError as error:
        raise InputError(error.message, param.file, f"train.{error.key}") from error
    starts = [load_start(file, wanted) for file in param.train.init_models]
    if len(starts) > 1:
        try:
            check_committee(starts)
        except AlpwError as error:
            raise InputError(str(error), param.file, "train.init_models") from error
