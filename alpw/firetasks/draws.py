"""Draws of a model's weights, from which Kalman prediction uncertainty is computed: made once, found again.

The covariance that they come from has hundreds of megabytes, the draws a few. Both lie beside a file of the
model in the folder of its training, and the model's document says where. The draws follow from the covariance
and their seed, so that a file which was lost is made again, the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alpw.database import iterations, models, reading, snapshots
from alpw.errors import AlpwError
from alpw.firetasks.base import Context
from alpw.potential import DeepPotential
from alpw.potential.covariance import Covariance, covariance_path
from alpw.structures.seeds import derive_seed
from alpw.uncertainty.kpu import Samples
from alpw.uncertainty.posterior import gauss_newton

MEMBER = 0
"""The member that drives exploration, and whose uncertainty is asked for."""


def keep_covariance(
    context: Context, member: int, model: DeepPotential, of_filter: Covariance | None
) -> dict[str, Any]:
    """Keep the covariance of a trained model's weights, and draws from it where they are wanted.

    A Kalman filter starts anew with every training, also from trained weights, and sees the whole training
    set: its covariance is what that set determines. Where a campaign trains on new labels only, the filter
    does not know what determines the rest, and the Gauss-Newton matrix of everything that the models have
    been trained on takes its place in each iteration. So it does where a spoiled end left none.

    Args:
        context: of the iteration that trained it.
        member: its index in the committee.
        model: uncompressed.
        of_filter: what its training ended with; None after Adam, and after a spoiled end.

    Returns:
        Fields of the model's document: ``covariance`` and ``draws``, as far as there are any.
    """
    wanted = context.param.strategy.has_kpu and member == MEMBER
    covariance = of_filter
    if wanted and (covariance is None or context.param.init_data_only_pretrain):
        seed = derive_seed(context.param.train.seed, "atoms", context.index, member)
        covariance = gauss_newton(model, list(reading.frames(context.db, _seen(context))), seed=seed)
    if covariance is None:
        return {}
    # Hundreds of megabytes that only KPU reads: beside a model file, and not in the database.
    file = _model_file(context, member)
    model.save(file)
    covariance.save(covariance_path(file))
    record: dict[str, Any] = {"covariance": str(covariance_path(file))}
    return record | ({"draws": _draw(context, file, covariance)} if wanted else {})


def draws_file(context: Context, model: dict[str, Any]) -> Path:
    """The file of the draws that exploration takes, made if it is lost, or was not asked for in training.

    Args:
        context: of the model's iteration.
        model: its document.

    Raises:
        AlpwError: there are none, and no covariance to make them from.
    """
    draws = model.get("draws")
    if draws and Path(draws["file"]).is_file():
        return Path(draws["file"])
    source = model.get("covariance")
    if source is None or not Path(source).is_file():
        raise AlpwError(
            f"model {model['member']} of iteration {context.index} has no draws of its weights, and no "
            f"covariance to make them from ({source or 'trained without a Kalman filter'}); train it again"
        )
    made = _draw(context, _model_file(context, model["member"]), Covariance.load(source), draws)
    if draws is None:
        models.amend(context.db, model["_id"], draws=made)
    return Path(made["file"])


def _draw(
    context: Context, model_file: Path, covariance: Covariance, again: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Make the draws beside a model file, or those of the record ``again`` once more; gives their record."""
    draws = again or {
        "file": str(model_file.with_name(f"{model_file.stem}.draws{model_file.suffix}")),
        "number": context.param.strategy.kpu_draws,
        "seed": derive_seed(context.param.train.seed, "draws", context.index, MEMBER),
        "covariance": covariance.kind,
    }
    Samples.draw(covariance, draws["number"], seed=draws["seed"]).save(draws["file"])
    return draws


def _model_file(context: Context, member: int) -> Path:
    return context.directory("00.train") / f"model.{member:03d}.pt"


def _seen(context: Context) -> list[Any]:
    """Ids of all frames that the iteration's models have been trained on, in this iteration or before."""
    sets = [iterations.get(context.db, context.campaign, 0), context.iteration]
    seen = [snapshots.ids(context.db, iteration["training_set"]["hash"]) for iteration in sets]
    return list(dict.fromkeys(identity for part in seen for identity in part))
