"""End a campaign: final errors, model files, summary and plot."""

from __future__ import annotations

from pathlib import Path

from fireworks import FWAction, explicit_serialize

from alpw.database import campaigns, models
from alpw.database.summary import summarise
from alpw.firetasks.base import CampaignTask, Context
from alpw.firetasks.evaluate import evaluate_history
from alpw.report.files import write_report


@explicit_serialize
class FinishCampaign(CampaignTask):
    """Write the final models and the campaign's history to its folder, then make the verdict final."""

    def work(self, context: Context) -> FWAction:
        """Measure, write, finish."""
        evaluate_history(context.db, context.campaign)
        files = _write_models(context)
        context.record(stage="done", model_file=str(files[0]), finished=campaigns.now())
        campaigns.finish(
            context.db,
            context.campaign,
            campaigns.CampaignState(context.iteration["verdict"]),
            context.iteration["reason"],
        )
        write_report(summarise(context.db, context.campaign))
        return FWAction(stored_data={"models": [str(file) for file in files]})


def _write_models(context: Context) -> list[Path]:
    folder = Path(context.document["work_dir"], "models")
    folder.mkdir(exist_ok=True)
    files = []
    for model in models.committee(context.db, context.campaign, context.index):
        file = folder / f"model.{model['member']:03d}.pt"
        file.write_bytes(models.weights(context.db, model))
        files.append(file)
    return files
