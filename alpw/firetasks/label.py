"""Label a chunk of configurations; what is labelled already is skipped."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from bson import ObjectId
from fireworks import FWAction, Workflow, explicit_serialize

from alpw.cluster.slurm import seconds_left
from alpw.codes.attempt import level_hash
from alpw.codes.checks import label_defect
from alpw.codes.protocol import LabelResult
from alpw.codes.registry import code_of
from alpw.codes.run import clean, run_label
from alpw.database import campaigns, configurations
from alpw.database.documents import atoms_of
from alpw.database.labels import known_label
from alpw.errors import CalculationError, FailureKind, InputError
from alpw.firetasks.base import CampaignTask, Surroundings
from alpw.firetasks.lanes import LEFT, environments, run_in_lanes
from alpw.firetasks.stragglers import begin_labels, early_collector
from alpw.structures.frame import LabelledFrame

logger = logging.getLogger(__name__)

RESERVE = 30.0
"""Seconds at the end of a job that are left for the database."""

CAUTION = 1.5
"""A label is begun only if so many times the longest one so far still fits into the job."""


@explicit_serialize
class LabelChunk(CampaignTask):
    """Single-point calculations of one chunk, as many at a time as the block's ``parallel_num``.

    A calculation without a trustworthy result is quarantined with its reason and does not stop the chunk:
    failure is data. What the job's time is too short for goes to a Firework of its own. If enough of the
    iteration's labels are settled by then, its collector is added.

    Required parameters:
        configurations: ids of the configurations.
    """

    required_params: ClassVar = ["configurations"]

    def work(self, context: Surroundings) -> FWAction:
        """Claim, label and store what is asked for."""
        begin_labels(context)
        wanted, chunk = [ObjectId(configuration) for configuration in self["configurations"]], _Chunk(context)
        lanes = [_Lane(chunk, own) for own in environments(chunk.block.parallel_num, len(wanted))]
        outcomes = run_in_lanes(wanted, lanes)
        left = [str(configuration) for configuration, outcome in outcomes.items() if outcome == LEFT]
        title = f"label chunk, the other {len(left)}"
        again = context.firework("LabelChunk", title, configurations=left)
        return FWAction(
            stored_data=dict(Counter(outcomes.values())),
            detours=[Workflow([again])] if left else None,
            additions=early_collector(context),
        )


class _Chunk:
    """What the lanes of one Firework share."""

    def __init__(self, context: Surroundings) -> None:
        # Whatever the context reads late is read here, before there are threads.
        self.context, self.dft, self.inputs = context, context.label_dft, context.inputs
        self.code = code_of(self.dft.dft_style)
        self.block, self.command = context.block, context.command(self.dft)
        self.longest = 0.0
        self._same: dict[str, threading.Lock] = {}
        self._levels: dict[tuple[str, ...], str | None] = {}

    def alone_with(self, structure_hash: str) -> threading.Lock:
        """Held while a structure is labelled, so that a second one like it finds its label."""
        return self._same.setdefault(structure_hash, threading.Lock())

    def level_asked(self, atoms: Atoms) -> str | None:
        """Hash of settings and files; None if some are missing, for which the label will fail."""
        elements = tuple(sorted(set(atoms.get_chemical_symbols())))
        if elements not in self._levels:
            try:
                self._levels[elements] = level_hash(self.code, self.dft, elements)
            except InputError as error:
                logger.info("%s", error)
                self._levels[elements] = None
        return self._levels[elements]


class _Lane:
    """Labels one after the other; each may start from the wavefunction of the one before it."""

    def __init__(self, chunk: _Chunk, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.chunk, self.context, self.dft, self.code = chunk, chunk.context, chunk.dft, chunk.code
        self.begun = False
        self.last: tuple[Path, np.ndarray] | None = None

    def has_time(self) -> bool:
        """Whether another label fits into what is left of the job."""
        left = seconds_left()
        return left is None or left - RESERVE > CAUTION * self.chunk.longest

    def calculate(self, configuration: ObjectId) -> str:
        """Label one configuration and say what became of it."""
        document = configurations.claim(self.context.db, configuration, self.context.fw_id)
        if document is None:
            return "skipped"
        with self.chunk.alone_with(document["structure_hash"]):
            return self._take_over(document) or self._compute(document)

    def _take_over(self, document: dict[str, Any]) -> str | None:
        """Store a label that is there already, if there is one."""
        atoms = atoms_of(document)
        level, elsewhere = self.chunk.level_asked(atoms), self.dft.reuse_labels
        found = known_label(self.context.db, document, level, elsewhere) if level else None
        if found is None or label_defect(found[0], atoms, self.code.net_force_tolerance, self.dft):
            return None
        label, record = found
        frame = LabelledFrame(atoms, label)
        stored = configurations.store_label(self.context.db, document["_id"], frame, record)
        return "reused" if stored else "skipped"

    def _compute(self, document: dict[str, Any]) -> str:
        context, configuration = self.context, document["_id"]
        atoms, started = atoms_of(document), time.monotonic()
        left = seconds_left()
        first, self.begun = not self.begun, True
        try:
            result = run_label(
                self.code,
                atoms,
                # The folder depends on the configuration alone, so a calculation that finished before its
                # worker died is found again instead of being paid for twice.
                context.directory("02.label", str(configuration)),
                self.dft,
                self.chunk.command,
                environment=self.environment,
                timeout=None if left is None else max(0.0, left - RESERVE),
                reuse=self._reusable(atoms),
            )
        except CalculationError as error:
            logger.warning("configuration %s: %s", configuration, error)
            if error.kind is FailureKind.WALLTIME and left is not None and not first:
                # It had what others left of the job; whether a whole one is enough is not known.
                configurations.put_back(context.db, configuration)
                return LEFT
            configurations.quarantine(context.db, configuration, error)
            return configurations.State.QUARANTINED.value
        self.chunk.longest = max(self.chunk.longest, time.monotonic() - started)
        outcome = _store(self.chunk, configuration, atoms, result)
        self.close()
        self.last = result.directory, atoms.numbers
        return outcome

    def _reusable(self, atoms: Atoms) -> Path | None:
        """Folder of the last label, if it was one of the same atoms in the same order."""
        if self.last is None or not self.dft.reuse_wavefunctions:
            return None
        directory, numbers = self.last
        return directory if np.array_equal(numbers, atoms.numbers) else None

    def close(self) -> None:
        """Remove the large files of the last label, which the next one has used by now."""
        inputs = self.chunk.inputs
        if self.last is not None and not (inputs.reserve_scf_files or inputs.reserve_work):
            clean(self.code, self.last[0])


def _store(chunk: _Chunk, configuration: ObjectId, atoms: Atoms, result: LabelResult) -> str:
    context, code = chunk.context, chunk.dft.dft_style
    refusal = level_refusal(context, code, result.settings_hash, result.directory)
    if refusal:
        logger.warning("configuration %s: quarantined, %s", configuration, refusal)
    record: dict[str, Any] = {
        "code": code,
        "settings": result.settings,
        "settings_hash": result.settings_hash,
        "level_asked": chunk.level_asked(atoms),
        "corrections": result.corrections,
        "changes": result.changes,
        "wall_time": result.wall_time,
        "cores": chunk.block.cores_each,
        "directory": str(result.directory),
    }
    frame = LabelledFrame(atoms, result.label)
    stored = configurations.store_label(context.db, configuration, frame, record, refusal)
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
