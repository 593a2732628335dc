"""What people run by hand."""

from autoencoder.base import startup

if startup.runs_as_program():
    startup.begin()
