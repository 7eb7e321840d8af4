"""PWMLFF and MatPL: ``train``, ``compress``, ``script``, ``test``, ``kpu``; their pair styles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms

from alpw.codes.lammps_pair.styles import STYLES, PairStyle, compiled_styles
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.files import write_atomically
from alpw.formats.lammps_dump import write_lammps_dump
from alpw.potential.evaluation import Comparison
from alpw.potential.model import DeepPotential
from alpw.structures.frame import LabelledFrame
from alpw.trainers.artefacts import pack, unpack
from alpw.trainers.grouping import Predictions, compared
from alpw.trainers.matpl_input import (
    CHECKPOINT,
    STORE,
    check_translatable,
    is_matpl,
    matpl_input,
    write_data,
)
from alpw.trainers.matpl_output import KPUTable, has_covariance, read_curve, read_kpu, read_test
from alpw.trainers.protocol import Member, Trained, Training
from alpw.trainers.running import Command, check_curve

INPUT_FILE = "train.json"
COMPRESSED = "cmp_dp_model.ckpt"
ENGINE_MODEL = "torch_script_module.pt"
SCRIPTS = (ENGINE_MODEL, "jit_dp.pt", "jit_cmp_dp.pt", "jit_dp_cpu.pt", "jit_cmp_dp_cpu.pt", "jit_dp_gpu.pt")
"""Names that the versions give to what ``script`` makes."""
KPU_FILE = "kpu_model_devi.out"
PREFERRED = ("matpl/dp", "matpl", "pwmlff")
"""Pair styles, the newest first."""


class MatplTrainer:
    """PWMLFF or MatPL, by the command's name. A member that is interrupted is trained anew."""

    name: ClassVar[str] = "matpl"
    needs_command: ClassVar[bool] = True

    def check(self, training: Training) -> None:
        if training.section.deepmd_input is not None:
            raise InputError("only trainer 'deepmd' reads it; remove it", key="train.deepmd_input")
        if training.covariance and training.compression is not None:
            raise InputError("a compressed model has no KPU; remove it", key="strategy.compress")
        check_translatable(training.section)

    def train(self, training: Training, members: Sequence[Member], directory: Path) -> list[Trained]:
        matpl = is_matpl(training.command or "")
        data = write_data(directory / "data", training.frames, training.valid, matpl)
        return [_train(training, member, directory, data) for member in members]

    def pair_style(self, command: str | None) -> PairStyle | None:
        if command is None:
            raise InputError("train.trainer is 'matpl', which needs its LAMMPS", key="explore.command")
        found = compiled_styles(command)
        for name in PREFERRED:
            if name in found:
                return STYLES[name]
        text = f"{command!r} has none of the pair styles {', '.join(PREFERRED)}"
        raise InputError(text, key="explore.command")

    def write_model(self, data: bytes, folder: Path, stem: str) -> Path:
        file = folder / f"{stem}.pt"
        write_atomically(file, unpack(data)[ENGINE_MODEL])
        return file

    def own_model(self, data: bytes) -> DeepPotential | None:
        return None

    def compare(
        self, data: bytes, frames: Sequence[LabelledFrame], directory: Path, command: str | None
    ) -> Comparison:
        files = unpack(data)
        asked = json.loads(files[INPUT_FILE])
        (directory / CHECKPOINT).write_bytes(files[CHECKPOINT])
        keys = ("model_type", "atom_type", "max_neigh_num", "model", "type_embedding")
        content = {key: asked[key] for key in keys if key in asked}
        content |= {"model_load_file": CHECKPOINT, "format": "pwmlff/npy"}
        program = Command(self.name, command, directory)

        def predict(number: int, group: Sequence[LabelledFrame]) -> Predictions:
            result = f"test_result.{number:03d}"
            folder = directory / f"data.{number:03d}"
            shutil.rmtree(folder, ignore_errors=True)
            matpl = is_matpl(command or "")
            sets = write_data(folder, group, [], matpl)["train_data" if matpl else "datasets_path"]
            named = {"test_data" if matpl else "datasets_path": sets, "test_dir_name": result}
            (directory / "test.json").write_text(json.dumps({**content, **named}, indent=2))
            program.run("test", "test.json", makes=f"{result}/inference_force.txt")
            return read_test(directory / result, group)

        return compared(frames, predict)


