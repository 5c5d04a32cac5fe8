# Everything sets itself up: `make demo` needs nothing but Python 3.11 or newer with its venv module.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEED ?= 20261121
MLFLOW ?= 3.17.2
DIST ?= dist
# two processes for servers of this machine, one for each cluster (tests/support/scheduling.py); most tests wait for
# servers, so two processors suffice
SIDE_BY_SIDE := --numprocesses 4
# hypothesis tries five times as many examples as by default (tests/support/hypothesis_profiles.py)
THOROUGH := --hypothesis-profile thorough
PYTEST = $(BIN)/python -m pytest --seed $(SEED) --slowest 25
.DEFAULT_GOAL := help

.PHONY: help demo demo-down check test test-unit test-local test-cluster soak mutations lint lint-format lint-ruff lint-types lint-imports lint-workflows bench bench-cluster bench-server bench-logins constraints dist reference clean cluster-up cluster-down cluster-images

help:  ## show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/'

demo: $(VENV)/.demo  ## a real, authenticated, verified MLflow server on this machine
	@echo "Creating the server mlflow. Its own environment (MLflow, about 90 packages, 1 GB) is installed the first time."
	@$(BIN)/deployer create mlflow --target local
	@echo
	@echo "It keeps running. See it with '$(BIN)/deployer status', end it with 'make demo-down'."

demo-down: $(VENV)/.demo  ## end the demo server and remove its data
	@$(BIN)/deployer delete mlflow --target local --delete-data --yes

check: $(VENV)/.test  ## lint and test-unit side by side, in less than 90 seconds on two cores
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target lint test-unit

test: $(VENV)/.test lint  ## lint and all tests at a small scale (root; Debian; Go)
	$(PYTEST) $(THOROUGH) $(SIDE_BY_SIDE) --cov --cov-report=term:skip-covered

test-unit: $(VENV)/.test  ## unit and golden tests, with few random examples
	$(PYTEST) --numprocesses 2 --quiet tests/unit tests/golden

test-local: $(VENV)/.test lint  ## lint and the tests that need no cluster, on any Linux
	$(PYTEST) $(THOROUGH) tests/unit tests/golden tests/local

test-cluster: $(VENV)/.test  ## the tests that need a cluster, on a real one built here
	$(PYTEST) tests/cluster

soak: $(VENV)/.test  ## tests of servers at full scale, and those marked full_scale
	$(PYTEST) $(SIDE_BY_SIDE) --soak tests/local tests/soak tests/cluster

mutations: $(VENV)/.test  ## break a copy of the product on purpose, see that the right tests fail; MUTATE='--list' and others
	$(BIN)/python -m tests.mutations $(MUTATE)

lint: lint-format lint-ruff lint-types lint-imports  ## ruff, mypy --strict, import-linter

lint-format: $(VENV)/.test
	$(BIN)/ruff format --check .

lint-ruff: $(VENV)/.test
	$(BIN)/ruff check --no-cache .

lint-types: $(VENV)/.test
	$(BIN)/mypy

lint-imports: $(VENV)/.test
	$(BIN)/lint-imports --no-cache

lint-workflows:  ## actionlint on .github/workflows/ (Go)
	go -C tests/workflows tool actionlint $(abspath $(wildcard .github/workflows/*.yaml))

bench: $(VENV)/.test  ## ratios against what users have today
	$(BIN)/python -m bench

bench-cluster: $(VENV)/.test  ## ratios against manifests of the usual shape, on that cluster
	$(BIN)/python -m bench.cluster

bench-logins: $(VENV)/.test  ## many logins at once: memory, and the time of those who are logged in (root; Debian)
	$(BIN)/python -m bench.logins

bench-server: $(VENV)/.test  ## requests a second with and without logins, by 1 to 64 clients (root; Debian)
	$(BIN)/python -m bench.server

cluster-up: $(VENV)/.test  ## a real Kubernetes on this machine, for tests (root; Debian; Go; the first time 10 minutes)
	$(BIN)/python -m tests.testbed up

cluster-down: $(VENV)/.test  ## end that Kubernetes and remove all of it
	$(BIN)/python -m tests.testbed down

cluster-images: $(VENV)/.test  ## build its programs and images, start nothing
	$(BIN)/python -m tests.testbed images

constraints: $(VENV)/.test  ## resolve a server's packages anew, for MLFLOW=MAJOR.MINOR.PATCH; run the tests afterwards
	printf '%s\n' 'mlflow[auth]==$(MLFLOW)' 'boto3>=1.36,<2' 'psycopg2-binary>=2.9,<3' \
	| $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header - \
	| grep -v '^mlflow' > deployer/constraints/unfinished || { rm -f deployer/constraints/unfinished; exit 1; }
	mv deployer/constraints/unfinished deployer/constraints/mlflow-$(basename $(MLFLOW)).txt

reference: $(VENV)/.test  ## generate docs/reference/ from the command line and the spec
	$(BIN)/python -m tools.reference

dist: $(VENV)/.test  ## build the source distribution, and from that the wheel, in DIST=dist
	$(BIN)/uv build --quiet --out-dir $(DIST)

clean:  ## remove what make has built
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the command deployer into $(VENV)/, from about 40 packages; pip says which."
	$(BIN)/python -m pip install --progress-bar off --disable-pip-version-check --constraint constraints.txt --editable '.[uv]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[uv,test]'
	@touch $@ $(VENV)/.demo
