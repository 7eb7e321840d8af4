"""``make faults``: every fault of every code through the Firetasks, as a table; exits 1 if one is wrong.

python -m tests.faults [--code vasp] [--task label] [--json]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
import warnings
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from alpw.database import daemon
from alpw.database.launchpad import open_launchpad, prepare, write_launchpad_file
from tests.faults.cases import CASES, Case
from tests.faults.laboratory import Laboratory, Outcome

complaints = Console(stderr=True)

CODES = ("vasp", "pwmat", "cp2k")
TASKS = ("label", "relax", "aimd")


def outcomes(cases: list[Case], folder: Path, progress: Progress) -> list[Outcome]:
    """Run the cases code by code on a database of their own."""
    server = daemon.start(folder / "db")
    launchpad = open_launchpad(write_launchpad_file(folder / "my_launchpad.yaml", server.uri))
    prepare(launchpad)
    found: list[Outcome] = []
    bar = progress.add_task("faults", total=len(cases))
    try:
        for code, of_code in groupby(cases, key=lambda case: case.code):
            laboratory = Laboratory(launchpad, folder / code, code)
            for task, group in groupby(of_code, key=lambda case: case.task):
                chosen = list(group)
                progress.update(bar, description=f"{code} {task}")
                found += laboratory.run(task, chosen)
                progress.advance(bar, len(chosen))
    finally:
        launchpad.connection.close()
        daemon.stop(folder / "db")
    return found


def table_of(found: list[Outcome]) -> Table:
    table = Table("code", "task", "fault", "outcome", "wanted", "what was said", box=None, pad_edge=False)
    for outcome in found:
        case, style = outcome.case, "" if outcome.right else "bold red"
        said = outcome.diagnosis.split(" (in ")[0]
        table.add_row(case.code, case.task, case.name, outcome.found, case.expected, said[:90], style=style)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--code", choices=CODES)
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wanted = [
        case for case in CASES if options.code in (None, case.code) and options.task in (None, case.task)
    ]
    if not shutil.which("cp2k.psmp"):
        complaints.print("CP2K is missing: its rows are left out (apt-get install cp2k)")
        wanted = [case for case in wanted if case.code != "cp2k"]
    os.environ |= {"OMP_NUM_THREADS": "1", "ALPW_RETRY_SECONDS": "0.2"}
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, Progress(console=complaints) as progress:
        found = outcomes(wanted, Path(folder), progress)
        os.chdir("/")
    wrong = [outcome for outcome in found if not outcome.right]
    if options.json:
        rows = [{**vars(o.case), "found": o.found, "diagnosis": o.diagnosis, "right": o.right} for o in found]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        console = Console(width=None if sys.stdout.isatty() else 180)
        console.print(table_of(found))
        console.print(f"{len(found)} faults, {len(wrong)} with a wrong outcome")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
