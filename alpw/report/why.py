"""What became of one Firework, and why: gathered for one screen."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bson import ObjectId
from bson.errors import InvalidId
from fireworks import LaunchPad

from alpw.cluster import jobs, slurm
from alpw.cluster.queue.ends import End
from alpw.cluster.queue.held import reservation
from alpw.cluster.queue.view import PATIENCE
from alpw.codes.attempt import read_corrections
from alpw.database import calculations, campaigns, configurations, queue_events
from alpw.errors import InputError
from alpw.report.causes import Cause, causes
from alpw.report.logs import Tail, of_job, of_program

#: Firetask -> (parameter that names its calculations, their folders below that of the stage).
FOLDERS = {
    "LabelChunk": ("configurations", "02.label/{}"),
    "RunCalculations": ("calculations", "*/{}"),
    "ExploreTrajectories": ("trajectories", "01.explore/md/*/{}"),
    "TrainModels": ("members", "00.train/running.*"),
}


@dataclass(frozen=True)
class LaunchStory:
    """One launch of a Firework: who, where, when, in which job, and what SLURM says of that."""

    launch: int
    state: str
    fworker: str
    host: str
    folder: str
    began: str | None
    ended: str | None
    job: str | None
    queue_state: str | None
    remedy: str | None
    reason: str | None


@dataclass(frozen=True)
class Story:
    """What `alpw why` shows."""

    fw_id: int
    name: str
    campaign: str | None
    stage: str | None
    category: str | None
    state: str
    asks: dict[str, Any]
    launches: list[LaunchStory]
    causes: list[Cause]
    corrections: list[str]
    logs: list[Tail]

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        return asdict(self)


def explain(launchpad: LaunchPad, fw_id: int) -> Story:
    """Gather the story of a Firework.

    Raises:
        InputError: there is no such Firework.
    """
    firework = launchpad.fireworks.find_one({"fw_id": fw_id})
    if firework is None:
        raise InputError(_nearest(launchpad, fw_id), key="FW_ID")
    spec = firework["spec"]
    ids = [*firework.get("archived_launches", []), *firework["launches"]]
    launches = sorted(
        launchpad.launches.find({"launch_id": {"$in": ids}}), key=lambda launch: launch["launch_id"]
    )
    events = {
        launch: event
        for launch, event in queue_events.of_firework(launchpad.db, fw_id).items()
        if event["end"] != End.OWN.value
    }
    documents = _documents(launchpad, spec)
    folders = _folders(launchpad, spec, documents)
    return Story(
        fw_id=fw_id,
        name=firework["name"],
        campaign=spec.get("campaign"),
        stage=_stage(spec),
        category=spec.get("_category"),
        state=firework["state"],
        asks=spec.get("_queueadapter", {}),
        launches=_launches(launches, events),
        causes=list(causes(launchpad, firework, launches, events, documents)),
        corrections=_corrections(documents, folders),
        logs=_logs(launches, folders),
    )


def _nearest(launchpad: LaunchPad, fw_id: int) -> str:
    """What to say of an id that is none."""
    newest = launchpad.fireworks.find_one({}, {"fw_id": 1}, sort=[("fw_id", -1)])
    if newest is None:
        return f"there is no Firework {fw_id}; the LaunchPad is empty"
    query = {"state": {"$in": ["FIZZLED", "RUNNING", "RESERVED"]}}
    known = [str(each["fw_id"]) for each in launchpad.fireworks.find(query, {"fw_id": 1})]
    close = difflib.get_close_matches(str(fw_id), known, n=3, cutoff=0.0)
    text = f"there is no Firework {fw_id}; ids go up to {newest['fw_id']}"
    return text + (f", and near it run or failed {', '.join(close)}" if close else "")


def _stage(spec: dict[str, Any]) -> str | None:
    if "iteration" in spec:
        return "preparation" if spec["iteration"] < 0 else f"iteration {spec['iteration']}"
    return f"structure {spec['structure']}" if "structure" in spec else None


def _launches(launches: list[dict[str, Any]], events: dict[int, dict[str, Any]]) -> list[LaunchStory]:
    ids = {launch["launch_id"]: reservation(launch).get("reservation_id") for launch in launches}
    numbers = [job for job in ids.values() if job]
    live = slurm.live_jobs(PATIENCE) if numbers else {}
    gone = jobs.ended([job for job in numbers if job not in (live or {})]) if live is not None else None
    stories = []
    for launch in launches:
        event, job = events.get(launch["launch_id"], {}), ids[launch["launch_id"]]
        times = {entry["state"]: str(entry["created_on"])[:19] for entry in launch["state_history"]}
        stories.append(
            LaunchStory(
                launch=launch["launch_id"],
                state=launch["state"],
                fworker=launch["fworker"]["name"],
                host=str(launch.get("host")),
                folder=launch["launch_dir"],
                began=times.get("RUNNING"),
                ended=times.get("COMPLETED") or times.get("FIZZLED"),
                job=job,
                queue_state=_queue_state(job, live, gone) or event.get("state"),
                remedy=event.get("remedy"),
                reason=event.get("reason"),
            )
        )
    return stories


def _queue_state(
    job: str | None, live: dict[str, slurm.LiveJob] | None, gone: dict[str, jobs.EndedJob] | None
) -> str | None:
    if job is None:
        return None
    if live and job in live:
        state, reason, _ = live[job]
        return state if reason in ("", "None") else f"{state} ({reason})"
    return jobs.words_of(gone[job]) if gone and job in gone else None


def _documents(launchpad: LaunchPad, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Labels, relaxations and AIMD runs of a Firework."""
    task = spec["_tasks"][0]
    collections = {
        "configurations": configurations.COLLECTION,
        "calculations": calculations.COLLECTION,
    }
    found: list[dict[str, Any]] = []
    for name, collection in collections.items():
        try:
            wanted = [ObjectId(identity) for identity in task.get(name, ())]
        except InvalidId:
            continue
        fields = {"error": 1, "corrections": 1, "directory": 1, "state": 1}
        found += launchpad.db[collection].find({"_id": {"$in": wanted}}, fields) if wanted else []
    return found


