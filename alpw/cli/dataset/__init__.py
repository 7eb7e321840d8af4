"""``alpw dataset``: look after the labelled data set."""

from __future__ import annotations

import typer

from alpw.cli.lazy import lazy_group

COMMANDS = {
    "snapshot": ("frozen", "snapshot"),
    "snapshots": ("frozen", "snapshots_"),
    "diff": ("frozen", "diff"),
    "split": ("frozen", "split"),
    "tag": ("curate", "tag"),
    "untag": ("curate", "untag"),
    "remove": ("curate", "remove"),
    "restore": ("curate", "restore"),
    "migrate": ("curate", "migrate"),
    "stats": ("stats", "stats"),
    "health": ("health", "health"),
    "plot": ("plot", "plot"),
    "sweep": ("sweep", "sweep"),
}

app = typer.Typer(
    cls=lazy_group("alpw.cli.dataset", COMMANDS),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
)


@app.callback()
def dataset() -> None:
    """Look after the labelled data set: freeze, divide, tag, remove.

    Example: `alpw dataset snapshot paper chemsys=Si 'max_force<10'`
    """
