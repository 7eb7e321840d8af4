"""``alpw launch``: supervise campaigns that are in the database, without their input files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pymongo.database import Database

from alpw.cli import init_bulk, run
from alpw.cli.common import (
    EXIT_FAILED,
    AsJson,
    LaunchpadFile,
    Workers,
    complaints,
    console,
    errors_as_exit_status,
    print_json,
)
from alpw.cli.watch import View, print_changes, tell_if_stuck
from alpw.cluster.control import find, refuse_held
from alpw.cluster.interrupts import termination_as_interrupt
from alpw.cluster.supervision import supervise
from alpw.cluster.supervisor import Supervised, Supervisor, default_workers
from alpw.config.resource import Resource
from alpw.database import campaigns
from alpw.database.access import ensure_running
from alpw.database.campaigns import CampaignState
from alpw.database.launchpad import open_launchpad
from alpw.database.summary import CampaignSummary
from alpw.errors import AlpwError, InputError
from alpw.report.files import write_report
from alpw.workflows.launch import inputs_of
from alpw.workflows.launch_init import init_inputs_of


@dataclass(frozen=True)
class Kind:
    """How campaigns of one kind are supervised.

    Attributes:
        view: how they are looked at.
        inputs: of a campaign's document.
        threads: of one training.
    """

    view: View[Any]
    inputs: Callable[[dict[str, Any]], tuple[Any, Resource]]
    threads: Callable[[Any], int]


KINDS = {
    campaigns.ACTIVE_LEARNING: Kind(run.VIEW, inputs_of, lambda param: param.train.threads),
    campaigns.INIT_BULK: Kind(init_bulk.VIEW, init_inputs_of, lambda init: 1),
}


def launch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CAMPAIGN]...", help="Names of campaigns; all that run if omitted."),
    ] = None,
    launchpad: LaunchpadFile = None,
    workers: Workers = None,
    once: Annotated[bool, typer.Option("--once", help="Do one round and return.")] = False,
    stay: Annotated[
        bool, typer.Option("--stay", help="Take up campaigns that begin later, until it is stopped.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Supervise campaigns until they have ended: submit jobs, run bookkeeping, repair what died.

    What `alpw run` does after it has started a campaign, from what the database holds, on any machine that
    sees the campaign's folder. One process supervises a campaign; a second one is refused. Ctrl-C and SIGTERM
    stop in order: jobs and workers go on, and the same command, here or elsewhere, goes on with the rest.
    `queue/launch.log` in the campaign's folder says what was done.

    With --stay it does not end with the last campaign, and supervises each that begins meanwhile, unless
    another process does. One that cannot go on is left alone; name it in a new call when it is mended.

    Exit status: 0 all have ended well or it was stopped, 1 one is stalled, stuck or supervised by another
    process, 2 wrong input.

    Example: `alpw launch silicon`
    """
    with errors_as_exit_status():
        if stay and (names or once or as_json):
            raise InputError("it supervises all campaigns until it is stopped; give it alone", key="--stay")
        file = ensure_running(launchpad)
        db = open_launchpad(file).db
        visible = [] if stay else _visible(_chosen(db, names or []), bool(names))
        chosen = [_supervisor(file, document, workers) for document in visible]
        mine: list[Supervisor[Any]] = []
        elsewhere: list[str] = []
        results: dict[str, Any] = {}
        failed: list[bool] = []

        def on_end(db: Database, name: str, result: Any) -> None:
            failed.append(_conclude(db, name, result, as_json))

        try:
            with termination_as_interrupt():
                mine, elsewhere = _claimed(db, chosen, bool(names))
                if stay:
                    _complain("every campaign that runs, or begins, is supervised until Ctrl-C or SIGTERM")
                elif not mine:
                    _complain("no campaign is running; `alpw run PARAM RESOURCE` starts one")
                newcomers = partial(_newcomers, file, workers) if stay else None
                results = supervise(mine, file, _complain, once=once, on_end=on_end, arrivals=newcomers)
        except KeyboardInterrupt:
            for supervisor in chosen:
                supervisor.release_lease(db)
            text = "No longer supervising. Jobs and workers go on; the same command goes on with the rest."
            complaints.print(f"\n{text}", soft_wrap=True)
        for supervisor in mine if once and not as_json else ():
            console.print(_done(supervisor), soft_wrap=True)
        if as_json:
            entries = [_entry(db, supervisor, results.get(supervisor.campaign)) for supervisor in mine]
            print_json({"campaigns": entries, "elsewhere": elsewhere})
        if any(failed):
            raise typer.Exit(EXIT_FAILED)