def _folders(launchpad: LaunchPad, spec: dict[str, Any], documents: list[dict[str, Any]]) -> list[Path]:
    """Folders of a Firework's calculations, as far as they are there."""
    named = [
        document.get("directory") or (document.get("error") or {}).get("directory") for document in documents
    ]
    folders = {Path(folder) for folder in named if folder}
    campaign = campaigns.find(launchpad.db, spec.get("campaign", ""))
    parameter, pattern = FOLDERS.get(spec.get("task", ""), ("", ""))
    if campaign and parameter and "iteration" in spec:
        stage = "prepare" if spec["iteration"] < 0 else f"iter.{spec['iteration']:04d}"
        for name in spec["_tasks"][0].get(parameter, ()):
            folders |= set(Path(campaign["work_dir"], stage).glob(pattern.format(name)))
    return [folder for folder in folders if folder.is_dir()]


def _corrections(documents: list[dict[str, Any]], folders: list[Path]) -> list[str]:
    """What custodian repaired, one line each: of labels that are stored, and of those in their folders."""
    entries = [entry for document in documents for entry in document.get("corrections") or ()]
    if not entries:
        entries = [entry for folder in folders for entry in read_corrections(folder)]
    return [_correction(entry) for entry in entries]


def _correction(entry: dict[str, Any]) -> str:
    errors = ", ".join(map(str, entry.get("errors", ())))
    actions = json.dumps(entry["actions"], default=str) if entry.get("actions") else "nothing to be done"
    return f"{entry.get('handler', 'handler')}: {errors} -> {actions}"


def _logs(launches: list[dict[str, Any]], folders: list[Path]) -> list[Tail]:
    """The ends of the last job's files and of the newest log of a program."""
    last = launches[-1] if launches else None
    tails = of_job(Path(last["launch_dir"]), reservation(last).get("reservation_id")) if last else []
    return tails + of_program([*folders, *([Path(last["launch_dir"])] if last else [])])
