"""Speed, scaling and ablations."""

from autoencoder.base import startup

if startup.runs_as_program():
    startup.begin()
