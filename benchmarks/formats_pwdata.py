"""Reads a file with pwdata; run by formats.py with the Python of an environment that has pwdata.

python benchmarks/formats_pwdata.py FILE FORMAT
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
from pwdata import Config


def main() -> None:
    """Print what formats.py compares, as JSON."""
    path, form = sys.argv[1:]
    began = time.process_time()
    images = Config(data_path=path, format=form).images
    seconds = time.process_time() - began
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    found = {
        "frames": len(images),
        "seconds": seconds,
        "peak_memory": int(peak[1]) * 1024 / 1e9 if peak else 0.0,
        "energy": float(sum(image.Ep for image in images)),
        "forces": float(sum(np.abs(image.force).sum() for image in images)),
        "virial": float(sum(np.abs(image.virial).sum() for image in images)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
