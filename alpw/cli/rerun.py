"""``alpw rerun``: take a campaign back to a stage, and do the rest again."""

from __future__ import annotations

from typing import Annotated

import typer

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.cli.control import Campaign, watching_command
from alpw.cluster import control
from alpw.database import campaigns
from alpw.database.access import launchpad_file
from alpw.database.launchpad import open_launchpad
from alpw.workflows.rerun import Stage, Undoing, plan_rerun, undo


def rerun(
    campaign: Campaign,
    iteration: Annotated[int, typer.Option("--iteration", help="The iteration to go on from.")],
    stage: Annotated[Stage, typer.Option("--from", help="Its first stage that is done again.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")
    ] = False,
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Undo what a campaign did after a point, and do it again with its present inputs.

    Nothing is deleted: models, trajectories and labels are set aside in the database, and a label is found
    again when its structure is chosen again. `label` tries failed labels again, `collect` judges the labels
    that there are. The campaign has to be stopped; it is ready to go on afterwards.

    Example: `alpw stop silicon; alpw rerun silicon --iteration 3 --from select --dry-run`
    """
    with errors_as_exit_status():
        fireworks = open_launchpad(launchpad_file(launchpad))
        control.find_loop(fireworks.db, campaign)
        if dry_run:
            plan = plan_rerun(fireworks.db, campaign, iteration, stage)
        else:
            plan = undo(fireworks, campaign, iteration, stage)
            control.resume(fireworks, campaign)
        command = watching_command(campaigns.get(fireworks.db, campaign))
        if as_json:
            print_json({**plan.to_dict(), "dry_run": dry_run, "command": command})
            return
        for line in _lines(plan, dry_run):
            console.print(line, soft_wrap=True)
        if not dry_run:
            console.print(f"Ready to go on; this does, and watches:\n  {command}", soft_wrap=True)


def _lines(plan: Undoing, dry_run: bool) -> list[str]:
    will = "would be" if dry_run else "are"
    lines = [f"campaign {plan.campaign}: again from {plan.stage} of iteration {plan.iteration}"]
    if plan.later:
        word = "iteration" if len(plan.later) == 1 else "iterations"
        lines.append(f"{word} {', '.join(map(str, plan.later))} {will} set aside")
    lines.append(
        f"{plan.models} models ({plan.training_hours:.3g} h of training), {plan.trajectories} trajectories "
        f"and {plan.labels_aside} labels {will} set aside; {plan.labels_kept} labels stay"
    )
    if plan.retried:
        lines.append(f"{plan.retried} failed labels {will} tried again")
    if plan.labels_aside + plan.retried:
        cost = "not known yet" if plan.core_hours is None else f"about {plan.core_hours:.3g} core-hours"
        lines.append(
            f"as many labels again: {cost}; those of the same structures are found again for nothing"
        )
    return lines
