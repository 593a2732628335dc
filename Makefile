# Works from a fresh clone: each target first sets up what it needs in $(VENV).
VENV ?= .venv
PYTHON ?= python3
READY := $(VENV)/.ready
export PATH := $(abspath $(VENV))/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro test test-all lint lock

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(READY) ## install the locked packages into $(VENV)

$(READY): requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

repro: $(READY) ## run what is not up to date: fetch, convert, train, evaluate, draw
	dvc repro

test: $(READY) ## run the tests that need neither the network nor minutes
	python -m pytest

test-all: $(READY) ## run all tests, those on real MNIST too
	python -m pytest -m ''

lint: $(READY) ## check format, style and types
	ruff format --check
	ruff check
	mypy

lock: $(READY) ## make requirements.lock anew from pyproject.toml
	uv pip compile --universal --generate-hashes --all-extras --upgrade --quiet \
		--custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml
