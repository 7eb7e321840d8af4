"""Run the trajectories of one Firework."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from fireworks import FWAction, explicit_serialize

from alpw.codes.lammps import Ensemble, ExplorationResult, ExplorationTask, explore, read_result
from alpw.database import models, trajectories
from alpw.errors import AlpwError, CalculationError, FailureKind
from alpw.firetasks.base import CampaignTask, Context
from alpw.workflows.launch import start_structures

logger = logging.getLogger(__name__)


@explicit_serialize
class ExploreTrajectories(CampaignTask):
    """Molecular dynamics driven by member 0, with the committee's deviation on every saved frame.

    A trajectory that cannot run is stored without frames and with the reason, so that the others count.

    Required parameters:
        trajectories: names in the iteration's plan.
    """

    required_params: ClassVar = ["trajectories"]

    def work(self, context: Context) -> FWAction:
        """Fetch models and start structures, run, store."""
        context.record(stage="explore")
        plans = {plan["key"]: plan for plan in context.iteration["plan"]}
        starts = start_structures(context.db, context.iteration["inputs"])
        committee = models.committee(context.db, context.campaign, context.index)
        files = [_model_file(context, model) for model in committee]
        ends = {}
        for key in self["trajectories"]:
            stored = trajectories.find(context.db, context.campaign, context.index, key)
            start = starts[plans[key]["structure"]]
            ends[key] = stored["end"] if stored else _run(context, plans[key], start, files)
        return FWAction(stored_data={"ends": ends})


def _model_file(context: Context, model: dict[str, Any]) -> Path:
    file = context.directory("01.explore", "models") / f"model.{model['member']:03d}.pt"
    data = models.weights(context.db, model)
    if not file.exists() or file.read_bytes() != data:
        partial = file.with_suffix(f".{context.fw_id}")
        partial.write_bytes(data)
        partial.replace(file)
    return file


def _run(context: Context, plan: dict[str, Any], atoms: Atoms, files: list[Path]) -> str:
    strategy = context.param.strategy
    task = ExplorationTask(
        atoms=atoms,
        models=tuple(files),
        ensemble=Ensemble(plan["ensemble"]),
        deviation=strategy.deviation,
        stop_after=strategy.stop_after,
        stop_above=strategy.upper_model_devi_f if strategy.stop_after else None,
        temperature=plan["temperature"],
        pressure=plan["pressure"],
        timestep=plan["timestep"],
        n_steps=plan["n_steps"],
        stride=plan["stride"],
        taut=plan["taut"],
        taup=plan["taup"],
        neigh_modify=plan["neigh_modify"],
        seed=plan["seed"],
        threads=context.param.train.threads,
    )
    directory = context.directory("01.explore", "md", plan["group"], plan["key"])
    try:
        # The model runs inside the LAMMPS process, so only a worker can say how to start it here.
        result = explore(task, directory, command=context.environment.get("lammps_cmd"))
        if result.end is None:
            raise CalculationError("the trajectory has no recorded end", FailureKind.UNKNOWN, directory)
        end = result.end
        outcome = {"end": end.reason.value, "message": end.message, "wall_time": end.wall_time}
    except CalculationError as error:
        logger.warning("trajectory %s: %s", plan["key"], error)
        result = read_result(directory)
        outcome = {"end": "error", "message": str(error), "wall_time": 0.0}
    _store(context, plan, directory, result, outcome)
    return str(outcome["end"])


def _store(
    context: Context,
    plan: dict[str, Any],
    directory: Path,
    result: ExplorationResult,
    outcome: dict[str, Any],
) -> None:
    deviations = result.deviations
    if deviations is None:
        raise AlpwError(f"{directory}: a single model has no deviation; strategy.model_num must be 3 or more")
    series = {
        "step": result.steps,
        "temperature": result.temperatures,
        "potential_energy": result.potential_energies,
        "pressure": result.pressures,
        **{trajectories.DEVIATION_SERIES[name]: values for name, values in deviations.items()},
    }
    record = {**plan, **outcome, "deviation": result.deviation, "directory": str(directory)}
    key = record.pop("key")
    trajectories.store(context.db, context.campaign, context.index, key, result.frames(), series, record)