def _complain(line: str) -> None:
    complaints.print(line, soft_wrap=True)


def _chosen(db: Database, names: Sequence[str]) -> list[dict[str, Any]]:
    """The documents of the campaigns that are meant."""
    for name in names:
        refuse_held(db, name)
    if names:
        return [find(db, name) for name in dict.fromkeys(names)]
    running = CampaignState.RUNNING.value
    return [document for document in campaigns.all_campaigns(db) if document["state"] == running]


def _visible(documents: list[dict[str, Any]], named: bool) -> list[dict[str, Any]]:
    """Those of the campaigns whose folder is there; raises :class:`InputError` for one that was named."""
    found = []
    for document in documents:
        text = f"campaign '{document['_id']}' lies in {document['work_dir']}, which this machine does not see"
        if Path(document["work_dir"]).is_dir():
            found.append(document)
        elif named:
            raise InputError(text, key="CAMPAIGN")
        else:
            _complain(f"{text}; it is left alone")
    return found


def _supervisor(file: Path, document: dict[str, Any], workers: int | None) -> Supervisor[Any]:
    name, kind = document["_id"], KINDS[campaigns.kind(document)]
    param, resource = kind.inputs(document)
    return Supervisor(
        launchpad_file=file,
        campaign=name,
        directory=Path(document["work_dir"]),
        resource=resource,
        workers=workers or default_workers(kind.threads(param), resource),
        summarise=kind.view.summarise,
        on_update=print_changes(kind.view),
        on_trouble=lambda line: _complain(line if f"'{name}'" in line else f"campaign '{name}': {line}"),
        waits=False,
    )


def _claimed(
    db: Database, supervisors: list[Supervisor[Any]], named: bool
) -> tuple[list[Supervisor[Any]], list[str]]:
    """Those of the supervisors that have their lease now, and why the others have not.

    Raises:
        Supervised: one that was asked for by its name has not, or none has.
    """
    mine, elsewhere = [], []
    try:
        for supervisor in supervisors:
            try:
                supervisor.take_lease(db)
                mine.append(supervisor)
            except Supervised as error:
                if named:
                    raise
                elsewhere.append(str(error))
                _complain(f"{error}; it is left alone")
        if supervisors and not mine:
            raise Supervised("\n".join(elsewhere))
    except Supervised:
        for supervisor in mine:
            supervisor.release_lease(db)
        raise
    return mine, elsewhere


def _newcomers(
    file: Path, workers: int | None, db: Database, known: Collection[str]
) -> list[Supervisor[Any]]:
    """Supervisors of campaigns that run and are not known, with their leases."""
    mine = []
    for document in _chosen(db, []):
        if document["_id"] not in known and Path(document["work_dir"]).is_dir():
            supervisor = _supervisor(file, document, workers)
            with suppress(Supervised):
                supervisor.take_lease(db)
                _complain(f"campaign '{supervisor.campaign}' is supervised from here")
                mine.append(supervisor)
    return mine


def _conclude(db: Database, name: str, result: Any, as_json: bool) -> bool:
    """Say what came of a campaign, write its files if it has ended, and return whether that is a failure."""
    if isinstance(result, AlpwError):
        webhook = campaigns.get(db, name)["resolved"]["param"].get("webhook")
        tell_if_stuck(webhook, name, result)
        complaints.print(f"error: {result}", style="red", soft_wrap=True)
        return True
    if not result.finished:
        return False
    if isinstance(result, CampaignSummary):
        write_report(result)
    if not as_json:
        console.print(f"{name} {result.state}: {result.reason}", soft_wrap=True)
    return bool(result.state == CampaignState.STALLED.value)


def _done(supervisor: Supervisor[Any]) -> str:
    counts = ", ".join(f"{count} {what}" for what, count in sorted(supervisor.journal.counts.items()))
    return f"{supervisor.campaign}: {counts}; {supervisor.journal.file} has the details"


def _entry(db: Database, supervisor: Supervisor[Any], result: Any) -> dict[str, Any]:
    """What was done for a campaign, and where it stands."""
    document = campaigns.get(db, supervisor.campaign)
    return {
        "campaign": supervisor.campaign,
        "state": document["state"],
        "reason": document["verdict"],
        "error": str(result) if isinstance(result, AlpwError) else None,
        "done": dict(supervisor.journal.counts),
        "log": str(supervisor.journal.file),
    }
