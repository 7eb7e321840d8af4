"""Relax structures and run AIMD; what another job has begun is continued."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from bson import ObjectId
from fireworks import FWAction, explicit_serialize

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

logger = logging.getLogger(__name__)


@explicit_serialize
class RunCalculations(CampaignTask):
    """Relaxations and AIMD runs, one after the other.

    One that fails is recorded with its reason and does not stop the others. When the job's time is up, what
    is left goes to a Firework of its own.

    Required parameters:
        calculations: ids of the calculations.
    """

    required_params: ClassVar = ["calculations"]

    def work(self, context: Surroundings) -> FWAction:
        """Claim, run and store one calculation after the other."""
        outcomes: dict[str, str] = {}
        for identity in self["calculations"]:
            # What cannot begin any more must not fail for that.
            outcomes[identity] = (
                State.UNFINISHED.value
                if outcomes and _is_late()
                else _calculate(context, ObjectId(identity), alone=not outcomes)
            )
        left = [identity for identity, outcome in outcomes.items() if outcome == State.UNFINISHED.value]
        again = [context.firework("RunCalculations", f"go on with {len(left)}", calculations=left)]
        return FWAction(stored_data=dict(Counter(outcomes.values())), detours=again if left else None)


def _is_late() -> bool:
    """Whether nothing more fits into the job."""
    left = seconds_left()
    return left is not None and left <= 2 * RESERVE


def _calculate(context: Surroundings, calculation: ObjectId, *, alone: bool) -> str:
    """Run one calculation and say what became of it.

    Args:
        context: of the Firetask.
        calculation: its id.
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
            context.command(task, dft),
            timeout=None if left is None else max(0.0, left - RESERVE),
        )
    except CalculationError as error:
        logger.warning("%s: %s", document["key"], error)
        if error.kind is FailureKind.WALLTIME and left is not None and not alone:
            calculations.put_back(context.db, calculation)
            return State.UNFINISHED.value
        calculations.quarantine(context.db, calculation, error)
        return State.QUARANTINED.value
    state = State.DONE if steps.complete else State.UNFINISHED
    block = context.block(task, dft)
    record = {
        **_record(dft, steps),
        "steps": len(steps.frames),
        "rejected": steps.rejected,
        "cores": block.number_node * block.cpu_per_node,
    }
    calculations.store(context.db, calculation, state, steps.structure, record)
    if state is State.DONE and not context.inputs.reserve_work:
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
