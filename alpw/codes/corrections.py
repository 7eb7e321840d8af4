"""Which correction may repair what: the rules, and the wrapper that enforces them on any error handler.

A correction is *numerical* when the answer stays the same and only the way to it changes (mixing, algorithm,
number of SCF steps, parallel layout). Everything else *changes the physics*. Labels admit numerical
corrections only. A handler is not trusted to say what it does: the input files are compared before and after,
and what is not allowed is undone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from custodian.custodian import ErrorHandler

from alpw.errors import FailureKind

if TYPE_CHECKING:
    from alpw.codes.protocol import Code, Task


logger = logging.getLogger(__name__)


class Effect(str, Enum):
    """What changing a setting does to the answer."""

    NUMERICAL = "numerical"
    PHYSICS = "physics"


class Rule(NamedTuple):
    """The class of one setting, and why."""

    effect: Effect
    reason: str
    harmless_in: tuple[str, ...] = ()
    """tasks whose meaning it does not touch although it changes the physics of a label"""
    never_in: tuple[str, ...] = ()
    """tasks that it would turn into something else, whatever the user allows"""


Rules = Mapping[str, Rule]
"""``"INCAR/ALGO"`` (file and key, as `Code.settings_of_inputs` names them) -> rule; a key that is not in the
table changes the physics. A key that ends in ``/*`` stands for all keys below."""

UNKNOWN = Rule(Effect.PHYSICS, "not in the table of settings that are known to be numerical")


def rule_for(rules: Rules, key: str) -> Rule:
    """The rule of a setting: its own, or that of the closest section above it."""
    if key in rules:
        return rules[key]
    above = key
    while "/" in above:
        above = above.rpartition("/")[0]
        if f"{above}/*" in rules:
            return rules[f"{above}/*"]
    return UNKNOWN


def is_numerical(rules: Rules, key: str) -> bool:
    """Whether a setting is no part of the level of theory."""
    return rule_for(rules, key).effect is Effect.NUMERICAL


def refused(rules: Rules, changed: list[str], task: Task, allow_physics: bool) -> list[str]:
    """Of the settings that a correction changed, those that it must not change in this task, with reasons.

    Args:
        rules: of the code.
        changed: names of the settings.
        task: labels admit numerical changes only.
        allow_physics: the user allows more for relaxations and AIMD; it does not concern labels.
    """
    found = []
    for key in changed:
        rule = rule_for(rules, key)
        free = rule.effect is Effect.NUMERICAL or task.value in rule.harmless_in
        permitted = allow_physics and task.value != "label"
        if task.value in rule.never_in or not (free or permitted):
            found.append(f"{key} ({rule.reason})")
    return found


class GuardedHandler(ErrorHandler):
    """Another handler, whose corrections are admitted only where the rules of the code allow them.

    Args:
        handler: custodian's or ours.
        code: whose inputs it changes.
        task: what is being run.
        allow_physics: whether the user allows physics-changing corrections of relaxations and AIMD.
        before: called before a correction touches anything.
    """

    def __init__(
        self,
        handler: ErrorHandler,
        code: Code,
        task: Task,
        allow_physics: bool = False,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.handler, self.code, self.task = handler, code, task
        self.allow_physics, self.before = allow_physics, before
        self.is_monitor = handler.is_monitor
        self.is_terminating = handler.is_terminating
        self.raises_runtime_error = True
        self.max_num_corrections = handler.max_num_corrections
        self.raise_on_max = handler.raise_on_max

    def check(self, directory: str | Path = "./") -> bool:
        self.handler.n_applied_corrections = self.n_applied_corrections
        try:
            return bool(self.handler.check(directory=str(directory)))
        # custodian's own handlers raise anything on half-written files; that is no error of the calculation.
        except Exception as error:  # noqa: BLE001
            logger.warning("%s: %s cannot judge: %s", directory, type(self.handler).__name__, error)
            return False

    def correct(self, directory: str | Path = "./") -> dict[str, Any]:
        """Let the handler work, see what it did, and undo what it must not do."""
        folder = Path(directory)
        if self.before:
            self.before()
        before = self.code.settings_of_inputs(folder)
        contents = {name: (folder / name).read_bytes() for name in self._files(folder)}
        try:
            done = dict(self.handler.correct(directory=str(directory)))
        # As above; what it has changed until then is undone.
        except Exception as error:  # noqa: BLE001
            self._restore(folder, contents)
            name = type(self.handler).__name__
            return {"errors": [f"{name}: {error!r}"], "actions": None, "kind": FailureKind.UNKNOWN.value}
        after = self.code.settings_of_inputs(folder)
        changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        done["kind"] = self._kind(done)
        done["changed"] = changed
        forbidden = refused(self.code.rules, changed, self.task, self.allow_physics)
        if forbidden:
            self._restore(folder, contents)
            done["refused"] = forbidden
            done["actions"] = None
        return done

    def as_dict(self) -> dict[str, Any]:
        """For custodian's run log: the handler itself."""
        return {"@module": type(self.handler).__module__, "@class": type(self.handler).__name__}

    def _kind(self, done: dict[str, Any]) -> str:
        words = [str(error) for error in done["errors"]]
        known = [kind.value for word, kind in self.code.kinds.items() if any(word in e for e in words)]
        return str(done.get("kind") or (known or [FailureKind.UNKNOWN.value])[0])

    def _files(self, folder: Path) -> list[str]:
        return [name for name in self.code.inputs if (folder / name).is_file()]

    def _restore(self, folder: Path, contents: dict[str, bytes]) -> None:
        for name in self._files(folder):
            if name not in contents:
                (folder / name).unlink()
        for name, content in contents.items():
            (folder / name).write_bytes(content)
