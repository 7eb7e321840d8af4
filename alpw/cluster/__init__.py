"""Where Fireworks run: local workers, SLURM through qlaunch, and the repair of what died."""
