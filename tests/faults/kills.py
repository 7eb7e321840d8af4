"""``make kills``: a campaign whose processes are all killed in each of its stages, as a table; exits 1 if it
ends otherwise than one that nobody disturbed.

At the moment when a Firework of a stage runs, workers, supervisor and database get SIGKILL; then the same
command is given again and goes to the end. What counts is compared with an undisturbed campaign of the same
seed: every structure by its hash, every label, model and iteration.

python -m tests.faults.kills [--stage TrainModels ...] [--json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from fireworks import LaunchPad
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.table import Table

from alpw.database import configurations, daemon, iterations, models
from alpw.database.launchpad import open_launchpad, prepare, write_launchpad_file
from tests.conftest import Inputs

COMMAND = ("alpw", "run", "param.json", "resource.json", "--workers", "2")

STAGES = (
    "GenerateStructures",
    "TrainModels",
    "ExploreTrajectories",
    "SelectCandidates",
    "LabelChunk",
    "CollectLabels",
    "FinishCampaign",
)
"""Firetasks in the order of a campaign."""

PATIENCE = 600.0
"""seconds for a campaign to get to a stage"""

complaints = Console(stderr=True)


@dataclass(frozen=True)
class Course:
    """What a campaign came to.

    Attributes:
        structures: hash and state of every configuration, by its key.
        models: iteration and member of every model.
        iterations: their indices.
        workflows: in the LaunchPad.
        verdict: of the campaign.
    """

    structures: dict[str, tuple[str, str]]
    models: list[tuple[int, int]]
    iterations: list[int]
    workflows: int
    verdict: str

    @classmethod
    def of(cls, launchpad: LaunchPad) -> Course:
        db = launchpad.db
        fields = {"key": 1, "structure_hash": 1, "state": 1}
        found = db[configurations.COLLECTION].find({}, fields)
        trained = db[models.COLLECTION].find({}, {"iteration": 1, "member": 1})
        return cls(
            {document["key"]: (document["structure_hash"], document["state"]) for document in found},
            sorted((model["iteration"], model["member"]) for model in trained),
            [document["index"] for document in iterations.of_campaign(db, "tiny")],
            launchpad.workflows.count_documents({}),
            db["campaigns"].find_one({"_id": "tiny"})["state"],
        )


@dataclass(frozen=True)
class Outcome:
    """Of one stage: whether everything is as it is undisturbed, what was there when all died, and at the end.

    Attributes:
        stage: whose Firework ran.
        died: processes.
        before: labels that were there then.
        labels: at the end.
        models: at the end.
        iterations: at the end.
        lost: labels that were there and are made anew, or not there any more.
        different: what differs from the undisturbed campaign.
    """

    stage: str
    died: int
    before: int
    labels: int
    models: int
    iterations: int
    lost: int
    different: list[str]


def labelled(launchpad: LaunchPad) -> dict[str, object]:
    """When each label was stored, by its configuration."""
    found = launchpad.db[configurations.COLLECTION].find({"state": "labelled"}, {"labelled": 1})
    return {str(document["_id"]): document["labelled"] for document in found}


def wait_for(launchpad: LaunchPad, stage: str, process: subprocess.Popen) -> None:
    """Until a Firework of a stage runs; of label chunks the second: then there is something to lose."""
    query = {"spec.task": stage, "state": "RUNNING"}
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            done = launchpad.fireworks.count_documents({"spec.task": stage, "state": "COMPLETED"})
            if (done or stage != "LabelChunk") and launchpad.fireworks.find_one(query, {"_id": 1}):
                return
        except PyMongoError:
            pass
        time.sleep(0.002)
    raise TimeoutError(f"no {stage} ran; the campaign is at exit status {process.poll()}")


def run(folder: Path, stage: str | None) -> tuple[Course, Outcome | None]:
    """A campaign in a folder of its own, disturbed in a stage or in none."""
    folder.mkdir()
    inputs = Inputs(folder)
    server = daemon.start(folder / "db")
    launchpad = open_launchpad(write_launchpad_file(folder / "my_launchpad.yaml", server.uri))
    prepare(launchpad)
    try:
        died, before = 0, {}
        if stage:
            process = inputs.popen(*COMMAND)
            wait_for(launchpad, stage, process)
            died = inputs.kill_everything()
            daemon.start(folder / "db")
            before = labelled(launchpad)
        ended = inputs.command(*COMMAND, timeout=PATIENCE)
        if ended.returncode:
            raise RuntimeError(f"{stage or 'undisturbed'}: {ended.stdout}{ended.stderr}")
        course, after = Course.of(launchpad), labelled(launchpad)
        if not stage:
            return course, None
        lost = sum(after.get(label) != moment for label, moment in before.items())
        counts = (len(after), len(course.models), len(course.iterations))
        return course, Outcome(stage, died, len(before), *counts, lost, [])
    finally:
        inputs.kill_everything()
        launchpad.connection.close()


def differences(course: Course, undisturbed: Course) -> list[str]:
    """Names of what is not as in the undisturbed campaign."""
    ours, theirs = asdict(course), asdict(undisturbed)
    return [name for name in ours if ours[name] != theirs[name]]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make kills", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as place:
        undisturbed, _ = run(Path(place) / "undisturbed", None)
        for stage in options.stage:
            complaints.print(f"{stage} ...")
            course, outcome = run(Path(place) / stage, stage)
            assert outcome
            outcome.different.extend(differences(course, undisturbed))
            found.append(outcome)
    if options.json:
        json.dump([asdict(outcome) for outcome in found], sys.stdout, indent=2)
    else:
        table = Table(
            "killed in", "processes", "labels then", "labels", "models", "iterations", "lost", "as ever"
        )
        for outcome in found:
            told = ", ".join(outcome.different) or "yes"
            numbers = (outcome.died, outcome.before, outcome.labels, outcome.models, outcome.iterations)
            style = "bold red" if outcome.different or outcome.lost else ""
            table.add_row(outcome.stage, *map(str, numbers), str(outcome.lost), told, style=style)
        # Into a file or a pipe whole lines go, however narrow a terminal may be.
        Console(width=None if sys.stdout.isatty() else 120).print(table)
    return any(outcome.different or outcome.lost for outcome in found)


if __name__ == "__main__":
    sys.exit(main())
