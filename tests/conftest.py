"""Loads the fixtures, except in the process of pytest-xdist that only distributes the tests."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("numprocesses", None):
        config.pluginmanager.import_plugin("helpers.fixtures")
