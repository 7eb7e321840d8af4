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

QUICK = (*SMALL, "train.optimizer.batch_size=1", "train.optimizer.steps=600")
"""In steps, not epochs, because later trainings begin with what the first one has learnt."""

AFFORDABLE: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("si_vasp", "si_pwmat", "si_dftb", "si_cp2k"), QUICK),
    "si_xtb": (),
}
"""example -> assignments to keys of its param.json"""
