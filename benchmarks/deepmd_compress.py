"""`dp --tf compress`, for a model that was never trained by deepmd-kit; runs in deepmd-kit's environment.

deepmd-kit 3.2 checks the training section of the model's input although it does not train, and refuses an
exported model for its missing learning rate. It is given one here.

python deepmd_compress.py model.pb compressed.pb
"""

import json
import sys

import deepmd.tf.entrypoints  # noqa: F401  makes the module below, which a function hides under its name

module = sys.modules["deepmd.tf.entrypoints.compress"]
normalize = module.normalize


def with_learning_rate(settings):
    """What deepmd-kit checks, completed."""
    rate = {"type": "exp", "start_lr": 1e-3, "stop_lr": 1e-8, "decay_steps": 100}
    return normalize({"loss": {"type": "ener"}, **settings, "learning_rate": rate})


module.normalize = with_learning_rate
module.compress(
    input=sys.argv[1],
    output=sys.argv[2],
    extrapolate=5,
    step=0.01,
    frequency=-1,
    checkpoint_folder="model-compression",
    training_script=None,
    mpi_log="master",
    log_path=None,
    log_level=2,
)
print(json.dumps({"output": sys.argv[2]}))
