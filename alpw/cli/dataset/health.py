"""``alpw dataset health``: whether a data set can be trusted."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from alpw.cli.common import (
    EXIT_FAILED,
    STYLES,
    AsJson,
    LaunchpadFile,
    console,
    errors_as_exit_status,
    note,
    print_json,
)
from alpw.cli.data import Query, opened, progress, selected
from alpw.dataset import Dataset
from alpw.dataset.health import CHECKS, Problem, examine
from alpw.findings import Severity

SHOWN = 10
"""configurations that are listed of each finding"""


def health(
    texts: Query = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHECK", help=f"May be repeated: {', '.join(CHECKS)}."),
    ] = None,
    tag: Annotated[
        str | None, typer.Option("--tag", help="Give the configurations that are found this tag.")
    ] = None,
    as_json: AsJson = False,
    launchpad: LaunchpadFile = None,
) -> None:
    """Look for broken, contradictory, unphysical and superfluous data; say what mends it.

    Nothing is changed. Exit status 1 if there is a finding FAIL. Without QUERY, blobs and folders that
    belong to nothing are looked for, too.

    Example: `alpw dataset health chemsys=Si`

    Example: `alpw dataset health --only near-duplicates --tag superfluous`
    """
    with errors_as_exit_status():
        db = opened(launchpad)
        n, problems = examine(selected(db, texts), only or (), texts or (), progress)
        if tag:
            ids = [which for problem in problems for which, _ in problem.found]
            tagged = Dataset(db, {"_id": {"$in": list(dict.fromkeys(ids))}}).tag(tag)
            note(f"{tagged} tagged {tag}")
    if as_json:
        print_json({"configurations": n, "findings": [problem.facts() for problem in problems]})
    else:
        for problem in problems:
            _tell(problem)
        console.print(f"{n} configurations, {len(problems) or 'no'} finding{'s' * (len(problems) != 1)}")
    if any(problem.severity is Severity.FAIL for problem in problems):
        raise typer.Exit(EXIT_FAILED)


def _tell(problem: Problem) -> None:
    mark = Text(f"{problem.severity.value:5}", style=STYLES[problem.severity])
    console.print(mark + Text(f" {problem.subject:<15} {problem.text}"), soft_wrap=True)
    for which, why in problem.found[:SHOWN]:
        console.print(f"        {which}  {why}", soft_wrap=True)
    if len(problem.found) > SHOWN:
        console.print(f"        and {len(problem.found) - SHOWN} more; --json lists them", soft_wrap=True)
    console.print(f"        $ {problem.command}", soft_wrap=True)
