"""A user's LAMMPS input as the dynamics of exploration.

Structure, forces, frames and restart files are ours: lines about them are left out, with a note. Fixes,
variables, velocities, changes of the box and runs are the user's. What cannot work is refused, by file and
line, before anything is submitted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from alpw.codes.lammps.constants import Constants
from alpw.codes.lammps.rules import (
    FORCES,
    ONCE,
    OURS,
    PREDECESSOR_STRUCTURE,
    REFUSED,
    REFUSED_FIXES,
    REPEATABLE,
    REPEATABLE_FIXES,
    REPEATABLE_GROUPS,
    matches,
)
from alpw.codes.lammps.script import FORCE_FIX, Command, Run, Script, Step
from alpw.errors import InputError

OUR_VARIABLES = ("DUMP_FREQ", "THERMO_FREQ", "restart")
"""Variables that the predecessor's templates read; their values are ours."""

_COLUMNS = ("step", "temp", "press")
"""What the engine reads of the thermodynamic output."""

_LARGEST_COMPANION = 1_000_000
"""Bytes of a file that goes with a template."""


@dataclass(frozen=True)
class Template:
    """A LAMMPS input and the files that it reads.

    Attributes:
        name: of the file, for messages.
        text: its content.
        files: content of the files beside it that its lines name, such as a PLUMED input, by relative path.
            They are put where the trajectory runs.
    """

    name: str
    text: str
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Template:
        """The template at ``path`` and the files that it names.

        Raises:
            InputError: a file that cannot be read, or a line that cannot work.
        """
        file = Path(path)
        alone = cls(str(file), _read_text(file))
        texts = [step.text for step in alone.parsed.script.steps if isinstance(step, Command)]
        files: dict[str, str] = {}
        while texts:
            for name in re.findall(r"[\w.+/-]+", texts.pop()):
                inside = not name.startswith("/") and ".." not in Path(name).parts and name != file.name
                if inside and name not in files and (file.parent / name).is_file():
                    files[name] = _read_text(file.parent / name)
                    texts.append(files[name])
        return cls(alone.name, alone.text, files)

    @cached_property
    def parsed(self) -> Parsed:
        """What the lines mean.

        Raises:
            InputError: a line that cannot work.
        """
        return _Reader(self.name).read(self.text)

    @property
    def temperature(self) -> float:
        """K, the variable ``TEMP``; velocities are drawn from it and the limits follow from it."""
        return self.parsed.temperature

    @property
    def n_steps(self) -> int:
        """Time steps of all runs."""
        return self.parsed.script.n_steps

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out and why, by line."""
        return self.parsed.notes


@dataclass(frozen=True)
class Parsed:
    """What a template means.

    Attributes:
        script: the user's commands and runs.
        temperature: K.
        draws: whether a line gives the atoms velocities; otherwise that is ours.
        notes: what was left out and why, by line.
    """

    script: Script
    temperature: float
    draws: bool
    notes: tuple[str, ...]


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_COMPANION:
            raise InputError(f"larger than {_LARGEST_COMPANION // 1_000_000} MB; give its path in full", path)
        return path.read_text()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path) from error
    except UnicodeDecodeError as error:
        raise InputError("not a text file", path) from error


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, continued ones joined, with the number of the first."""
    begun, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        start = start if begun else number
        # A # in quotes is no comment.
        bare = re.sub(r"""("[^"]*"|'[^']*')|#.*""", lambda found: found[1] or "", begun + line).rstrip()
        if bare.endswith("&"):
            begun = bare[:-1] + " "
            continue
        begun = ""
        if bare.strip():
            yield start, bare.strip()
    if begun.strip():
        yield start, begun.strip()


