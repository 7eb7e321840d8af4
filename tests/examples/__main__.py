"""``make examples``: the silicon examples in full, with stand-ins for licensed programs, as a table.

python -m tests.examples [--run] [NAME ...]

Exits with 1 if a number is not the one that `tests.examples.expected` counts by hand. ``--run`` goes on with
active learning where that is cheap, to its end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from alpw.errors import AlpwError
from tests.examples.expected import EXPECTED, Expected, Stages, is_split
from tests.examples.workshop import Exploration, Workshop, plan_exploration, workshop

CHEAP = ("si_xtb",)
"""examples whose active learning takes minutes"""

complaints = Console(stderr=True)


class Outcome(NamedTuple):
    """What came of an example."""

    name: str
    summary: dict[str, Any]
    """of the init_bulk campaign"""
    exploration: Exploration
    """of iteration 0"""
    verdict: str
    """how active learning ended; empty if it was only planned"""
    seconds: float

    @property
    def generated(self) -> tuple[Stages, ...]:
        return tuple(structure["structures"] for structure in self.summary["structures"])

    @property
    def runs(self) -> int:
        return sum(structure["runs"].get("done", 0) for structure in self.summary["structures"])

    def frames(self, role: str) -> int:
        return sum(structure["frames"].get(role, 0) for structure in self.summary["structures"])

    def wrong(self, expected: Expected) -> list[str]:
        """What differs, in words."""
        train, valid = self.frames("train"), self.frames("validation")
        checks = {
            "state": self.summary["state"] == "completed",
            "structures": self.generated == expected.generated,
            "runs": self.runs == expected.runs,
            "frames": train + valid == expected.frames,
            "split": is_split(train, valid, train + valid),
            "trajectories": self.exploration.trajectories == expected.trajectories,
            "explored": self.exploration.frames == expected.explored,
            "verdict": self.verdict in ("", "converged", "exhausted"),
        }
        return [name for name, right in checks.items() if not right]


def try_example(place: Workshop, name: str, *, to_the_end: bool) -> Outcome:
    """Copy an example and do what its README says."""
    began = time.monotonic()
    folder = place.copy(name)
    summary = place.init_bulk(name)
    exploration, verdict = plan_exploration(folder), ""
    if to_the_end:
        campaign = place.run(name)
        verdict = campaign["verdict"]
        exploration = Exploration(exploration.trajectories, campaign["iterations"][0]["frames"])
    return Outcome(name, summary, exploration, verdict, time.monotonic() - began)


def table_of(outcomes: Iterable[Outcome]) -> Table:
    headings = ("example", "generated", "runs", "frames", "train/valid", "iteration 0", "s", "")
    table = Table(*headings, box=None, pad_edge=False)
    for outcome in outcomes:
        expected, explored = EXPECTED[outcome.name], outcome.exploration
        wrong = outcome.wrong(expected)
        row = [
            outcome.name,
            "; ".join(_stages(stages) for stages in outcome.generated),
            _pair(outcome.runs, expected.runs),
            _pair(outcome.frames("train") + outcome.frames("validation"), expected.frames),
            f"{outcome.frames('train')}/{outcome.frames('validation')}",
            f"{_pair(explored.trajectories, expected.trajectories)} trajectories, "
            f"{_pair(explored.frames, expected.explored)} frames",
            f"{outcome.seconds:.0f}",
            f"WRONG: {', '.join(wrong)}" if wrong else f"ok {outcome.verdict}",
        ]
        table.add_row(*row, style="bold red" if wrong else "")
    return table


def _pair(found: int, wanted: int) -> str:
    return str(found) if found == wanted else f"{found} not {wanted}"


def _stages(stages: Stages) -> str:
    return ", ".join(f"{count} {stage}" for stage, count in stages.items())


def main() -> int:
    parser = argparse.ArgumentParser(prog="make examples", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPECTED)}; all by default")
    parser.add_argument("--run", action="store_true", help=f"active learning of {', '.join(CHEAP)}, too")
    options = parser.parse_args()
    if unknown := set(options.names) - EXPECTED.keys():
        parser.error(f"no example {', '.join(sorted(unknown))}; there are {', '.join(EXPECTED)}")
    warnings.filterwarnings("ignore")
    outcomes, failed = [], False
    with tempfile.TemporaryDirectory() as folder, workshop(Path(folder)) as place:
        for name in options.names or EXPECTED:
            complaints.print(name)
            try:
                outcomes.append(try_example(place, name, to_the_end=options.run and name in CHEAP))
            except (AlpwError, RuntimeError) as error:
                complaints.print(f"{name}: {error}", style="red", markup=False)
                failed = True
    Console(width=None if sys.stdout.isatty() else 180).print(table_of(outcomes))
    return int(failed or any(outcome.wrong(EXPECTED[outcome.name]) for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
