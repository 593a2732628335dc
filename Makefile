# Works in a fresh clone: each target first installs the packages into $(VENV), once.
VENV ?= .venv
PYTHON ?= python3
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
# The commands in dvc.yaml find the environment's python, as if it were activated.
export PATH := $(BIN):$(PATH)

# What `make sweep` varies.
PARAM ?= z_size
VALUES ?= 8,16,32,64
# What `make review` compares the workspace with.
BASE ?= main
# What `make anomaly` compares with the test table.
OTHER ?= fashion-mnist.csv
# One process per core; the tests of a file run in one of them.
PARALLEL := --numprocesses auto --dist loadfile

.PHONY: help setup repro sweep review explore verify test-unit test test-all soak lint bench bench-scale bench-processes
.PHONY: choices anomaly lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-17s%s\n", $$1, $$2 }' Makefile

setup: $(READY) ## install the locked packages into $(VENV)

$(READY): requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

repro: $(READY) ## run the stages that are out of date
	$(BIN)/dvc repro

sweep: $(READY) ## run several values of a parameter (PARAM=z_size VALUES=8,16,32,64), plot the scores
	$(BIN)/python -m tools.sweep $(PARAM) $(VALUES)

review: $(READY) ## compare the workspace with a revision or experiment (BASE=main)
	$(BIN)/python -m tools.review $(BASE) $(addprefix --tolerance ,$(TOLERANCE))

explore: $(READY) ## write an interactive page of the trained network (OUT=explore/index.html)
	$(BIN)/python -m tools.explore $(addprefix --out ,$(OUT))

verify: $(READY) ## reproduce the run from scratch in a clone, compare it with dvc.lock
	$(BIN)/python -m tools.verify

test-unit: $(READY) ## run the tests that start no other process
	$(BIN)/python -m pytest $(PARALLEL) -m 'not process and not slow and not soak'

test: $(READY) ## run all tests but the slow ones
	$(BIN)/python -m pytest $(PARALLEL)

test-all: $(READY) ## run all tests, also on real MNIST
	$(BIN)/python -m pytest $(PARALLEL) -m 'not soak'

soak: $(READY) ## kill runs at a hundred random moments, from SEED=... (15 minutes)
	SEED=$(SEED) $(BIN)/python -m pytest -m soak --capture=no

lint: $(READY) ## check format, style and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

bench: $(READY) ## measure training against plain PyTorch and the limit of the machine
	$(BIN)/python -m benchmarks.training

bench-scale: $(READY) ## measure time and memory up to EMNIST's 814,255 images
	$(BIN)/python -m benchmarks.scale

bench-processes: $(READY) ## measure an epoch with one, two and three processes
	$(BIN)/python -m benchmarks.processes

choices: $(READY) ## measure what the initialisation contributes
	$(BIN)/python -m benchmarks.ablations

anomaly: $(READY) ## measure how well the BCE separates other images (OTHER=fashion-mnist.csv)
	$(BIN)/python -m benchmarks.anomaly $(OTHER)

lock: $(READY) ## compile requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --universal --generate-hashes --all-extras --upgrade --quiet \
		--custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml
