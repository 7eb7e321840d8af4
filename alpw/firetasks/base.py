"""What every Firetask of a campaign shares: its surroundings, and patience with the database."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bson import ObjectId
from fireworks import FiretaskBase, Firework, FWAction, LaunchPad
from pymongo.database import Database
from pymongo.errors import ConnectionFailure

from alpw.codes.protocol import Task
from alpw.config import Dft, InitBulk, InitResource, Param, Resource, ResourceBlock, StartConfig
from alpw.config.commands import command_name, command_names
from alpw.database import calculations, campaigns, configurations, iterations, preparations
from alpw.workflows import active_learning, init_bulk
from alpw.workflows.launch import inputs_of
from alpw.workflows.launch_init import init_inputs_of
from alpw.workflows.request import granted

logger = logging.getLogger(__name__)


#: What a Firework hands down to one that goes on with its work: keys of its spec without the underscore.
STANDING = ("category", "priority", "queueadapter")

#: Seconds for which a Firetask waits for a database that has gone away.
DATABASE_PATIENCE = 600.0


class CampaignTask(FiretaskBase):
    """A Firetask of a campaign. Subclasses give :meth:`work`, which may run twice without harm."""

    def work(self, context: Any) -> FWAction:
        """What the Firetask does, in its :class:`Context`."""
        raise NotImplementedError

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:
        """Work, and start over when the database was lost on the way and has come back.

        A Firetask that raised instead would fizzle for a reason that is not its own, and its results with it.
        """
        deadline = time.monotonic() + DATABASE_PATIENCE
        while True:
            try:
                context = context_of(self, fw_spec)
                return hold_back(self.work(context), context)
            except ConnectionFailure as error:
                if time.monotonic() > deadline:
                    raise
                logger.warning("database lost, trying again: %s", str(error).split(",")[0])
                time.sleep(2.0)


def hold_back(action: FWAction, context: Surroundings) -> FWAction:
    """What a Firetask returns; what it appends to a held campaign is paused like the rest."""
    if not campaigns.is_running(context.db, context.campaign):
        for workflow in (*action.additions, *action.detours):
            for firework in workflow.fws:
                firework.state = "PAUSED"
    return action


def context_of(firetask: Any, fw_spec: dict[str, Any]) -> Context | StructureContext:
    """The context of a running Firetask (its spec asks for ``_add_launchpad_and_fw_id``)."""
    kind, index = (StructureContext, "structure") if "structure" in fw_spec else (Context, "iteration")
    return kind(
        firetask.launchpad,
        firetask.fw_id,
        fw_spec["campaign"],
        fw_spec[index],
        fw_spec.get("_fw_env") or {},
        {name: fw_spec[f"_{name}"] for name in STANDING if f"_{name}" in fw_spec},
    )


@dataclass(frozen=True)
class Surroundings(ABC):
    """A Firetask's campaign and its part in it, read from the database when asked for.

    Attributes:
        index: of the iteration, or of the start structure.
        environment: the worker's ``env``.
        standing: ``category``, ``priority`` and ``queueadapter`` of the running Firework.
    """

    launchpad: LaunchPad
    fw_id: int
    campaign: str
    index: int
    environment: dict[str, Any]
    standing: dict[str, Any] = field(default_factory=dict)

    @property
    def db(self) -> Database:
        """The database that LaunchPad and campaign share."""
        return self.launchpad.db

    @cached_property
    def document(self) -> dict[str, Any]:
        """The campaign's document."""
        return campaigns.get(self.db, self.campaign)

    @property
    @abstractmethod
    def inputs(self) -> Param | InitBulk:
        """The user's parameters."""

    @property
    @abstractmethod
    def resource(self) -> Resource:
        """The campaign's resources as they are now: a command that is mended serves at once."""

    @property
    @abstractmethod
    def place(self) -> Path:
        """Where the files go."""

    @abstractmethod
    def record(self, **fields: Any) -> None:
        """Set fields of the document about this part of the campaign."""

    @abstractmethod
    def firework(self, task: str, title: str, **parameters: Any) -> Firework:
        """Another Firework of this part of the campaign, for the same workers as the running one."""

    @cached_property
    def label_dft(self) -> Dft:
        """Settings of single-point labels."""
        return self.inputs.label_dft(self.index)

    def directory(self, *parts: str) -> Path:
        """A folder below :attr:`place`; created when missing."""
        path = self.place.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @cached_property
    def block(self) -> ResourceBlock:
        """The block of resource.json that the running Firework runs by, with what it asks for itself."""
        asked = self.standing.get("queueadapter", {})
        return granted(self.resource.block(self.standing["category"]), asked)

    def command(self, dft: Dft) -> str | None:
        """A program's command: the worker's ``env`` decides, then the block of the running Firework.

        A block's command is that of its own code only: another one gets None, its default.
        """
        name, block = command_name(dft.dft_style), self.resource.category(self.standing["category"])
        own = command_names(self.inputs).get(block) == name
        return self.environment.get(name) or (self.block.command if own else None)


