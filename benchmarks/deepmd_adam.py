"""A training of deepmd-kit with Adam (TensorFlow backend), for `convergence.py`.

Needs deepmd-kit and nothing of ours: it runs in deepmd-kit's environment, `dp train` unchanged, and reads off
its learning curve how much CPU time each epoch took.

python benchmarks/deepmd_adam.py FOLDER
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

CURVE = "lcurve.out"
POLL_SECONDS = 0.05


def watch(stop: threading.Event, seen: dict[int, tuple[float, float]]) -> None:
    """Note the CPU time at which each line of the learning curve appears, and its validation force error."""
    while not stop.is_set():
        now = time.process_time()
        for step, error in lines():
            seen.setdefault(step, (now, error))
        time.sleep(POLL_SECONDS)


def lines() -> list[tuple[int, float]]:
    """Step and force RMSE on the validation frames, of each whole line of the curve."""
    if not Path(CURVE).exists():
        return []
    text = Path(CURVE).read_text()
    header = text.splitlines()[0].lstrip("# ").split() if text else []
    whole = [line.split() for line in text[: text.rfind("\n") + 1].splitlines() if not line.startswith("#")]
    column = header.index("rmse_f_val") if whole else 0
    return [(int(words[0]), float(words[column])) for words in whole]


def main(folder: Path) -> dict[str, Any]:
    """Train; per epoch the CPU time since the first line of the curve and the validation force RMSE."""
    os.chdir(folder)
    from deepmd.main import main as dp

    seen: dict[int, tuple[float, float]] = {}
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(stop, seen))
    watcher.start()
    try:
        # deepmd-kit talks on standard output, where our result goes.
        with contextlib.redirect_stdout(io.StringIO()):
            dp(["--tf", "train", "input.json", "--skip-neighbor-stat"])
    finally:
        end = time.process_time()
        stop.set()
        watcher.join()
    for step, error in lines():
        seen.setdefault(step, (end, error))
    first = min(seen)
    return {
        "steps": [step for step in sorted(seen) if step > first],
        "cpu": [seen[step][0] - seen[first][0] for step in sorted(seen) if step > first],
        "force_rmse": [seen[step][1] for step in sorted(seen) if step > first],
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
