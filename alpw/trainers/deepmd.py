"""deepmd-kit: ``dp train``, ``freeze``, ``compress``, ``test``; exploration with ``pair_style deepmd``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from alpw.codes.lammps_pair.styles import STYLES, PairStyle
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.files import write_atomically
from alpw.formats.deepmd import write_deepmd
from alpw.potential.evaluation import Comparison
from alpw.potential.model import DeepPotential
from alpw.structures.frame import LabelledFrame
from alpw.trainers.artefacts import pack, unpack
from alpw.trainers.deepmd_input import (
    CHECKPOINT,
    CURVE_FILE,
    check_translatable,
    deepmd_input,
    read_users_input,
)
from alpw.trainers.grouping import Predictions, compared
from alpw.trainers.protocol import Member, Trained, Training
from alpw.trainers.running import Command, check_curve

INPUT_FILE = "input.json"
FROZEN, COMPRESSED = "frozen", "compressed"
DATA, HELD_OUT = "data", "valid"
_CURVE_COLUMNS = {
    "rmse_trn": "loss",
    "rmse_f_trn": "train_force_rmse",
    "rmse_e_trn": "train_energy_rmse",
    "rmse_f_val": "valid_force_rmse",
    "rmse_e_val": "valid_energy_rmse",
    "lr": "learning_rate",
}


class DeepmdTrainer:
    """deepmd-kit in its TensorFlow backend, or with ``dp --pt`` in PyTorch's.

    A member that is interrupted goes on from its last checkpoint. The frozen model that a member is stored
    with is what it starts from in the next iteration.
    """

    name: ClassVar[str] = "deepmd"
    needs_command: ClassVar[bool] = True

    def check(self, training: Training) -> None:
        section = training.section
        if training.covariance:
            raise InputError(
                "deepmd-kit's models have no covariance here; use trainer 'alpw' for KPU", key="train.trainer"
            )
        for index, file in enumerate(section.init_models):
            if file.suffix != ending(training.command):
                text = f"found {file.name}; deepmd-kit starts from a frozen model, {ending(training.command)}"
                raise InputError(text, key=f"train.init_models[{index}]")
        if section.deepmd_input is not None:
            read_users_input(section.deepmd_input, section.atom_type)
        else:
            check_translatable(section)

    def train(self, training: Training, members: Sequence[Member], directory: Path) -> list[Trained]:
        data = write_deepmd(directory / DATA, training.frames)
        valid = write_deepmd(directory / HELD_OUT, training.valid) if training.valid else []
        return [_train(training, member, directory, data, valid) for member in members]

    def pair_style(self, command: str | None) -> PairStyle | None:
        return STYLES["deepmd"]

    def write_model(self, data: bytes, folder: Path, stem: str) -> Path:
        name, content = _explored(data)
        file = folder / f"{stem}{Path(name).suffix}"
        write_atomically(file, content)
        return file

    def own_model(self, data: bytes) -> DeepPotential | None:
        return None

    def compare(
        self, data: bytes, frames: Sequence[LabelledFrame], directory: Path, command: str | None
    ) -> Comparison:
        model = self.write_model(data, directory, "tested")
        dp = Command(self.name, command, directory)

        def predict(number: int, group: Sequence[LabelledFrame]) -> Predictions:
            detail, where = f"test_{number:03d}", f"{DATA}/{number:03d}"
            shutil.rmtree(directory / where, ignore_errors=True)
            write_deepmd(directory / where, group)
            dp.run("test", "-m", model.name, "-s", where, "-d", detail, makes=f"{detail}.f.out")
            return _predicted(directory, detail, group)

        return compared(frames, predict)


def ending(command: str | None) -> str:
    """Ending of frozen models, by the backend that the command names."""
    words = (command or "").split()
    return ".pth" if "--pt" in words or "pytorch" in words else ".pb"


def _explored(data: bytes) -> tuple[str, bytes]:
    files = unpack(data)
    name = min(name for name in files if name.startswith((COMPRESSED, FROZEN)))
    return name, files[name]


def _train(
    training: Training, member: Member, directory: Path, data: Sequence[Path], valid: Sequence[Path]
) -> Trained:
    section = training.section
    folder = directory / f"member.{member.index:03d}"
    folder.mkdir(exist_ok=True)
    content = deepmd_input(
        section,
        member.seeds,
        len(training.frames),
        [f"../{path.relative_to(directory)}" for path in data],
        [f"../{path.relative_to(directory)}" for path in valid],
    )
    (folder / INPUT_FILE).write_text(json.dumps(content, indent=2))
    dp = Command("deepmd", training.command, folder, section.threads)
    suffix, steps = ending(training.command), content["training"]["numb_steps"]
    done = progress(folder)
    seconds = 0.0
    if done is None or done < steps:
        start = ["--restart", CHECKPOINT] if done is not None else _start(member, folder, suffix)
        seconds = dp.run("train", INPUT_FILE, *start, makes="checkpoint")
    curve = read_curve(folder / CURVE_FILE)
    check_curve(curve, steps, "step", folder, "deepmd")
    frozen = f"{FROZEN}{suffix}"
    seconds += dp.run("freeze", "-o", frozen, makes=frozen)
    files = [frozen, INPUT_FILE, CURVE_FILE]
    record: dict[str, Any] = {}
    if training.compression is not None:
        compressed = f"{COMPRESSED}{suffix}"
        options = ("-i", frozen, "-o", compressed, "-s", repr(training.compression.dx))
        seconds += dp.run("compress", *options, makes=compressed)
        files.append(compressed)
        record["compression"] = {"spacing": training.compression.dx}
    last = curve[-1]
    return Trained(
        member.index,
        pack({name: (folder / name).read_bytes() for name in files}),
        {
            "warm_start": member.start.origin if member.start else None,
            "network": content["model"],
            "errors": {
                "train": {
                    "force_rmse": last["train_force_rmse"],
                    "energy_rmse": last["train_energy_rmse"],
                }
            },
            "learning_curve": curve,
            "wall_time": seconds,
            **record,
        },
    )


def progress(folder: Path) -> int | None:
    """The step that an interrupted training has reached, if it can be gone on with; None if not."""
    if not (folder / "checkpoint").is_file():
        return None
    try:
        curve = read_curve(folder / CURVE_FILE)
        check_curve(curve, 0, "step", folder, "deepmd")
    except CalculationError:
        return None
    return int(curve[-1]["step"])


def _start(member: Member, folder: Path, suffix: str) -> list[str]:
    """Start from another model, or from nothing."""
    if member.start is None:
        return []
    if member.start.file is not None:
        return ["--init-frz-model", str(member.start.file.resolve())]
    assert member.start.data is not None
    (folder / f"start{suffix}").write_bytes(unpack(member.start.data)[f"{FROZEN}{suffix}"])
    return ["--init-frz-model", f"start{suffix}"]


def read_curve(path: Path) -> list[dict[str, Any]]:
    """deepmd-kit's ``lcurve.out``: ``step``, errors in eV/Å and eV/atom, by the names of our own curves.

    Raises:
        CalculationError: no such file, or one that is no learning curve.
    """
    if not path.is_file():
        raise CalculationError(f"no {path.name}", FailureKind.UNKNOWN, path.parent, "deepmd")
    names: list[str] = []
    records: dict[int, dict[str, Any]] = {}
    for line in path.read_text().splitlines():
        words = line.lstrip("# ").split()
        if line.startswith("#"):
            names = words if words[:1] == ["step"] else names
            continue
        try:
            row = dict(zip(names, map(float, words), strict=True))
        except ValueError as error:
            text = f"{path.name} has a line that is not understood: {line.strip()!r}"
            raise CalculationError(text, FailureKind.UNKNOWN, path.parent, "deepmd") from error
        # A training that was gone on with may tell of a step twice.
        records[int(row["step"])] = {
            "step": int(row["step"]),
            **{ours: row.get(theirs) for theirs, ours in _CURVE_COLUMNS.items()},
        }
    return [records[step] for step in sorted(records)]


def _predicted(folder: Path, detail: str, group: Sequence[LabelledFrame]) -> Predictions:
    """What ``dp test -d`` has written about one system: labels in the first half of the columns."""
    n, n_atoms = len(group), len(group[0].atoms)
    energies, forces = (np.loadtxt(folder / f"{detail}.{what}.out", ndmin=2) for what in "ef")
    if energies.shape != (n, 2) or forces.shape != (n * n_atoms, 6):
        text = f"dp test tells of {len(energies)} frames, {n} are expected"
        raise CalculationError(text, FailureKind.UNKNOWN, folder, "deepmd")
    virials = None
    if (folder / f"{detail}.v.out").is_file():
        virials = np.loadtxt(folder / f"{detail}.v.out", ndmin=2)[:, 9:].reshape(n, 3, 3)
    return energies[:, 1], forces[:, 3:].reshape(n, n_atoms, 3), virials
