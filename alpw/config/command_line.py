"""A command of the user's as the words that are run: no shell is involved."""

from __future__ import annotations

import re
import shlex

from alpw.errors import InputError

OPERATORS = frozenset({"|", "|&", ">", ">>", "<", "2>", "2>>", "2>&1", "&>", "&&", "||", ";", "&"})


def words_of(command: str) -> list[str]:
    """Words of a command line such as ``mpirun -np $SLURM_NTASKS cp2k.psmp``; variables stay as they are.

    Quotes are honoured, pipes and redirections are not.

    Raises:
        InputError: nothing to run, a quote that is not closed, or a shell operator.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"{command!r} has a quote or a backslash without its end", key="command") from error
    if not words:
        raise InputError(
            "empty command; give the program to run, such as 'mpirun -np 2 cp2k.psmp'", key="command"
        )
    if re.match(r"[A-Za-z_]\w*=", words[0]):
        text = f"{command!r} begins with a variable, not with a program; put export {words[0]} into env_list"
        raise InputError(text, key="command")
    for word in words:
        if word in OPERATORS or word.endswith(";"):
            raise InputError(
                f"{command!r} holds the shell operator {word!r}; give one program and its arguments, "
                "and put set-up commands into source_list, module_list or env_list",
                key="command",
            )
    return words
