"""A plugin of pytest, loaded first: tests begin like every program of this project."""

from autoencoder.base import startup

startup.begin()