class Context(Surroundings):
    """An iteration of active learning, or the preparation before the first."""

    @property
    def inputs(self) -> Param:
        return self.param

    @cached_property
    def param(self) -> Param:
        """The parameters with which the iteration began."""
        return inputs_of(self.iteration["inputs"])[0]

    @cached_property
    def resource(self) -> Resource:
        return inputs_of(self.document)[1]

    @cached_property
    def iteration(self) -> dict[str, Any]:
        """The iteration's document."""
        return iterations.get(self.db, self.campaign, self.index)

    @property
    def place(self) -> Path:
        """The iteration's folder, named as the predecessor names it."""
        stage = "prepare" if self.index < 0 else f"iter.{self.index:04d}"
        return Path(self.document["work_dir"], stage)

    @property
    def train_command(self) -> str | None:
        """How an external trainer is called: the worker's ``env`` decides, then resource.json."""
        return self.environment.get("train_cmd") or self.resource.train.command

    def record(self, **fields: Any) -> None:
        iterations.update(self.db, self.campaign, self.index, **fields)

    def firework(self, task: str, title: str, **parameters: Any) -> Firework:
        return active_learning.firework(task, title, self.campaign, self.index, **self.standing, **parameters)


class StructureContext(Surroundings):
    """A start structure of an init_bulk campaign."""

    @cached_property
    def _given(self) -> tuple[InitBulk, InitResource]:
        return init_inputs_of(self.document)

    @property
    def inputs(self) -> InitBulk:
        return self._given[0]

    @property
    def resource(self) -> InitResource:
        return self._given[1]

    @cached_property
    def name(self) -> str:
        """What the structure is called, such as ``Si_config_0``."""
        return str(self.document["starts"][self.index]["name"])

    @cached_property
    def relaxation(self) -> ObjectId | None:
        """Id of the structure's relaxation in ``calculations``; None if it is not relaxed."""
        found = self.calculations(Task.RELAX) if self.inputs.relaxes(self.entry) else []
        return found[0]["_id"] if found else None

    @property
    def entry(self) -> StartConfig:
        """The structure's entry of ``sys_configs``."""
        return self.inputs.entry(self.index)

    def calculations(self, task: Task) -> list[dict[str, Any]]:
        """The structure's relaxation, or its runs of dynamics in the order of their keys."""
        return calculations.of_structure(self.db, self.campaign, self.name, task.value)

    def configurations(self, **wanted: Any) -> list[dict[str, Any]]:
        """What came of the structure, in the order in which it came; see `configurations.of_structure`."""
        return configurations.of_structure(self.db, self.campaign, self.name, **wanted)

    @property
    def place(self) -> Path:
        return Path(self.document["work_dir"], init_bulk.FOLDER, self.name)

    def record(self, **fields: Any) -> None:
        preparations.update(self.db, self.campaign, self.index, **fields)

    def firework(self, task: str, title: str, **parameters: Any) -> Firework:
        return init_bulk.firework(
            task, title, self.campaign, self.index, self.name, **self.standing, **parameters
        )
