"""The Deep Potential as a library: model, training, evaluation, ASE calculator."""

from alpw.potential.calculator import DeepPotentialCalculator
from alpw.potential.config import DeepPotentialConfig
from alpw.potential.evaluation import Errors, test
from alpw.potential.model import DeepPotential, Evaluation, Prediction
from alpw.potential.neighbors import Graph, NeighborList, collate
from alpw.potential.training import EpochRecord, TrainingOptions, TrainingReport, train

__all__ = [
    "DeepPotential",
    "DeepPotentialCalculator",
    "DeepPotentialConfig",
    "EpochRecord",
    "Errors",
    "Evaluation",
    "Graph",
    "NeighborList",
    "Prediction",
    "TrainingOptions",
    "TrainingReport",
    "collate",
    "test",
    "train",
]
