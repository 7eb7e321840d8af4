"""Frames as tensors of torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from alpw.structures.frame import LabelledFrame


def tensors_of(frames: Sequence[LabelledFrame]) -> dict[str, torch.Tensor]:
    """Frames of any atoms in one batch; see `alpw.dataset.Dataset.torch_batches` for names and shapes."""
    missing = np.full((3, 3), np.nan)
    atoms = [frame.atoms for frame in frames]
    labels = [frame.label for frame in frames]
    arrays = {
        "numbers": np.concatenate([one.numbers for one in atoms]).astype(np.int64),
        "frame": np.repeat(np.arange(len(frames)), [len(one) for one in atoms]),
        "positions": np.concatenate([one.positions for one in atoms]),
        "cells": np.array([np.asarray(one.cell) for one in atoms]),
        "pbc": np.array([one.pbc for one in atoms]),
        "energies": np.array([label.energy for label in labels]),
        "forces": np.concatenate([label.forces for label in labels]),
        "virials": np.array([missing if label.virial is None else label.virial for label in labels]),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
