"""``alpw why``: what became of one Firework, on one screen."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from alpw.cli.common import AsJson, LaunchpadFile, console, errors_as_exit_status, print_json
from alpw.database.access import launchpad_file
from alpw.database.launchpad import open_launchpad
from alpw.report.why import LaunchStory, Story, explain


def why(
    fw_id: Annotated[
        int, typer.Argument(metavar="FW_ID", help="Id of a Firework, as `lpad get_fws` shows it.")
    ],
    launchpad: LaunchpadFile = None,
    as_json: AsJson = False,
) -> None:
    """Show where a Firework ran, what SLURM says of its jobs, why it failed, and the last lines of its logs.

    Example: `alpw why 42`
    """
    with errors_as_exit_status():
        story = explain(open_launchpad(launchpad_file(launchpad)), fw_id)
        if as_json:
            print_json(story.to_dict())
            return
        for line in _lines(story):
            console.print(line, soft_wrap=True)


def _lines(story: Story) -> list[Text]:
    lines = [Text(f"Firework {story.fw_id} {story.name}: {story.state}", style="bold")]
    lines.append(
        Text(f"  campaign {story.campaign or '-'}, {story.stage or '-'}, category {story.category or '-'}")
    )
    if story.asks:
        asks = ", ".join(f"{key} {value}" for key, value in story.asks.items())
        lines.append(Text(f"  asks for {asks}, not for what its block says"))
    for launch in story.launches:
        # The end of the last job is its cause too.
        told = any(launch.reason == cause.message for cause in story.causes)
        lines += _launch_lines(launch, None if told else launch.reason)
    for cause in story.causes:
        healthy = cause.kind == "state"
        lines.append(
            Text(cause.message if healthy else f"{cause.kind}: {cause.message}", "" if healthy else "red")
        )
        if cause.advice:
            lines.append(Text(f"  to do: {cause.advice}"))
    lines += [Text(f"custodian {correction}") for correction in story.corrections]
    for tail in story.logs:
        lines.append(Text(f"--- {tail.file}", style="dim"))
        lines += [Text(f"  {line}") for line in tail.lines]
    return lines


def _launch_lines(launch: LaunchStory, reason: str | None) -> list[Text]:
    when = f"{launch.began or '-'} to {launch.ended or '-'}"
    lines = [Text(f"launch {launch.launch} {launch.state}: {launch.fworker} on {launch.host}, {when} UTC")]
    lines.append(Text(f"  {launch.folder}"))
    if launch.job:
        lines.append(Text(f"  job {launch.job}: {launch.queue_state or 'SLURM knows nothing of it'}"))
    if reason:
        lines.append(Text(f"  {reason}"))
    return lines
