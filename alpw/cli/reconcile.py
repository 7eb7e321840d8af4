"""``alpw reconcile``: SLURM against the database, once."""

from __future__ import annotations

from typing import Annotated

import typer

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.cluster import control
from alpw.cluster.hold import hold
from alpw.cluster.locks import LateEnd, brief_waits, catch_up, late_ends
from alpw.cluster.queue.reconcile import Finding, carry_out, examine
from alpw.cluster.recovery import PATIENCE
from alpw.database import campaigns
from alpw.database.access import launchpad_file
from alpw.database.launchpad import open_launchpad
from alpw.errors import AlpwError


def reconcile(
    campaign: Annotated[
        str | None, typer.Argument(help="Name of a campaign; all that have not ended if omitted.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Find Fireworks whose SLURM job is gone, and run them again with what they lacked, or let them fail.

    Whoever supervises a campaign does the same every few seconds. One line for each Firework that has a job,
    or that counts as running although its launch has ended: its workflow is told.

    Exit status: 0 done, 1 SLURM or the database does not answer, 2 wrong input.

    Example: `alpw reconcile silicon --dry-run`
    """
    with errors_as_exit_status(), brief_waits():
        fireworks = open_launchpad(launchpad_file(launchpad))
        if campaign is None:
            known = campaigns.all_campaigns(fireworks.db)
            names = [each["_id"] for each in known if each["state"] in campaigns.OPEN_STATES]
        else:
            names = [control.find(fireworks.db, campaign)["_id"]]
        found: dict[str, list[Finding]] = {}
        late: dict[str, list[LateEnd]] = {}
        for name in names:
            late[name] = late_ends(fireworks, name, PATIENCE)
            findings = examine(fireworks, name)
            if findings is None:
                raise AlpwError("SLURM does not answer; nothing was judged, and nothing is changed")
            if not dry_run:
                catch_up(fireworks, late[name])
                carry_out(fireworks, name, findings)
                if campaigns.get(fireworks.db, name)["state"] in campaigns.HELD_STATES:
                    hold(fireworks, name)
            found[name] = findings
        if as_json:
            rows = [{"campaign": name, **each.to_dict()} for name, all_ in found.items() for each in all_]
            ends = [{"campaign": name, **each._asdict()} for name, all_ in late.items() for each in all_]
            print_json({"dry_run": dry_run, "fireworks": rows, "late_ends": ends})
            return
        if not any(found.values()) and not any(late.values()):
            console.print("no Firework has a job")
        for name, ends_ in late.items():
            for end in ends_:
                text = f"Firework {end.fw_id} {end.state}: its launch has ended, {end.launch_state}"
                console.print(f"{name} {text}; its workflow is told", soft_wrap=True)
        for name, findings in found.items():
            for finding in findings:
                console.print(f"{name} {_line(finding)}", soft_wrap=True)


def _line(finding: Finding) -> str:
    fw_id, state = finding.launch["fw_id"], finding.launch["state"]
    head = f"Firework {fw_id} {state}, job {finding.job or '-'} {finding.queue_state or 'unknown to SLURM'}"
    if finding.verdict is None:
        return f"{head}: nothing to do"
    return f"{head}: {finding.verdict.reason}"
