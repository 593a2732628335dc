# Works in a fresh clone: each target first installs the packages into $(VENV), once.
VENV ?= .venv
# Run only to set the environment up; by default, an environment keeps its Python.
PYTHON ?= python3
THIS_PYTHON := $(if $(filter file,$(origin PYTHON)),,--this-python)
# What `make sweep` varies.
PARAM ?= z_size
VALUES ?= 8,16,32,64
# What `make preview` reads.
DATA ?= data/incoming
# What `make review` compares the workspace with.
BASE ?= main
# The benchmark that `make bench` runs instead of all. Set, because some systems export a NAME.
NAME :=
# What the benchmark anomaly compares with the test table.
OTHER ?= fashion-mnist.csv

# No value is code: make does not expand a $ in it, and recipes take it from the environment, quoted.
VALUED := PARAM VALUES DATA BASE TOLERANCE OUT SEED NAME OTHER
$(foreach name,VENV PYTHON $(VALUED),$(eval override $(name) := $$(value $(name))))
export $(VALUED)
export SETUP_PYTHON := $(value PYTHON)

# As if the environment were activated: the commands in dvc.yaml find its python. `value`, because a
# path may contain a $; quoted in the recipes, because it may contain spaces.
export VIRTUAL_ENV := $(if $(filter /%,$(value VENV)),,$(CURDIR)/)$(value VENV)
BIN := "$$VIRTUAL_ENV"/bin
# Without the environment's own interpreter, which may be the broken one.
export OUTSIDE := $(subst :$(VIRTUAL_ENV)/bin:,:,:$(value PATH):)
export PATH := $(VIRTUAL_ENV)/bin:$(value PATH)
unexport PYTHONHOME PYTHONPATH
# uv does not compile what it installs, so Python keeps what it compiles for the first import.
unexport PYTHONDONTWRITEBYTECODE
LOCK = $(BIN)/uv pip compile --universal --generate-hashes --quiet \
	--all-extras --group tables --group training --group pictures \
	--custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml
# One process per core; the tests of a file run in one of them.
PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: help setup repository preview repro sweep review explore screenshots verify test-unit test
.PHONY: test-all soak lint bench lock upgrade

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-17s%s\n", $$1, $$2 }' Makefile

setup: ## install the locked packages into $(VENV)
	@PATH="$$OUTSIDE" "$$SETUP_PYTHON" -I tools/setup.py "$$VIRTUAL_ENV" $(THIS_PYTHON)

# DVC and the tests need git. A ZIP file has no .git; a checkout can belong to another user.
repository:
	@reason=$$(git rev-parse --git-dir 2>&1 >/dev/null | sed 1q); case "$$reason" in \
		'') exit 0 ;; \
		*'not a git repository'*) hint='git init && git add . && git commit -m start' ;; \
		*ownership*) hint="git config --global --add safe.directory '$$PWD'" ;; \
		*) hint='install or repair git' ;; \
	esac; echo "$$reason: $$hint" >&2; exit 1

preview: setup ## show how your own data would be read (DATA=data/incoming/x)
	$(BIN)/python -m tools.preview -- "$$DATA"

repro: repository setup ## run the stages that are out of date
	$(BIN)/python -m dvc repro

sweep: repository setup ## run several values of a parameter (PARAM=z_size VALUES=8,16,32,64), plot the scores
	$(BIN)/python -m tools.sweep -- "$$PARAM" "$$VALUES"

review: repository setup ## compare the workspace with a revision or experiment (BASE=main)
	$(BIN)/python -m tools.review $${TOLERANCE:+--tolerance="$$TOLERANCE"} -- "$$BASE"

explore: repository setup ## write an interactive page of the trained network (OUT=explore/index.html)
	$(BIN)/python -m tools.explore $${OUT:+--out="$$OUT"}

screenshots: repository setup ## take the pictures of docs/explore.md again, and README's of the last review
	$(BIN)/python -m tools.screenshots

verify: repository setup ## reproduce the run from scratch in a clone, compare it with dvc.lock
	$(BIN)/python -m tools.verify

test-unit: repository setup ## run the tests that start no other process
	$(BIN)/python -m pytest $(PARALLEL) -m 'not process and not slow and not soak'

test: repository setup ## run all tests but the slow ones
	$(BIN)/python -m pytest $(PARALLEL)

test-all: repository setup ## run the slow tests too, on real MNIST (all but soak)
	$(BIN)/python -m pytest $(PARALLEL) -m 'not soak'

soak: repository setup ## kill runs, experiments, tools and sweeps at random moments (30 minutes; SEED= repeats one)
	$(BIN)/python -m pytest -m soak --capture=no

lint: setup ## check format, style and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

bench: setup ## measure speed, scaling and ablations, or one benchmark (NAME=gpu); NAME=--help lists them
	$(BIN)/python -m benchmarks --other="$$OTHER" $${NAME:+"$$NAME"}

lock: setup ## add what pyproject.toml lists to requirements.lock, without upgrading
	$(LOCK)

upgrade: setup ## upgrade requirements.lock; versions that shape results are pinned in pyproject.toml
	$(LOCK) --upgrade
