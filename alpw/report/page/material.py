"""Everything that the sections of a page share, fetched once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pymongo.database import Database

from alpw.database import campaigns, costs, iterations, report_data
from alpw.database.configurations import Role
from alpw.database.iteration_view import IterationView, view
from alpw.database.report_data import Failures, Row


@dataclass(frozen=True)
class Material:
    """A campaign in the database."""

    db: Database
    campaign: dict[str, Any]

    @property
    def name(self) -> str:
        """By which the campaign is called."""
        return str(self.campaign["_id"])

    @cached_property
    def param(self) -> Mapping[str, Any]:
        """The resolved parameters as they are now, with whatever keys their version has."""
        resolved: Mapping[str, Any] = self.campaign["resolved"]["param"]
        return resolved

    @cached_property
    def views(self) -> list[IterationView]:
        """All iterations, the preparation first."""
        return [view(document) for document in iterations.of_campaign(self.db, self.name)]

    @property
    def explored(self) -> list[IterationView]:
        """Iterations of which frames have been classified."""
        return [found for found in self.views if found.kind == "explore" and found.frames]

    @cached_property
    def rows(self) -> list[Row]:
        """All its configurations, labelled or not, oldest first."""
        return report_data.rows(self.db, self.name)

    @property
    def labelled(self) -> list[Row]:
        """The data set."""
        return [row for row in self.rows if row.labelled]

    @property
    def held_out(self) -> int:
        """Labelled frames that are never trained on."""
        return sum(row.role == Role.VALIDATION.value for row in self.labelled)

    @cached_property
    def hours(self) -> dict[int, dict[str, float]]:
        """Core-hours in h by iteration and stage: as recorded with the verdict, else as spent so far."""
        return {
            found.index: found.core_hours or costs.spent(self.db, self.name, found.index)
            for found in self.views
        }

    @property
    def total_hours(self) -> float:
        """Core-hours in h of all iterations."""
        return sum(sum(spent.values()) for spent in self.hours.values())

    @cached_property
    def failures(self) -> list[Failures]:
        """Calculations without a result by class, the most frequent one first."""
        return report_data.failures(self.db, self.name)

    @cached_property
    def levels(self) -> list[dict[str, Any]]:
        """Levels of theory of the labels, see `report_data.levels`; the most frequent one first."""
        return report_data.levels(self.db, self.name)

    @cached_property
    def runs(self) -> list[dict[str, Any]]:
        """Trajectories without frames; ``temperature`` in K, ``pressure`` in bar, ``timestep`` in ps."""
        return report_data.runs(self.db, self.name)

    @cached_property
    def members(self) -> list[dict[str, Any]]:
        """Models by iteration and member; ``wall_time`` in s, ``size`` in bytes."""
        return report_data.members(self.db, self.name)

    def committee(self, index: int) -> list[dict[str, Any]]:
        """The models of an iteration."""
        return [model for model in self.members if model["iteration"] == index]

    @property
    def newest_models(self) -> int | None:
        """The last iteration that has trained models."""
        return max((model["iteration"] for model in self.members), default=None)


def gather(db: Database, name: str) -> Material:
    """The material of a campaign.

    Raises:
        InputError: there is none of that name.
    """
    return Material(db, campaigns.get(db, name))


def called(found: IterationView) -> str:
    """An iteration in a table."""
    return {"prepare": "first data", "final": "final"}.get(found.kind, str(found.index))
