"""``make examples``: the silicon examples in full, with stand-ins for licensed programs, as a table.

python -m tests.examples [--run] [--quick] [--set KEY=VALUE ...] [--dir FOLDER] [NAME ...]

Exits with 1 if a number is not the one that `tests.examples.expected` counts by hand. ``--run`` goes on with
active learning, to its end. Nothing of an example is changed but its paths, and what ``--quick`` and
``--set`` say; the table shows that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from alpw.errors import AlpwError
from tests.examples.affordable import AFFORDABLE
from tests.examples.expected import EXPECTED
from tests.examples.outcome import Outcome, table_of
from tests.examples.workshop import Workshop, plan_exploration, workshop

complaints = Console(stderr=True)


def try_example(place: Workshop, name: str, changes: Sequence[str], *, to_the_end: bool) -> Outcome:
    """Copy an example and do what its README says.

    Args:
        place: where.
        name: of the example.
        changes: assignments to keys of its param.json.
        to_the_end: whether active learning is run; else it is planned.
    """
    began = time.monotonic()
    folder = place.copy(name)
    place.change(name, changes)
    summary = place.init_bulk(name)
    planned, campaign = plan_exploration(folder), None
    if to_the_end:
        complaints.print(f"{name}: first data set after {time.monotonic() - began:.0f} s")
        campaign = place.run(name)
    return Outcome(name, summary, planned, time.monotonic() - began, tuple(changes), campaign)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make examples", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPECTED)}; all by default")
    parser.add_argument("--run", action="store_true", help="active learning to its end, too")
    parser.add_argument("--quick", action="store_true", help="with a small network and little training")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of param.json, after --quick"
    )
    parser.add_argument("--dir", type=Path, metavar="FOLDER", help="work in this new folder, and leave it")
    options = parser.parse_args()
    if unknown := set(options.names) - EXPECTED.keys():
        parser.error(f"no example {', '.join(sorted(unknown))}; there are {', '.join(EXPECTED)}")
    warnings.filterwarnings("ignore")
    outcomes, failed = [], False
    if options.dir:
        options.dir.mkdir(parents=True)
    here = nullcontext(options.dir.resolve()) if options.dir else tempfile.TemporaryDirectory()
    with here as folder, workshop(Path(folder)) as place:
        for name in options.names or EXPECTED:
            complaints.print(name)
            changes = [*(AFFORDABLE[name] if options.quick else ()), *options.set]
            try:
                outcomes.append(try_example(place, name, changes, to_the_end=options.run))
            except (AlpwError, RuntimeError) as error:
                complaints.print(f"{name}: {error}", style="red", markup=False)
                failed = True
    Console(width=None if sys.stdout.isatty() else 240).print(table_of(outcomes))
    return int(failed or any(outcome.wrong(EXPECTED[outcome.name]) for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
