"""``alpw branch``: another course of a campaign, from an iteration on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, note, print_json
from alpw.cli.control import Campaign, watching_command
from alpw.cluster import control
from alpw.database import campaigns, configurations, models
from alpw.database.access import launchpad_file
from alpw.database.launchpad import open_launchpad
from alpw.workflows.branch import branch as make_branch
from alpw.workflows.branch import check_branch, write_inputs


def branch(
    campaign: Campaign,
    at: Annotated[int, typer.Option("--at", help="First iteration that the branch runs itself.")],
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A changed key of param.json; repeatable."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the branch; CAMPAIGN-atN if omitted.")
    ] = None,
    work_dir: Annotated[
        Path | None, typer.Option("--work-dir", help="Of the branch; beside that of CAMPAIGN if omitted.")
    ] = None,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Begin a new campaign as another one was before an iteration, and go on with changed inputs.

    Labels and models of the earlier iterations are shared by reference, and the models of iteration N too
    where nothing about its training has changed. The other campaign goes on as if nothing had happened. The
    branch's inputs are written to `param.NAME.json` beside those of CAMPAIGN. Another level of theory is
    refused.

    Example: `alpw branch silicon --at 4 --set strategy.max_select=50`
    """
    with errors_as_exit_status():
        fireworks = open_launchpad(launchpad_file(launchpad))
        parent = control.find_loop(fireworks.db, campaign)
        name = name or f"{campaign}-at{at}"
        check_branch(fireworks.db, campaign, at, name)
        folder = (work_dir or Path(parent["work_dir"]).with_name(name)).resolve()
        param = write_inputs(parent, assignments or [], name, folder, at)
        for remark in param.notes:
            note(remark)
        make_branch(fireworks, campaign, at, param)
        folder.mkdir(parents=True, exist_ok=True)
        control.resume(fireworks, name)
        shared = {"campaign": name, "reference": {"$exists": True}}
        labels = fireworks.db[configurations.COLLECTION].count_documents(shared)
        trained = fireworks.db[models.COLLECTION].count_documents({"campaign": name})
        command = watching_command(campaigns.get(fireworks.db, name))
        if as_json:
            report = {"campaign": name, "parent": campaign, "at": at, "labels": labels, "models": trained}
            print_json({**report, "param": str(param.file), "command": command})
            return
        console.print(f"campaign {name}: {campaign} from iteration {at} on, in {folder}", soft_wrap=True)
        console.print(f"{labels} labels and {trained} models are shared; inputs {param.file}", soft_wrap=True)
        console.print(f"Ready to go on; this does, and watches:\n  {command}", soft_wrap=True)
