# `make` lists the targets. Needed beforehand: Python 3.11 with pip and venv, a C++ compiler.

PYTHON ?= python3.11
VENV ?= .venv
# Index of the CPU build of torch, where pip is not already told of one. For most users:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

# cpu or gpu: which lock is installed. For GPUs: make test STACK=gpu
STACK ?= cpu

BIN := $(VENV)/bin
LOCK := deploy/locks/$(STACK).txt
READY := $(VENV)/.ready-$(STACK)
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
# DeepSpeed compiles what it needs when it needs it, not on installation.
INSTALL := DS_BUILD_OPS=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--no-deps --no-build-isolation $(INDEX)
# Without this, torch does not find the ninja of a set-up that is not activated.
export PATH := $(abspath $(BIN)):$(PATH)
SOURCES := contracts recycler learner actors services tests deploy

.DEFAULT_GOAL := help
.PHONY: help setup demo study-smoke test unit e2e slow results lint types arrows format lock lock-cpu lock-gpu clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Install everything into .venv; nothing is done twice

# The stamp carries nothing; it is newer than what it was made from.
$(READY): $(LOCK) pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) is not there; name yours: make $(MAKECMDGOALS) PYTHON=..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); this takes a few minutes, once."
	@# First what builds the others (DeepSpeed is published as source only), and torch, to
	@# find out soon if pip took its CUDA build: that one needs libraries not in this lock.
	@$(INSTALL) $$(grep -E '^(setuptools|wheel|numpy|torch|typing-extensions)==' $(LOCK))
	@case $(STACK)$$($(BIN)/python -c 'import importlib.metadata as m; print(m.version("torch"))') \
		in gpu* | cpu*+cpu) ;; *) echo "pip found no CPU build of torch. Say where there is one:" \
		"make $(MAKECMDGOALS) TORCH_INDEX=https://download.pytorch.org/whl/cpu" >&2; exit 2;; esac
	@$(INSTALL) -r $(LOCK)
	@$(INSTALL) -e .
	@touch $@

demo: setup ## Set up, then train the tiny model on this machine's CPU
	@$(BIN)/coevolve demo

study-smoke: setup ## Run a study of eight short runs; started again it goes on where it stopped
	@$(BIN)/coevolve study run smoke

test: setup ## Set up, then run all tests but the slow ones
	@$(BIN)/python -m pytest -m "not slow"

slow: setup ## Run the slow tests: faults, resumed runs, several nodes, benchmarks
	@$(BIN)/python -m pytest -m "slow and not results"

results: setup ## Run every command of docs/results in a short form: a quarter of an hour
	@$(BIN)/python -m pytest -m results

unit: setup ## Run the quick tests only
	@$(BIN)/python -m pytest -m "not e2e and not gpu"

e2e: setup ## Run the tests that start the real engine, learner and Ray
	@$(BIN)/python -m pytest -m "e2e and not slow"

lint: setup ## Check style and formatting
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

types: setup ## Check types
	@$(BIN)/mypy

arrows: setup ## Check that the rooms import each other one way only
	@$(BIN)/lint-imports

format: setup ## Format the sources
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

lock: lock-cpu lock-gpu ## Write both lock files anew; UPGRADE=--upgrade takes newer versions

lock-cpu: setup
	@$(if $(TORCH_INDEX),PIP_EXTRA_INDEX_URL=$(TORCH_INDEX)) \
		$(BIN)/python deploy/locks/lock.py cpu $(UPGRADE)

lock-gpu: setup
	@$(BIN)/python deploy/locks/lock.py gpu $(UPGRADE)

clean: ## Remove the set-up and all caches; run folders stay
	rm -rf $(VENV) build dist *.egg-info .cache .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
