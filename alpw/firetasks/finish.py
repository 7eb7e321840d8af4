"""End a campaign: final errors, model files, summary and plot."""

from __future__ import annotations

import shutil
from pathlib import Path

from fireworks import FWAction, explicit_serialize

from alpw.database import campaigns, models
from alpw.database.summary import summarise
from alpw.firetasks.base import CampaignTask, Context
from alpw.firetasks.evaluate import evaluate_history
from alpw.notify import tell
from alpw.potential.covariance import covariance_path
from alpw.report.files import write_report
from alpw.trainers import trainer_of


@explicit_serialize
class FinishCampaign(CampaignTask):
    """Write the final models and the campaign's history to its folder, then make the verdict final."""

    def work(self, context: Context) -> FWAction:
        """Measure, write, finish."""
        ended = context.document["state"] in campaigns.ENDED_STATES
        evaluate_history(context)
        files = _write_models(context)
        context.record(stage="done", model_file=str(files[0]), finished=campaigns.now())
        campaigns.finish(
            context.db,
            context.campaign,
            campaigns.CampaignState(context.iteration["verdict"]),
            context.iteration["reason"],
        )
        write_report(summarise(context.db, context.campaign))
        if not ended:
            _tell(context)
        return FWAction(stored_data={"models": [str(file) for file in files]})


def _write_models(context: Context) -> list[Path]:
    folder = Path(context.document["work_dir"], "models")
    folder.mkdir(exist_ok=True)
    files = []
    for model in models.committee(context.db, context.campaign, context.index):
        data, stem = models.weights(context.db, model), f"model.{model['member']:03d}"
        files.append(trainer_of(models.trainer(model)).write_model(data, folder, stem))
        # Beside its model, where `alpw kpu` looks for it.
        if "covariance" in model and Path(model["covariance"]).is_file():
            shutil.copyfile(model["covariance"], covariance_path(files[-1]))
    return files


def _tell(context: Context) -> None:
    verdict, reason = context.iteration["verdict"], context.iteration["reason"]
    text = f"campaign {context.campaign} has ended, {verdict}: {reason}"
    news = {"event": verdict, "iteration": context.index, "state": verdict, "text": text}
    tell(context.param.webhook, campaign=context.campaign, **news)
