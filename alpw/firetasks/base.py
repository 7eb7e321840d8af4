"""What every Firetask of a campaign shares: its surroundings, and patience with the database."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fireworks import FiretaskBase, FWAction, LaunchPad
from pymongo.database import Database
from pymongo.errors import ConnectionFailure

from alpw.config.param import Param
from alpw.config.resource import Resource
from alpw.database import campaigns, iterations
from alpw.workflows.launch import inputs_of

logger = logging.getLogger(__name__)


#: Seconds for which a Firetask waits for a database that has gone away.
DATABASE_PATIENCE = 600.0


class CampaignTask(FiretaskBase):
    """A Firetask of a campaign. Subclasses give :meth:`work`, which may run twice without harm."""

    def work(self, context: Context) -> FWAction:
        """What the Firetask does."""
        raise NotImplementedError

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:
        """Work, and start over when the database was lost on the way and has come back.

        A Firetask that raised instead would fizzle for a reason that is not its own, and its results with it.
        """
        deadline = time.monotonic() + DATABASE_PATIENCE
        while True:
            try:
                return self.work(Context.of(self, fw_spec))
            except ConnectionFailure as error:
                if time.monotonic() > deadline:
                    raise
                logger.warning("database lost, trying again: %s", str(error).split(",")[0])
                time.sleep(2.0)


@dataclass(frozen=True)
class Context:
    """A Firetask's campaign and iteration, read from the database when asked for."""

    launchpad: LaunchPad
    fw_id: int
    campaign: str
    index: int
    environment: dict[str, Any]

    @classmethod
    def of(cls, firetask: Any, fw_spec: dict[str, Any]) -> Context:
        """The context of a running Firetask (its spec asks for ``_add_launchpad_and_fw_id``)."""
        return cls(
            firetask.launchpad,
            firetask.fw_id,
            fw_spec["campaign"],
            fw_spec["iteration"],
            fw_spec.get("_fw_env") or {},
        )

    @property
    def db(self) -> Database:
        """The database that LaunchPad and campaign share."""
        return self.launchpad.db

    @cached_property
    def document(self) -> dict[str, Any]:
        """The campaign's document."""
        return campaigns.get(self.db, self.campaign)

    @cached_property
    def param(self) -> Param:
        """The parameters with which the iteration began."""
        return inputs_of(self.iteration["inputs"])[0]

    @cached_property
    def resource(self) -> Resource:
        """The campaign's resources as they are now: a command that is mended serves at once."""
        return inputs_of(self.document)[1]

    @cached_property
    def iteration(self) -> dict[str, Any]:
        """The iteration's document."""
        return iterations.get(self.db, self.campaign, self.index)

    def directory(self, *parts: str) -> Path:
        """A folder of this iteration, named as the predecessor names it; created when missing."""
        stage = "prepare" if self.index < 0 else f"iter.{self.index:04d}"
        path = Path(self.document["work_dir"], stage, *parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def command(self, name: str, fallback: str | None) -> str | None:
        """A program's command: the worker's ``env`` decides, then the campaign's resource file."""
        return self.environment.get(f"{name}_cmd") or fallback

    def record(self, **fields: Any) -> None:
        """Set fields of the iteration's document."""
        iterations.update(self.db, self.campaign, self.index, **fields)
