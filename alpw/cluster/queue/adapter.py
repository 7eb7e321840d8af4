"""FireWorks' queue adapter for SLURM, with what its template leaves out."""

from __future__ import annotations

import re
import shlex
from typing import Any, ClassVar

from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

from alpw.errors import InputError

VERBATIM = ("pre_rocket", "rocket_launch", "post_rocket")
"""Keys whose value is shell; all others are one word of an ``#SBATCH`` line."""


class SlurmAdapter(CommonAdapter):
    """The adapter that our queue files name; `qlaunch` loads it by that name.

    - The name of a job ends in the id of its Firework, which reservation mode (`qlaunch -r`) appends to
      ``rocket_launch``; its logs, ``<name>-<job>.out`` and ``.error``, lie in the folder of the launch.
    - Shell lines reach the script as they are: FireWorks' template drops every line that holds ``$$``.
    - The folder of the launch may have blanks and quotes in its name.
    - A value with a line break, which would be a line of its own in the script, is refused.
    """

    _fw_name: ClassVar[str] = "{{alpw.cluster.queue.adapter.SlurmAdapter}}"

    def get_script_str(self, launch_dir: str) -> str:
        """The job script.

        Args:
            launch_dir: where it will be submitted and run.

        Raises:
            InputError: a value that cannot stand in an ``#SBATCH`` line; names its key.
        """
        for key, value in self.items():
            is_word = key not in VERBATIM and isinstance(value, str)
            if is_word and value != "".join(value.splitlines()):
                raise InputError(f"{value!r} has a line break", key=key)
        shell = {f"@{key}@": self[key] for key in VERBATIM if self.get(key)}
        # What is put in the place of shell lines until FireWorks has filled in the rest.
        marks = {mark.strip("@"): mark for mark in shell}
        plain = CommonAdapter(self.q_type, self.q_name, self.template_file, **self._words(), **marks)
        lines = [_quoted(line) for line in plain.get_script_str(launch_dir).split("\n")]
        return "\n".join(shell.get(line, line) for line in lines)

    def _words(self) -> dict[str, Any]:
        words = {key: value for key, value in self.items() if key not in VERBATIM}
        found = re.search(r"--fw_id (\d+)", str(self.get("rocket_launch", "")))
        name = words.get("job_name") or "alpw"
        return {**words, "job_name": f"{name}-{found[1]}" if found else name}


def _quoted(line: str) -> str:
    """A line of the template; the one that changes the folder has the folder's name as it is."""
    verb, blank, folder = line.partition(" ")
    return verb + blank + shlex.quote(folder) if verb == "cd" else line
