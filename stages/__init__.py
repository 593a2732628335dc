"""The stages that dvc.yaml runs, one module each."""

from autoencoder.base import startup

if startup.runs_as_program():
    startup.begin()
