"""Label a chunk of configurations; what is labelled already is skipped."""

from __future__ import annotations

import logging
from typing import ClassVar

from bson import ObjectId
from fireworks import FWAction, explicit_serialize

from alpw.codes.label import run_label
from alpw.codes.protocol import LabelResult
from alpw.codes.registry import single_point_code
from alpw.database import campaigns, configurations
from alpw.errors import CalculationError
from alpw.firetasks.base import CampaignTask, Context

logger = logging.getLogger(__name__)


@explicit_serialize
class LabelChunk(CampaignTask):
    """Single-point calculations of one chunk.

    A failed calculation is recorded with its reason and does not stop the chunk: failure is data.

    Required parameters:
        configurations: ids of the configurations.
    """

    required_params: ClassVar = ["configurations"]

    def work(self, context: Context) -> FWAction:
        """Claim, label and store one configuration after the other."""
        context.record(stage="label")
        outcome = {"labelled": 0, "failed": 0, "skipped": 0}
        for configuration in self["configurations"]:
            outcome[_label(context, ObjectId(configuration))] += 1
        return FWAction(stored_data=outcome)


def _label(context: Context, configuration: ObjectId) -> str:
    """Label one configuration and say what became of it."""
    document = configurations.claim(context.db, configuration, context.fw_id)
    if document is None:
        return "skipped"
    dft = context.param.dft
    try:
        result = run_label(
            single_point_code(dft.dft_style),
            configurations.atoms_of(document),
            # The folder depends on the configuration alone, so a calculation that finished before its
            # worker died is found again instead of being paid for twice.
            context.directory("02.label", str(configuration)),
            dft,
            context.command(dft.dft_style, context.resource.dft.command),
        )
    except CalculationError as error:
        logger.warning("configuration %s: %s", configuration, error)
        configurations.store_failure(context.db, configuration, error)
        return "failed"
    return "labelled" if _store(context, configuration, result) else "skipped"


def _store(context: Context, configuration: ObjectId, result: LabelResult) -> bool:
    admitted = campaigns.admit_settings(context.db, context.campaign, result.settings_hash)
    if not admitted:
        logger.warning("configuration %s: quarantined, its settings are not the campaign's", configuration)
    return configurations.store_label(
        context.db,
        configuration,
        result.label,
        quarantined=not admitted,
        record={
            "code": context.param.dft.dft_style,
            "settings": result.settings,
            "settings_hash": result.settings_hash,
            "corrections": result.corrections,
            "wall_time": result.wall_time,
            "directory": str(result.directory),
        },
    )