def _train(training: Training, member: Member, directory: Path, data: dict[str, Any]) -> Trained:
    section = training.section
    folder = directory / f"member.{member.index:03d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    content = matpl_input(section, member.seeds["weights"], data, covariance=training.covariance)
    # P that is saved after a resumed training is that of the moment of resumption.
    start = None if training.covariance else member.start
    if start is not None:
        _write_start(start.data, start.file, folder / "start.ckpt")
        content |= {"recover_train": True, "model_load_file": str(folder / "start.ckpt")}
        content["optimizer"]["reset_epoch"] = True
    (folder / INPUT_FILE).write_text(json.dumps(content, indent=2))
    program = Command("matpl", training.command, folder, section.threads)
    checkpoint = f"{STORE}/{CHECKPOINT}"
    seconds = program.run("train", INPUT_FILE, makes=checkpoint)
    curve = read_curve(folder / STORE)
    check_curve(curve, section.optimizer.epochs, "epoch", folder, "matpl")
    if training.covariance and not has_covariance(folder / checkpoint):
        text = f"{checkpoint} holds no covariance P, although save_p_matrix is set"
        raise CalculationError(text, FailureKind.UNKNOWN, folder, "matpl")
    record: dict[str, Any] = {}
    scripted = checkpoint
    if training.compression is not None:
        wanted = training.compression
        options = ("-d", repr(wanted.dx), "-o", str(wanted.order), "-s", COMPRESSED)
        seconds += program.run("compress", checkpoint, *options, makes=COMPRESSED)
        record["compression"] = {"spacing": wanted.dx, "order": wanted.order}
        scripted = COMPRESSED
    model, took = _script(program, scripted, folder)
    files = {
        CHECKPOINT: (folder / checkpoint).read_bytes(),
        ENGINE_MODEL: model.read_bytes(),
        INPUT_FILE: (folder / INPUT_FILE).read_bytes(),
    }
    last = curve[-1]
    return Trained(
        member.index,
        pack(files),
        {
            "warm_start": start.origin if start is not None else None,
            "network": content["model"],
            "errors": {
                "train": {
                    "force_rmse": last["train_force_rmse"],
                    "energy_rmse": last["train_energy_rmse"],
                }
            },
            "learning_curve": curve,
            "wall_time": seconds + took,
            "covariance_in_checkpoint": training.covariance,
            **record,
        },
    )


def _write_start(data: bytes | None, file: Path | None, path: Path) -> None:
    path.write_bytes(file.read_bytes() if file is not None else unpack(data or b"")[CHECKPOINT])


def _script(program: Command, checkpoint: str, folder: Path) -> tuple[Path, float]:
    """The TorchScript module of a checkpoint, whatever this version calls it, and the seconds it took."""
    for name in SCRIPTS:
        (folder / name).unlink(missing_ok=True)
    seconds = program.run("script", checkpoint, makes=".")
    for name in SCRIPTS:
        for path in (folder / name, folder / STORE / name):
            if path.is_file():
                return path, seconds
    text = f"`script` has written none of {', '.join(SCRIPTS)}"
    raise CalculationError(text, FailureKind.UNKNOWN, folder, "matpl")


def kpu(
    data: bytes, frames: Sequence[Atoms], elements: Sequence[str], directory: Path, command: str
) -> KPUTable:
    """What the trainer's ``kpu`` command says about frames.

    Args:
        data: a model that was trained with its covariance, as `Trained.data`.
        frames: structures.
        elements: of the model, in the order of its types.
        directory: an existing folder to work in.
        command: how the trainer is called.

    Raises:
        CalculationError: the checkpoint holds no P, or the command failed.
    """
    (directory / CHECKPOINT).write_bytes(unpack(data)[CHECKPOINT])
    if not has_covariance(directory / CHECKPOINT):
        text = "the checkpoint holds no covariance P; train with LKF for uncertainty 'kpu'"
        raise CalculationError(text, FailureKind.INPUT, directory, "matpl")
    dumps = directory / "traj"
    shutil.rmtree(dumps, ignore_errors=True)
    dumps.mkdir()
    for step, atoms in enumerate(frames):
        write_lammps_dump(dumps / f"{step}.lammpstrj", [atoms], elements)
    options = ("-m", CHECKPOINT, "-c", "traj", "-f", "lammps/dump", "-a", *elements, "-s", KPU_FILE)
    Command("matpl", command, directory).run("kpu", *options, makes=KPU_FILE)
    return read_kpu(directory / KPU_FILE)
