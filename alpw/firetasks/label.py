"""Label a chunk of configurations; what is labelled already is skipped."""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from bson import ObjectId
from fireworks import FWAction, explicit_serialize

from alpw.cluster.slurm import seconds_left
from alpw.codes.protocol import LabelResult, Task
from alpw.codes.registry import code_of
from alpw.codes.run import clean, run_label
from alpw.database import campaigns, configurations
from alpw.database.documents import atoms_of
from alpw.errors import CalculationError, FailureKind
from alpw.firetasks.base import CampaignTask, Surroundings

logger = logging.getLogger(__name__)

RESERVE = 30.0
"""Seconds at the end of a job that are left for the database."""

CAUTION = 1.5
"""A label is begun only if so many times the longest one so far still fits into the job."""

LATE = "late"
"""Outcome of a label that the rest of the job was too short for."""


@explicit_serialize
class LabelChunk(CampaignTask):
    """Single-point calculations of one chunk.

    A calculation without a trustworthy result is quarantined with its reason and does not stop the chunk:
    failure is data. What the job's time is too short for goes to a Firework of its own.

    Required parameters:
        configurations: ids of the configurations.
    """

    required_params: ClassVar = ["configurations"]

    def work(self, context: Surroundings) -> FWAction:
        """Claim, label and store one configuration after the other."""
        context.record(stage="label")
        chunk, outcomes = _Chunk(context), []
        waiting = [ObjectId(configuration) for configuration in self["configurations"]]
        while waiting and chunk.has_time():
            outcome = chunk.label(waiting[0])
            if outcome == LATE:
                break
            outcomes.append(outcome)
            del waiting[0]
        chunk.tidy()
        left = [str(configuration) for configuration in waiting]
        title = f"label chunk, the other {len(left)}"
        again = [context.firework("LabelChunk", title, configurations=left)]
        return FWAction(stored_data=dict(Counter(outcomes)), detours=again if left else None)


class _Chunk:
    """The labels of one Firework: each may start from the wavefunction of the one before it."""

    def __init__(self, context: Surroundings) -> None:
        self.context, self.dft = context, context.label_dft
        self.code = code_of(self.dft.dft_style)
        self.longest = 0.0
        self.last: tuple[Path, np.ndarray] | None = None

    def has_time(self) -> bool:
        """Whether another label fits into what is left of the job."""
        left = seconds_left()
        return left is None or left - RESERVE > CAUTION * self.longest

    def label(self, configuration: ObjectId) -> str:
        """Label one configuration and say what became of it."""
        context = self.context
        document = configurations.claim(context.db, configuration, context.fw_id)
        if document is None:
            return "skipped"
        atoms, started = atoms_of(document), time.monotonic()
        left = seconds_left()
        try:
            result = run_label(
                self.code,
                atoms,
                # The folder depends on the configuration alone, so a calculation that finished before its
                # worker died is found again instead of being paid for twice.
                context.directory("02.label", str(configuration)),
                self.dft,
                context.command(Task.LABEL, self.dft),
                timeout=None if left is None else max(0.0, left - RESERVE),
                reuse=self._reusable(atoms),
            )
        except CalculationError as error:
            logger.warning("configuration %s: %s", configuration, error)
            if error.kind is FailureKind.WALLTIME and left is not None and self.longest:
                # It had what others left of the job; whether a whole one is enough is not known.
                configurations.put_back(context.db, configuration)
                return LATE
            configurations.quarantine(context.db, configuration, error)
            return configurations.State.QUARANTINED.value
        self.longest = max(self.longest, time.monotonic() - started)
        outcome = _store(context, configuration, result)
        self.tidy()
        self.last = result.directory, atoms.numbers
        return outcome

    def _reusable(self, atoms: Atoms) -> Path | None:
        """Folder of the last label, if it was one of the same atoms in the same order."""
        if self.last is None or not self.dft.reuse_wavefunctions:
            return None
        directory, numbers = self.last
        return directory if np.array_equal(numbers, atoms.numbers) else None

    def tidy(self) -> None:
        """Remove the large files of the last label, which the next one has used by now."""
        inputs = self.context.inputs
        if self.last is not None and not (inputs.reserve_scf_files or inputs.reserve_work):
            clean(self.code, self.last[0])


def _store(context: Surroundings, configuration: ObjectId, result: LabelResult) -> str:
    dft = context.label_dft
    block = context.block(Task.LABEL, dft)
    refusal = level_refusal(context, dft.dft_style, result.settings_hash, result.directory)
    if refusal:
        logger.warning("configuration %s: quarantined, %s", configuration, refusal)
    record: dict[str, Any] = {
        "code": dft.dft_style,
        "settings": result.settings,
        "settings_hash": result.settings_hash,
        "corrections": result.corrections,
        "changes": result.changes,
        "wall_time": result.wall_time,
        "cores": block.number_node * block.cpu_per_node,
        "directory": str(result.directory),
    }
    stored = configurations.store_label(context.db, configuration, result.label, record, refusal)
    state = configurations.State.QUARANTINED if refusal else configurations.State.LABELLED
    return state.value if stored else "skipped"


def level_refusal(
    context: Surroundings, code: str, settings_hash: str, directory: Path
) -> CalculationError | None:
    """Why a label stays out of the data set: another level of theory than the campaign's; None if not.

    The first label of a campaign fixes its level.
    """
    if campaigns.admit_settings(context.db, context.campaign, settings_hash):
        return None
    wanted = campaigns.get(context.db, context.campaign)["settings_hash"]
    return CalculationError(
        f"its level of theory {settings_hash[:12]} is not the campaign's, {wanted[:12]}; "
        "compare the field 'settings' of both",
        FailureKind.INPUT,
        directory,
        code,
    )
