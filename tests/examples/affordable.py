"""What ``--quick`` sets in an example's param.json, so that its active learning ends in minutes on two cores.

Everything else is the example's own: structures, temperatures, steps, thresholds, labels.
"""

from __future__ import annotations

from collections.abc import Mapping

SMALL = (
    "train.model.descriptor.network_size=[10, 20]",
    "train.model.descriptor.M2=4",
    "train.model.fitting_net.network_size=[20, 20, 1]",
)
"""The network of si_xtb: 2,321 weights in place of 26,651, whose covariance is a gigabyte for each member."""

AFFORDABLE: Mapping[str, tuple[str, ...]] = {
    # Batches of one frame, so that twice the steps see half the frames.
    "si_vasp": (*SMALL, "train.optimizer.steps=400"),
    "si_cp2k": (*SMALL, "train.optimizer.steps=400"),
    "si_pwmat": (*SMALL, "train.optimizer.steps=200"),
    "si_dftb": (*SMALL, "train.optimizer.steps=200"),
    "si_xtb": (),
}
"""example -> assignments to keys of its param.json; steps are those of one training, in place of epochs"""
