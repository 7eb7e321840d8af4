"""Our own training of the Deep Potential, `alpw.potential.training`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from alpw.codes.lammps_pair.styles import PairStyle
from alpw.errors import AlpwError, InputError
from alpw.files import write_atomically
from alpw.potential import DeepPotential, TrainingOptions, TrainingReport, train
from alpw.potential.compression import compress
from alpw.potential.dataset import prepare
from alpw.potential.evaluation import Comparison, compare
from alpw.potential.training import train_committee
from alpw.structures.frame import LabelledFrame
from alpw.trainers.protocol import Member, Start, Trained, Training
from alpw.trainers.section import load_start, model_config, same_network, training_options
from alpw.uncertainty.committee import check_committee

#: Frames on which a compressed model is compared with its networks.
COMPARED = 8


class OwnTrainer:
    """In this process."""

    name: ClassVar[str] = "alpw"
    needs_command: ClassVar[bool] = False

    def check(self, training: Training) -> None:
        section = training.section
        if section.deepmd_input is not None:
            raise InputError("only trainer 'deepmd' reads it; remove it", key="train.deepmd_input")
        wanted = model_config(section, seed=0)
        try:
            DeepPotential(wanted)
        except InputError as error:
            raise InputError(error.message, key=f"train.{error.key}") from error
        starts = [load_start(file, wanted) for file in section.init_models]
        if len(starts) > 1:
            try:
                check_committee(starts)
            except AlpwError as error:
                raise InputError(str(error), key="train.init_models") from error

    def train(self, training: Training, members: Sequence[Member], directory: Path) -> list[Trained]:
        prepared = [_prepared(training, member) for member in members]
        models = [model for model, _, _ in prepared]
        options = [own for _, _, own in prepared]
        frames, valid = training.frames, training.valid
        if len(members) == 1:
            only = train(models[0], frames, valid, options=options[0], directory=directory, resume=True)
            reports: Sequence[TrainingReport] = [only]
        else:
            reports = train_committee(
                models, frames, valid, options=options, directory=directory, resume=True
            )
        return [
            _trained(training, member, model, origin, report)
            for member, (model, origin, _), report in zip(members, prepared, reports, strict=True)
        ]

    def pair_style(self, command: str | None) -> PairStyle | None:
        return None

    def write_model(self, data: bytes, folder: Path, stem: str) -> Path:
        file = folder / f"{stem}.pt"
        write_atomically(file, data)
        return file

    def own_model(self, data: bytes) -> DeepPotential | None:
        return DeepPotential.from_bytes(data)

    def compare(
        self, data: bytes, frames: Sequence[LabelledFrame], directory: Path, command: str | None
    ) -> Comparison:
        model = DeepPotential.from_bytes(data)
        return compare(model, prepare(model, frames))


def _prepared(training: Training, member: Member) -> tuple[DeepPotential, Any, TrainingOptions]:
    """The model to train, where its weights come from, and how it is trained."""
    section = training.section
    model = DeepPotential(model_config(section, member.seeds["weights"]))
    origin = None
    if member.start is not None:
        found = _start(member.start, model)
        # A network that was changed between iterations starts afresh.
        if found is not None:
            model, origin = found, member.start.origin
        elif training.needs_start:
            text = "the network was changed, and new labels alone cannot train it; set this to false"
            raise InputError(text, key="init_data_only_pretrain")
    options = training_options(section, member.seeds["order"], warm_start=origin is not None)
    return model, origin, options


def _start(start: Start, wanted: DeepPotential) -> DeepPotential | None:
    if start.file is not None:
        return load_start(start.file, wanted.config)
    assert start.data is not None
    last = DeepPotential.from_bytes(start.data).parent()
    return last if same_network(last.config, wanted.config) else None


def _trained(
    training: Training, member: Member, model: DeepPotential, origin: Any, report: TrainingReport
) -> Trained:
    record: dict[str, Any] = {
        "warm_start": origin,
        "network": asdict(model.config),
        "errors": {"train": asdict(report.train)},
        "learning_curve": [asdict(epoch) for epoch in report.epochs],
        "wall_time": report.seconds,
    }
    if training.keep_covariance is not None:
        record |= training.keep_covariance(member.index, model, report.covariance)
    wanted = training.compression
    if wanted is not None:
        model, cost = compress(
            model, spacing=wanted.dx, order=wanted.order, frames=list(training.frames[:COMPARED])
        )
        record["compression"] = asdict(cost)
    return Trained(member.index, model.to_bytes(), record)
