"""Every benchmark, one after the other, and their reports in RESULTS.md.

python benchmarks/all.py [--quick] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import torch
from common import one_thread

import alpw

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"

# Name of the script -> title of its section.
BENCHMARKS = {
    "lkf_step": "A training step of the Kalman filter",
    "convergence": "Epochs and time to a force error",
    "committee": "A committee of four in one pass",
    "kpu": "Kalman prediction uncertainty",
    "uncertainty": "Uncertainty and true error",
    "warm_start": "Uncertainty of a model that was trained on",
    "md_step": "A step of molecular dynamics",
    "precision": "float32 and float64",
    "formats": "Reading MOVEMENT and OUTCAR",
    "launch": "Fireworks per minute into SLURM",
    "campaign_growth": "What a label costs the database while a campaign grows",
    "dataset": "The labelled data set at size",
    "strategies": "Campaigns by committee, KPU and random choice",
}


def processor() -> str:
    """What the machine computes with."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    name = found[1] if found else platform.machine()
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return f"{name}, {os.cpu_count()} cores, {device}"


def run(name: str, quick: bool) -> str:
    """The section of one benchmark.

    Raises:
        SystemExit: it failed; what it said is on standard error.
    """
    arguments = [f"benchmarks/{name}.py", *(["--quick"] if quick else [])]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=HERE.parent, env=one_thread(), stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{name} failed with status {done.returncode}")
    print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    return f"## {BENCHMARKS[name]}\n\n`python {' '.join(arguments)}`\n\n```\n{done.stdout.rstrip()}\n```\n"


def main() -> None:
    """Run, and replace RESULTS.md when all have succeeded."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="each in about two minutes")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    sections = [run(name, arguments.quick) for name in arguments.only]
    command = " ".join(["python benchmarks/all.py", *sys.argv[1:]])
    RESULTS.write_text(
        f"# Results\n\nWritten by `{command}` with ALPW {alpw.__version__}, torch {torch.__version__} and "
        f"Python {platform.python_version()}, on {processor()}; load average {load:.1f} at the start. "
        "One thread. "
        "What is compared, and how far the targets are met: [README.md](README.md).\n\n" + "\n".join(sections)
    )
    print(f"wrote {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")


if __name__ == "__main__":
    main()
