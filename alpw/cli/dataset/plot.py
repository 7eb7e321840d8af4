"""``alpw dataset plot``: pictures of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alpw.cli.common import LaunchpadFile, console, errors_as_exit_status
from alpw.cli.data import Query, opened, progress, selected, words
from alpw.errors import InputError

LONGEST = 70
"""characters of a query in a title"""


def plot(
    kind: Annotated[
        str, typer.Option("--kind", "-k", metavar="KIND", help="energy-volume, forces, composition or map.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="FILE.png, .pdf or .svg.")],
    texts: Query = None,
    colour: Annotated[
        str | None,
        typer.Option(
            "--colour",
            "-c",
            metavar="WHAT",
            help="Of points: composition, iteration, uncertainty, campaign or energy.",
        ),
    ] = None,
    dpi: Annotated[int, typer.Option("--dpi", min=30, max=1200, help="Dots per inch of a .png.")] = 150,
    launchpad: LaunchpadFile = None,
) -> None:
    """Draw energies and volumes, forces, compositions, or a map of the frames.

    The map places frames by the two leading principal components of their descriptors. Of very many frames,
    some are drawn, and the title says so.

    Example: `alpw dataset plot chemsys=Si --kind map --colour uncertainty -o map.png`
    """
    with errors_as_exit_status():
        # Late: they bring matplotlib, for which no other command of the group should wait.
        from alpw.report.dataset import KINDS, Picture
        from alpw.report.dataset_colours import COLOURS
        from alpw.report.style import SUFFIXES

        for given, allowed, key in ((kind, KINDS, "--kind"), (colour or "energy", COLOURS, "--colour")):
            if given not in allowed:
                raise InputError(f"found {given!r}; allowed: {', '.join(allowed)}", key=key)
        if out.suffix.lower() not in SUFFIXES:
            raise InputError(f"found {str(out)!r}; allowed suffixes: {', '.join(SUFFIXES)}", key="--out")
        chosen = KINDS[kind]
        if colour and not chosen.colour:
            raise InputError(f"{kind} has no points to colour; energy-volume and map have", key="--colour")
        title = words(texts)
        title = title if len(title) <= LONGEST else f"{title[:LONGEST]}..."
        dataset = selected(opened(launchpad), texts)
        chosen.draw(Picture(dataset, out, colour or chosen.colour or "", title, dpi, progress))
        console.print(str(out))
