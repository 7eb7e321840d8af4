"""What came of an example, compared with what was counted by hand, as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from rich.table import Table

from tests.examples.expected import EXPECTED, Expected, Stages, is_split
from tests.examples.workshop import Exploration

ENDS = ("converged", "exhausted")
"""verdicts of a campaign that has done all that it should"""


class Outcome(NamedTuple):
    """What came of an example."""

    name: str
    summary: dict[str, Any]
    """of the init_bulk campaign"""
    planned: Exploration
    """of iteration 0"""
    seconds: float
    changes: tuple[str, ...] = ()
    """of param.json"""
    campaign: dict[str, Any] | None = None
    """summary of active learning; None if it was only planned"""

    @property
    def generated(self) -> tuple[Stages, ...]:
        return tuple(structure["structures"] for structure in self.summary["structures"])

    @property
    def runs(self) -> int:
        return sum(structure["runs"].get("done", 0) for structure in self.summary["structures"])

    @property
    def iterations(self) -> list[dict[str, Any]]:
        """Of active learning."""
        return self.campaign["iterations"] if self.campaign else []

    @property
    def unreached(self) -> int:
        """Frames of iteration 0 that its trajectories broke before."""
        return self.iterations[0]["unreached"] if self.campaign else 0

    @property
    def explored(self) -> Exploration:
        """Iteration 0: what it explored, or came to know that it cannot, or else what it would."""
        first = self.iterations[0]["frames"] + self.unreached if self.campaign else self.planned.frames
        return Exploration(self.planned.trajectories, first)

    def frames(self, role: str) -> int:
        return sum(structure["frames"].get(role, 0) for structure in self.summary["structures"])

    def total(self, count: str) -> int:
        """Sum of a count over the iterations of active learning."""
        return sum(iteration[count] for iteration in self.iterations)

    def wrong(self, expected: Expected) -> list[str]:
        """What differs, in words."""
        train, valid = self.frames("train"), self.frames("validation")
        checks = {
            "state": self.summary["state"] == "completed",
            "structures": self.generated == expected.generated,
            "runs": self.runs == expected.runs,
            "frames": train + valid == expected.frames,
            "split": is_split(train, valid, train + valid),
            "trajectories": self.explored.trajectories == expected.trajectories,
            "explored": self.explored.frames == expected.explored,
        }
        if self.campaign:
            checks["verdict"] = self.campaign["verdict"] in ENDS
            checks["labels"] = self.total("labelled") == self.total("selected") > 0
            checks["models"] = self.campaign["final"] is not None
        return [name for name, right in checks.items() if not right]


def table_of(outcomes: Iterable[Outcome]) -> Table:
    headings = (
        "example",
        "generated",
        "runs",
        "frames",
        "train/valid",
        "iteration 0",
        "param.json",
        "ends",
        "s",
        "",
    )
    table = Table(*headings, box=None, pad_edge=False)
    for outcome in outcomes:
        expected, explored = EXPECTED[outcome.name], outcome.explored
        wrong = outcome.wrong(expected)
        row = [
            outcome.name,
            "; ".join(_stages(stages) for stages in outcome.generated),
            _pair(outcome.runs, expected.runs),
            _pair(outcome.frames("train") + outcome.frames("validation"), expected.frames),
            f"{outcome.frames('train')}/{outcome.frames('validation')}",
            f"{_pair(explored.trajectories, expected.trajectories)} trajectories, "
            f"{_pair(explored.frames, expected.explored)} frames"
            + (f", {outcome.unreached} not reached" if outcome.unreached else ""),
            "\n".join(outcome.changes) or "unchanged",
            _end(outcome),
            f"{outcome.seconds:.0f}",
            f"WRONG: {', '.join(wrong)}" if wrong else "ok",
        ]
        table.add_row(*row, style="bold red" if wrong else "")
    return table


def _end(outcome: Outcome) -> str:
    if not outcome.campaign:
        return "planned only"
    labels = f"{outcome.total('labelled')} of {outcome.total('selected')} labels"
    return f"{outcome.campaign['verdict']}, {len(outcome.iterations)} iterations, {labels}"


def _pair(found: int, wanted: int) -> str:
    return str(found) if found == wanted else f"{found} not {wanted}"


def _stages(stages: Stages) -> str:
    return ", ".join(f"{count} {stage}" for stage, count in stages.items())
