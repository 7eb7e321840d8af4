"""Who trains the models of a campaign, behind one interface: our own code, deepmd-kit, PWMLFF and MatPL."""

from alpw.trainers.protocol import Compression, Member, Start, Trained, Trainer, Training
from alpw.trainers.registry import TRAINERS, trainer_of

__all__ = ["TRAINERS", "Compression", "Member", "Start", "Trained", "Trainer", "Training", "trainer_of"]
