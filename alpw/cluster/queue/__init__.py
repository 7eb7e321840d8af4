"""Fireworks of a campaign in SLURM: submitted with FireWorks' queue launcher, taken back from dead jobs."""
