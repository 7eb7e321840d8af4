"""Training: Adam on DeePMD-kit's loss, and Kalman filters that keep the covariance of the weights."""

from alpw.potential.training.committee import train_committee
from alpw.potential.training.curve import EpochRecord, read_curve
from alpw.potential.training.loop import TrainingReport, train
from alpw.potential.training.options import TrainingOptions

__all__ = ["EpochRecord", "TrainingOptions", "TrainingReport", "read_curve", "train", "train_committee"]
