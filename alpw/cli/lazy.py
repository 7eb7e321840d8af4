"""Groups of commands whose modules are imported when one of them is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from alpw.cli.common import errors_as_exit_status
from alpw.cluster.fw_config import import_fireworks


class CaseInsensitiveGroup(TyperGroup):
    """Commands in any case, as the predecessor takes them."""

    # Typer brings its own copy of click, whose place differs between versions.
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, whatever its case."""
        return super().get_command(ctx, cmd_name.lower())


def lazy_group(package: str, commands: Mapping[str, tuple[str, str]]) -> type[TyperGroup]:
    """A class of groups: the commands of a table, then those that are added to the group itself.

    Args:
        package: in which the modules are.
        commands: name -> module, and the function of the command or the ``typer.Typer`` of a further group.
    """

    class Commands(CaseInsensitiveGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            """Names of the commands, in the order of the help."""
            return [*commands, *super().list_commands(ctx)]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            """The command of that name, whatever its case."""
            name = cmd_name.lower()
            if name not in commands:
                return super().get_command(ctx, name)
            module, attribute = commands[name]
            # What nearly all of them import, and what a file of the user's can make fail.
            with errors_as_exit_status():
                import_fireworks()
            found = getattr(import_module(f"{package}.{module}"), attribute)
            if isinstance(found, typer.Typer):
                group = typer.main.get_command(found)
                group.name = name
                return group
            single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
            single.command(name)(found)
            return typer.main.get_command(single)

    return Commands
