"""Runs a callable somewhere: on this machine, or on a SLURM cluster."""
