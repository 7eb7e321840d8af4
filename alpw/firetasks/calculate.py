"""Relax structures and run AIMD; what another job has begun is continued."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from bson import ObjectId
from fireworks import FWAction, Workflow, explicit_serialize

from alpw.cluster.slurm import seconds_left
from alpw.codes.protocol import Steps, Task
from alpw.codes.registry import code_of
from alpw.codes.run import clean, run_steps
from alpw.config.dft import Dft
from alpw.database import calculations
from alpw.database.calculations import State
from alpw.database.documents import atoms_of
from alpw.errors import CalculationError, FailureKind
from alpw.firetasks.base import CampaignTask, Surroundings
from alpw.firetasks.label import RESERVE
from alpw.firetasks.lanes import LEFT, environments, run_in_lanes

logger = logging.getLogger(__name__)


@explicit_serialize
class RunCalculations(CampaignTask):
    """Relaxations and AIMD runs, as many at a time as the block's ``parallel_num``.

    One that fails is recorded with its reason and does not stop the others. When the job's time is up, what
    is left goes to a Firework of its own.

    Required parameters:
        calculations: ids of the calculations.
    """

    required_params: ClassVar = ["calculations"]

    def work(self, context: Surroundings) -> FWAction:
        """Claim, run and store what is asked for."""
        wanted = [ObjectId(calculation) for calculation in self["calculations"]]
        lanes = [_Lane(context, own) for own in environments(context.block.parallel_num, len(wanted))]
        outcomes = run_in_lanes(wanted, lanes)
        left = [str(calculation) for calculation, outcome in outcomes.items() if outcome == LEFT]
        again = context.firework("RunCalculations", f"go on with {len(left)}", calculations=left)
        return FWAction(
            stored_data=dict(Counter(outcomes.values())), detours=[Workflow([again])] if left else None
        )


class _Lane:
    """Calculations one after the other; only the first of them has the whole job."""

    def __init__(self, context: Surroundings, environment: Mapping[str, str]) -> None:
        self.context, self.environment, self.begun = context, environment, False

    def has_time(self) -> bool:
        """Whether another calculation may begin; what cannot begin any more must not fail for that."""
        left = seconds_left()
        return not self.begun or left is None or left > 2 * RESERVE

    def calculate(self, calculation: ObjectId) -> str:
        """Run one calculation and say what became of it."""
        alone, self.begun = not self.begun, True
        return _calculate(self.context, calculation, self.environment, alone=alone)

    def close(self) -> None:
        """Each calculation has tidied up after itself."""


def _calculate(
    context: Surroundings, calculation: ObjectId, environment: Mapping[str, str], *, alone: bool
) -> str:
    """Run one calculation and say what became of it.

    Args:
        context: of the Firetask.
        calculation: its id.
        environment: variables for the program.
        alone: whether it has a whole job; then time that is too short for its first step is a failure.
    """
    document = calculations.claim(context.db, calculation, context.fw_id)
    if document is None:
        return "skipped"
    dft, task = Dft.model_validate(document["dft"]), Task(document["task"])
    code, left = code_of(dft.dft_style), seconds_left()
    try:
        steps = run_steps(
            code,
            task,
            atoms_of(document),
            folder_of(context, document),
            dft,
            context.command(dft),
            environment=environment,
            timeout=None if left is None else max(0.0, left - RESERVE),
        )
    except CalculationError as error:
        logger.warning("%s: %s", document["key"], error)
        if error.kind is FailureKind.WALLTIME and left is not None and not alone:
            calculations.put_back(context.db, calculation)
            return LEFT
        calculations.quarantine(context.db, calculation, error)
        return State.QUARANTINED.value
    record = {
        **_record(dft, steps),
        "steps": len(steps.frames),
        "rejected": steps.rejected,
        "cores": context.block.cores_each,
    }
    state = State.DONE if steps.complete else State.UNFINISHED
    calculations.store(context.db, calculation, state, steps.structure, record)
    if not steps.complete:
        return LEFT
    if not context.inputs.reserve_work:
        clean(code, steps.directory)
    return state.value


def folder_of(context: Surroundings, calculation: dict[str, Any]) -> Path:
    """Where a calculation runs: it depends on the calculation alone, so that whoever goes on finds it."""
    named = calculation["source"].get("folder", [str(calculation["_id"])])
    return context.directory(calculation["task"], *named)


def _record(dft: Dft, steps: Steps) -> dict[str, Any]:
    return {
        "code": dft.dft_style,
        "settings": steps.settings,
        "settings_hash": steps.settings_hash,
        "corrections": steps.corrections,
        "wall_time": steps.wall_time,
        "directory": str(steps.directory),
    }
