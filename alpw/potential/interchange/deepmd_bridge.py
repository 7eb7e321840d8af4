"""Between deepmd-kit's own model files and its portable form: plain JSON, which is YAML as well.

The functions work anywhere. As a program this file needs deepmd-kit and nothing of ours, and is handed to
the Python that has it: ``python - read MODEL FILE`` and ``python - write FILE MODEL``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

# YAML 1.1 takes 1e-05 for a word; a number has a decimal point.
_POINTLESS = re.compile(r"(?<=[\[ ,])(-?\d+)e(?=[-+]\d+[,\]} ])")


def dump(data: dict[str, Any]) -> str:
    """``data`` with its arrays written out, every digit of them, as deepmd-kit's YAML files hold them."""
    return _POINTLESS.sub(r"\1.0e", json.dumps(_plain(data, False)))


def restore(data: Any) -> Any:
    """The arrays back in what a parser made of `dump`'s text, or of deepmd-kit's."""
    if isinstance(data, dict):
        if data.get("@class") == "np.ndarray":
            return np.asarray(data["value"], dtype=np.dtype(data["dtype"]))
        return {key: restore(value) for key, value in data.items()}
    return [restore(value) for value in data] if isinstance(data, list) else data


def _plain(data: Any, variables: bool) -> Any:
    if isinstance(data, dict):
        return {str(key): _plain(value, variables or key == "@variables") for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value, variables) for value in data]
    if isinstance(data, (np.ndarray, np.generic)) and variables:
        array = np.asarray(data)
        return {
            "@class": "np.ndarray",
            "@is_variable": True,
            "@version": 1,
            "dtype": array.dtype.name,
            "value": array.tolist(),
        }
    return data.tolist() if isinstance(data, (np.ndarray, np.generic)) else data


def main(task: str, source: str, target: str) -> None:
    """Read or write one model through the backend that deepmd-kit knows its file by."""
    # Imported by name, since it exists only where this file runs as a program.
    backends = importlib.import_module("deepmd.backend.backend").Backend
    backend = backends.detect_backend_by_model(source if task == "read" else target)()
    if task == "read":
        data = backend.serialize_hook(source)
        if source.endswith(".pb"):
            _restore_output(source, data)
        Path(target).write_text(dump(data))
    else:
        data = restore(json.loads(Path(source).read_text()))
        if target.endswith(".pb"):
            _for_tensorflow(data)
        backend.deserialize_hook(target, data)


def _restore_output(frozen: str, data: dict[str, Any]) -> None:
    """Bias and scale of the output; deepmd-kit 3.2 writes them under one name and looks for another."""
    graphs = importlib.import_module("deepmd.tf.utils.graph")
    errors = importlib.import_module("deepmd.tf.utils.errors")
    graph, _ = graphs.load_graph_def(frozen)
    for name in ("out_bias", "out_std"):
        with contextlib.suppress(errors.GraphWithoutTensorError):
            tensor = graphs.get_tensor_by_name_from_graph(graph, f"model_attr/model_attr/t_{name}")
            data["model"]["@variables"][name] = np.asarray(tensor)


def _for_tensorflow(data: dict[str, Any]) -> None:
    """Where TensorFlow reads the settings of type vectors from a frozen model: beside the descriptor's.

    Elsewhere it takes them to have eight components, and other backends refuse them in this place.
    """
    network = data["model"]["descriptor"].get("type_embedding")
    if network:
        keys = ("neuron", "activation_function", "resnet_dt", "precision", "use_tebd_bias")
        data["model_def_script"]["type_embedding"] = {key: network[key] for key in keys}


if __name__ == "__main__":
    main(*sys.argv[1:])
