# Works from a fresh clone: each target first installs what it needs into $(VENV), once.
VENV ?= .venv
PYTHON ?= python3
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
# The commands in dvc.yaml find the environment's python as they do when it is activated.
export PATH := $(BIN):$(PATH)

# What `make sweep` varies.
PARAM ?= z_size
VALUES ?= 8,16,32,64
# What `make review` compares the workspace with.
BASE ?= main
# What `make anomaly` scores beside the test table.
OTHER ?= fashion-mnist.csv
# A process for each core; the tests of a file share what it sets up.
SIDE_BY_SIDE := --numprocesses auto --dist loadfile

.PHONY: help setup repro sweep review explore verify test test-all soak lint bench bench-scale bench-processes
.PHONY: choices anomaly lock

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 17

setup: $(READY) ## install the locked packages into $(VENV)

$(READY): requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

repro: $(READY) ## run the stages that are not up to date
	$(BIN)/dvc repro

sweep: $(READY) ## run several values of a parameter (PARAM=z_size VALUES=8,16,32,64), draw the scores
	$(BIN)/python -m tools.sweep $(PARAM) $(VALUES)

review: $(READY) ## compare the workspace with a revision or experiment (BASE=main), and judge
	$(BIN)/python -m tools.review $(BASE) $(addprefix --tolerance ,$(TOLERANCE))

explore: $(READY) ## write an interactive page of the trained network (OUT=explore/index.html)
	$(BIN)/python -m tools.explore $(addprefix --out ,$(OUT))

verify: $(READY) ## run everything from nothing in a clone; is it what was recorded?
	$(BIN)/python -m tools.verify

test: $(READY) ## run the tests that need neither the network nor many processes
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-all: $(READY) ## run all tests, the long ones and those on real MNIST too
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'not soak'

soak: $(READY) ## kill runs at a hundred random moments, drawn anew or from SEED=... (15 minutes)
	SEED=$(SEED) $(BIN)/python -m pytest -m soak --capture=no

lint: $(READY) ## check format, style and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

bench: $(READY) ## time training, beside plain PyTorch and the limit of the machine
	$(BIN)/python -m benchmarks.training

bench-scale: $(READY) ## how time and memory grow up to EMNIST's 814,255 images
	$(BIN)/python -m benchmarks.scale

bench-processes: $(READY) ## time an epoch with one, two and three processes
	$(BIN)/python -m benchmarks.processes

choices: $(READY) ## measure what the initialisation is worth
	$(BIN)/python -m benchmarks.choices

anomaly: $(READY) ## measure how well the BCE tells other images (OTHER=fashion-mnist.csv) apart
	$(BIN)/python -m benchmarks.anomaly $(OTHER)

lock: $(READY) ## make requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --universal --generate-hashes --all-extras --upgrade --quiet \
		--custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml
