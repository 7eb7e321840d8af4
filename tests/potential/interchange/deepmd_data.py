"""What deepmd-kit's own loader finds in systems: runs in its own environment.

``python deepmd_data.py FOLDER RESULT SYMBOL...``: frames of all systems below the folder, as JSON in the file
RESULT, with types numbered by the symbols given and atoms in the loader's order.
"""

import json
import sys
from pathlib import Path

from deepmd.utils.data import DataRequirementItem
from deepmd.utils.data_system import DeepmdDataSystem


def main(folder: Path, result: Path, symbols: list[str]) -> None:
    systems = sorted(str(file.parent) for file in folder.rglob("type.raw"))
    loader = DeepmdDataSystem(systems, batch_size=1, test_size=1, rcut=4.0, type_map=symbols)
    loader.add_data_requirements(
        [
            DataRequirementItem("energy", 1, atomic=False, must=True, high_prec=True),
            DataRequirementItem("force", 3, atomic=True, must=True, high_prec=True),
            DataRequirementItem("virial", 9, atomic=False, must=False, high_prec=True),
        ]
    )
    frames = []
    for system in loader.data_systems:
        data = system.get_test()
        for k in range(len(data["energy"])):
            frame = {name: data[name][k].tolist() for name in ("type", "coord", "box", "energy", "force")}
            virial = data["virial"][k].tolist() if data["find_virial"] else None
            frames.append({**frame, "virial": virial, "periodic": bool(system.pbc)})
    result.write_text(json.dumps(frames))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