class _Reader:
    """Goes through a template once; one method per command that is more than text."""

    def __init__(self, name: str) -> None:
        self._name, self._line = name, 0
        self._constants = Constants()
        self._steps: list[Step] = []
        self._notes: list[str] = []
        self._resumable, self._draws, self._done = True, False, 0
        self._special = {
            "run": self._run,
            "variable": self._variable,
            "fix": self._fix,
            "if": self._if,
            "read_data": self._read_data,
            "pair_style": self._pair_style,
            "units": self._units,
            "thermo_style": self._thermo_style,
            "change_box": self._change_box,
            "group": self._group,
        }

    def read(self, text: str) -> Parsed:
        for self._line, line in _logical_lines(text):
            self._take(line)
        if not any(isinstance(step, Run) for step in self._steps):
            raise InputError("has no run command", self._name)
        temperature = self._constants.get("TEMP")
        if temperature is None or not temperature > 0:
            raise InputError(
                "needs the line 'variable TEMP equal <number>', K: velocities are drawn from it",
                self._name,
            )
        script = Script(tuple(self._steps), self._resumable)
        return Parsed(script, temperature, self._draws, tuple(self._notes))

    def _take(self, line: str) -> None:
        words = line.split()
        command = words[0]
        if reason := matches(REFUSED, command) or matches(FORCES, command):
            self._refuse(f"{command}: {reason}")
        if '"""' in line:
            self._refuse("triple quotes are not understood; put the text on one line")
        if command in {"unfix", "fix_modify"} and FORCE_FIX in words:
            self._refuse(f"{FORCE_FIX} is the fix that brings the model's forces")
        if special := self._special.get(command):
            special(words, line)
        elif reason := matches(OURS, command):
            self._leave_out(line, reason)
        else:
            self._draws = self._draws or command == "velocity"
            self._keep(line)

    def _refuse(self, message: str) -> None:
        raise InputError(f"line {self._line}: {message}", self._name)

    def _keep(self, line: str, repeatable: bool = True) -> None:
        command = line.split()[0]
        self._resumable = self._resumable and repeatable and command in REPEATABLE and "$(" not in line
        self._steps.append(Command(line, command in ONCE, self._line))

    def _leave_out(self, line: str, reason: str) -> None:
        self._notes.append(f"line {self._line}: '{line}' is left out: {reason}")

    def _run(self, words: list[str], line: str) -> None:
        begin, options = self._done, words[2:]
        count = self._constants.value(words[1]) if len(words) > 1 else None
        if count is None or count < 0 or count != int(count):
            self._refuse(f"'{line}': the number of steps must be a number, or a variable that is one")
            return
        upto = "upto" in options
        end = int(count) if upto else begin + int(count)
        if end < begin:
            self._refuse(f"'{line}': step {begin} is already behind")
        options = [word for word in options if word != "upto"]
        ramp = {"start": begin, "stop": end}
        for name, value in zip(options[::2], [*options[1::2], ""], strict=False):
            if name in ramp:
                step = self._constants.value(value)
                if step is None:
                    self._refuse(f"'{line}': {name} needs a number")
                else:
                    ramp[name] = int(step)
            elif name in {"pre", "post"}:
                self._notes.append(f"line {self._line}: '{name} {value}' has no effect")
            else:
                self._refuse(f"'{line}': the option '{name}' of run is not available")
        if ramp["start"] > begin or ramp["stop"] < end:
            self._refuse(f"'{line}': start and stop must enclose the steps {begin} to {end}")
        self._steps.append(Run(begin, end, (ramp["start"], ramp["stop"]), self._line))
        self._done = end

    def _variable(self, words: list[str], line: str) -> None:
        if len(words) > 1 and words[1] in OUR_VARIABLES:
            self._leave_out(line, "trj_freq decides it, and restart files are ours")
            return
        self._keep(line, len(words) > 2 and self._constants.define(words[1], words[2], words[3:]))

    def _fix(self, words: list[str], line: str) -> None:
        if words[1:2] == [FORCE_FIX]:
            self._refuse(f"the id {FORCE_FIX} is that of the fix that brings the model's forces")
        style = words[3] if len(words) > 3 else ""
        if reason := matches(REFUSED_FIXES, style):
            self._refuse(f"fix {style}: {reason}")
        self._keep(line, style in REPEATABLE_FIXES)

    def _if(self, words: list[str], line: str) -> None:
        inside = re.findall(r"[a-z_]+", line)
        if "read_data" in inside:
            self._same_structure(line)
        if {"read_data", "read_restart"} & set(inside) or re.search(r"\$\{restart\}", line):
            self._leave_out(line, "ALPW reads the structure and draws the velocities")
            return
        if found := next((word for word in inside if word == "run" or matches(REFUSED, word)), None):
            self._refuse(f"'{found}' inside of 'if' is not available")
        self._keep(line)

    def _read_data(self, words: list[str], line: str) -> None:
        self._same_structure(line)
        self._leave_out(line, OURS["read_data"])

    def _same_structure(self, line: str) -> None:
        for name in re.findall(r"read_data\s+([^\s\"']+)", line):
            if name != PREDECESSOR_STRUCTURE:
                self._refuse(
                    f"read_data {name}: the structure comes from sys_configs; name it there, and remove the "
                    f"line or write {PREDECESSOR_STRUCTURE}"
                )

    def _pair_style(self, words: list[str], line: str) -> None:
        if any(word.startswith("hybrid") for word in words[1:2]):
            self._refuse(f"pair_style {words[1]}: {FORCES['pair_modify']}, no other can be added to it")
        self._leave_out(line, OURS["pair_style"])

    def _units(self, words: list[str], line: str) -> None:
        if words[1:2] != ["metal"]:
            self._refuse(f"'{line}': only units metal (eV, Å, ps, bar); convert the numbers of the template")
        self._leave_out(line, OURS["units"])

    def _thermo_style(self, words: list[str], line: str) -> None:
        if words[1:2] != ["custom"]:
            self._leave_out(line, "only thermo_style custom is taken over")
            return
        others = [word for word in words[2:] if word not in _COLUMNS]
        self._keep(" ".join(["thermo_style custom", *_COLUMNS, *others]))

    def _change_box(self, words: list[str], line: str) -> None:
        if "boundary" in words:
            self._refuse("change_box boundary: exploration is periodic as the structure is")
        self._keep(line)

    def _group(self, words: list[str], line: str) -> None:
        self._keep(line, len(words) > 2 and words[2] in REPEATABLE_GROUPS)
