"""Training steps of deepmd-kit's Kalman filter (PyTorch backend), for `lkf_step.py`.

Needs deepmd-kit and nothing of ours: it runs in deepmd-kit's environment and reads what `lkf_step.py` wrote.

python benchmarks/deepmd_lkf.py FOLDER STEPS
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

# The wheel's operators are compiled for one version of torch. Training needs none of them but this switch,
# and deepmd-kit does not load its library where the switch exists.
_library = torch.library.Library("deepmd", "DEF")
_library.define("enable_mpi() -> bool")
_library.impl("enable_mpi", lambda: False, "CompositeExplicitAutograd")

from deepmd.pt.loss import EnergyStdLoss  # noqa: E402
from deepmd.pt.model.model.model import BaseModel  # noqa: E402
from deepmd.pt.optimizer.KFWrapper import KFOptimizerWrapper  # noqa: E402
from deepmd.pt.optimizer.LKF import LKFOptimizer  # noqa: E402
from deepmd.pt.train.wrapper import ModelWrapper  # noqa: E402


def restore(data: Any) -> Any:
    """Arrays back in what a JSON parser made of a model."""
    if isinstance(data, dict):
        if data.get("@class") == "np.ndarray":
            return np.asarray(data["value"], dtype=np.dtype(data["dtype"]))
        return {key: restore(value) for key, value in data.items()}
    return [restore(value) for value in data] if isinstance(data, list) else data


class TimedLKF(LKFOptimizer):
    """Counts the CPU time of its steps."""

    seconds = 0.0

    def step(self, error: torch.Tensor) -> None:
        began = time.process_time()
        super().step(error)
        self.seconds += time.process_time() - began


def main(folder: Path, n_steps: int) -> dict[str, Any]:
    """Train ``n_steps`` frames; CPU times, errors on the held-out frames, final weights."""
    torch.set_num_threads(1)
    model = BaseModel.deserialize(restore(json.loads((folder / "model.json").read_text()))["model"])
    # Without a loss, deepmd-kit takes the model for one that is only evaluated, and freezes it.
    wrapper = ModelWrapper(model, loss=EnergyStdLoss(starter_learning_rate=1e-3))
    settings = json.loads((folder / "settings.json").read_text())
    optimizer = TimedLKF(wrapper.parameters(), 0.98, 0.9987, settings["block_size"])
    filter_ = KFOptimizerWrapper(
        wrapper, optimizer, settings["atoms_selected"], settings["atoms_per_group"], False
    )
    data = np.load(folder / "frames.npz")
    inputs = [
        {
            "coord": torch.from_numpy(position[None]),
            "atype": torch.zeros(1, len(position), dtype=torch.int64),
            "box": torch.from_numpy(cell.reshape(1, 9)),
        }
        for position, cell in zip(data["positions"], data["cells"], strict=True)
    ]
    energies, forces = (torch.from_numpy(data[key]) for key in ("energies", "forces"))
    steps = []
    for step in range(n_steps):
        atoms = data["atoms"][step]
        filter_._KFOptimizerWrapper__sample = lambda *_, atoms=atoms: atoms
        began = time.process_time()
        filter_.update_energy(inputs[step], energies[step].reshape(1, 1), 1.0)
        filter_.update_force(inputs[step], forces[step][None], 1.0)
        steps.append(time.process_time() - began)
    held_out = range(len(inputs) - settings["held_out"], len(inputs))
    found = [wrapper(**inputs[index], skip_loss=True)[0]["force"][0].detach() for index in held_out]
    errors = torch.stack(found) - forces[list(held_out)]
    weights = torch.cat([weight.detach().t().reshape(-1) for weight in wrapper.parameters()])
    np.save(folder / "deepmd_weights.npy", weights.numpy())
    return {
        "step": float(np.median(steps)),
        "optimizer": optimizer.seconds / n_steps,
        "force_rmse": float(errors.square().mean().sqrt()),
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
