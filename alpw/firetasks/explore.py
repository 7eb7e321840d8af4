"""Run the trajectories of one Firework."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from fireworks import FWAction, explicit_serialize

from alpw.codes.lammps import Ensemble, ExplorationResult, ExplorationTask
from alpw.config.strategy import COMMITTEE, KPU
from alpw.database import models, reading, trajectories
from alpw.errors import AlpwError, CalculationError, FailureKind
from alpw.firetasks.base import CampaignTask, Context
from alpw.firetasks.draws import MEMBER, draws_file
from alpw.firetasks.thresholds import measures, upper_before
from alpw.trainers import trainer_of
from alpw.trainers.engine import Engine, engine_of
from alpw.workflows.exploring import templates_of
from alpw.workflows.launch import start_structures

logger = logging.getLogger(__name__)

STOPS = {COMMITTEE: "stop_above", KPU: "stop_above_kpu"}
"""What a task calls the upper threshold of a measure."""


@explicit_serialize
class ExploreTrajectories(CampaignTask):
    """Molecular dynamics driven by member 0, with the uncertainty of every saved frame.

    That is the committee's deviation, Kalman prediction uncertainty of member 0, or both.

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
        # After a change of inputs there may be more models than the campaign now has.
        members = context.param.strategy.model_num
        committee = models.committee(context.db, context.campaign, context.index)[:members]
        files = [_model_file(context, model) for model in committee]
        draws = draws_file(context, committee[MEMBER]) if context.param.strategy.has_kpu else None
        trainer = trainer_of(context.param.train.trainer)
        engine = engine_of(trainer, context.environment.get("lammps_cmd"), context.block.command)
        ends = {}
        for key in self["trajectories"]:
            stored = trajectories.find(context.db, context.campaign, context.index, key)
            start = _start(context, plans[key], starts)
            ends[key] = stored["end"] if stored else _run(context, engine, plans[key], start, files, draws)
        return FWAction(stored_data={"ends": ends})


def _model_file(context: Context, model: dict[str, Any]) -> Path:
    trainer = trainer_of(context.param.train.trainer)
    folder = context.directory("01.explore", "models")
    return trainer.write_model(models.weights(context.db, model), folder, f"model.{model['member']:03d}")


def _stop(context: Context, plan: dict[str, Any]) -> dict[str, Any]:
    """When a trajectory ends early, by those upper thresholds that are known before it begins."""
    strategy = context.param.strategy
    if strategy.stop_after is None:
        return {}
    upper = {STOPS[measure]: upper_before(context, plan, measure) for measure in measures(strategy)}
    known = {key: above for key, above in upper.items() if above}
    return {"stop_after": strategy.stop_after, **known} if known else {}


def _start(context: Context, plan: dict[str, Any], structures: list[Atoms]) -> Atoms:
    """What a trajectory begins with: a labelled frame, or the start structure."""
    if "start" not in plan:
        return structures[plan["structure"]]
    return reading.structure(context.db, plan["start"]["configuration"])


_SETTINGS = ("temperature_end", "pressure", "timestep", "taut", "taup", "neigh_modify", "masses")
"""Of a plan; one that it does not hold is left at its default."""


def _run(
    context: Context,
    engine: Engine,
    plan: dict[str, Any],
    atoms: Atoms,
    files: list[Path],
    draws: Path | None,
) -> str:
    strategy = context.param.strategy
    number = plan.get("template")
    template = None if number is None else templates_of(context.db, context.iteration["inputs"])[number]
    task = ExplorationTask(
        atoms=atoms,
        models=tuple(files),
        ensemble=Ensemble(plan["ensemble"]),
        samples=draws,
        deviation=strategy.deviation,
        **_stop(context, plan),
        temperature=plan["temperature"],
        n_steps=plan["n_steps"],
        stride=plan["stride"],
        seed=plan["seed"],
        template=template,
        threads=context.param.train.threads,
        **{name: plan[name] for name in _SETTINGS if plan.get(name) is not None},
    )
    directory = context.directory("01.explore", "md", plan["group"], plan["key"])
    try:
        result = engine.explore(task, directory)
        if result.end is None:
            raise CalculationError("the trajectory has no recorded end", FailureKind.UNKNOWN, directory)
        end = result.end
        outcome = {"end": end.reason.value, "message": end.message, "wall_time": end.wall_time}
    except CalculationError as error:
        logger.warning("trajectory %s: %s", plan["key"], error)
        result = engine.read_result(directory)
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
        raise AlpwError(f"{directory}: one model without draws of its weights has no uncertainty")
    series = {
        "step": result.steps,
        "temperature": result.temperatures,
        "potential_energy": result.potential_energies,
        "pressure": result.pressures,
        trajectories.MAX_FORCE: result.max_forces,
        **{trajectories.DEVIATION_SERIES[name]: values for name, values in deviations.items()},
    }
    strategy = context.param.strategy
    record = {
        **plan,
        **outcome,
        "deviation": result.deviation,
        "draws": strategy.kpu_draws if strategy.has_kpu else None,
        "directory": str(directory),
    }
    key = record.pop("key")
    trajectories.store(context.db, context.campaign, context.index, key, result.frames(), series, record)
