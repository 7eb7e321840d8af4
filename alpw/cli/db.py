"""``alpw db``: start, stop and look at the database."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pymongo import MongoClient

from alpw.cli.lazy import CaseInsensitiveGroup
from alpw.cluster import worker
from alpw.database import daemon, launchpad
from alpw.database.secrets import server_uri, without_secrets
from alpw.errors import AlpwError, InputError

app = typer.Typer(
    cls=CaseInsensitiveGroup,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    help="Start, stop and look at the database.\n\nExample: `alpw db start`",
)

Directory = Annotated[
    Path | None, typer.Option("--dir", help="Data directory (default: $ALPW_DB_DIR, else ~/.alpw/db).")
]
File = Annotated[
    Path | None, typer.Option("--launchpad", "-l", help="A my_launchpad.yaml (default: as lpad finds it).")
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Port = Annotated[
    int | None, typer.Option(help="Listen on this loopback port instead of a Unix socket.", min=1, max=65535)
]

NOTICE = {"embedded": "The embedded server serves one machine and is not for production."}


def _report(facts: Any, text: list[str], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(facts), default=str))
    else:
        for line in text:
            typer.echo(line)


def _fail(error: AlpwError) -> typer.Exit:
    typer.echo(f"error: {without_secrets(str(error))}", err=True)
    return typer.Exit(2 if isinstance(error, InputError) else 1)


def _status(directory: Path | None, file: Path | None) -> daemon.ServerStatus:
    """State of the database that this folder uses: the one in its my_launchpad.yaml, else the private one."""
    found = launchpad.find_launchpad_file(file) if directory is None or file is not None else None
    if found is None:
        return daemon.status(directory)
    uri = server_uri(launchpad.read_launchpad_file(found))
    own = daemon.directory_of(uri, directory)
    if own is not None:
        return daemon.status(own)
    try:
        version = launchpad.open_launchpad(found).connection.server_info()["version"]
    except AlpwError as error:
        typer.echo(str(error), err=True)
        version = None
    return daemon.ServerStatus("configured", uri, None, None, None, version, version is not None)


def _working_campaigns(uri: str | None) -> list[str]:
    """Campaigns in any database of a server that have live workers on this machine."""
    client: MongoClient = MongoClient(uri)
    try:
        found = [
            document
            for name in client.list_database_names()
            for document in client[name]["campaigns"].find({"state": "running"}, {"work_dir": 1})
        ]
    finally:
        client.close()
    return [document["_id"] for document in found if worker.living(Path(document["work_dir"]))]


@app.command()
def start(directory: Directory = None, port: Port = None, file: File = None, as_json: Json = False) -> None:
    """Use the database in my_launchpad.yaml, or start a private one and write that file here.

    A private database is a mongod where one is on PATH, else the embedded server.

    Example: alpw db start
    """
    try:
        found = launchpad.find_launchpad_file(file)
        own = directory
        if found is not None:
            uri = server_uri(launchpad.read_launchpad_file(found))
            own = daemon.directory_of(uri, directory)
            if own is None:
                if directory is not None:
                    raise AlpwError(
                        f"{found} names {uri}, not a database in {directory}; remove one of the two"
                    )
                launchpad.prepare(launchpad.open_launchpad(found))
                state = _status(None, found)
                _report(
                    state,
                    [f"{found} names {uri}, which answers (MongoDB {state.version}): nothing to start."],
                    as_json,
                )
                return
            if directory is not None and own != directory.resolve():
                raise AlpwError(
                    f"{found} names the database in {own}, not {directory}; remove one of the two"
                )
        server = daemon.start(own, port=port)
        verb = "Started" if server.started else "Already running:"
        text = [f"{verb} {server.kind} server, process {server.pid}, data in {server.directory}."]
        if found is None:
            found = launchpad.write_launchpad_file(Path(launchpad.FILE_NAME), server.uri)
            text.append(f"Wrote {found.resolve()}: lpad, rlaunch and qlaunch use it in this folder.")
        launchpad.prepare(launchpad.open_launchpad(found))
        text += [NOTICE[server.kind]] if server.kind in NOTICE else []
        _report(server, text, as_json)
    except AlpwError as error:
        raise _fail(error) from error


@app.command()
def stop(
    directory: Directory = None,
    file: File = None,
    force: Annotated[bool, typer.Option("--force", help="Also while campaigns are running.")] = False,
) -> None:
    """Stop the private database; the data stay. A configured server is left alone.

    Example: alpw db stop
    """
    try:
        state = _status(directory, file)
        if state.kind == "configured":
            raise AlpwError(f"{state.uri} is not a database of alpw: stop it with its own tools")
        if state.reachable and not force and (busy := _working_campaigns(state.uri)):
            raise AlpwError(
                f"workers of campaign {', '.join(busy)} are using it; `alpw db stop --force` stops it"
            )
        stopped = daemon.stop(state.directory)
    except AlpwError as error:
        raise _fail(error) from error
    typer.echo(f"Stopped the {state.kind} server." if stopped else "No private database is running.")


@app.command()
def status(directory: Directory = None, file: File = None, as_json: Json = False) -> None:
    """Tell which database this folder uses; exit status 0 if it answers, 1 if not.

    Example: alpw db status --json
    """
    try:
        state = _status(directory, file)
    except AlpwError as error:
        raise _fail(error) from error
    facts = {
        "kind": state.kind,
        "address": state.uri or "never started",
        "process": state.pid or "",
        "data": state.directory or "",
        "version": state.version or "",
        "answers": "yes" if state.reachable else "no; `alpw db start` starts it",
    }
    _report(state, [f"{name:8} {value}" for name, value in facts.items() if value], as_json)
    if not state.reachable:
        raise typer.Exit(1)
