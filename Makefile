# Everything sets itself up: `make demo` needs nothing but Python 3.11 or newer with its venv module.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEED ?= 20261121
MLFLOW ?= 3.17.2
# the servers of this machine in one process, the cluster in another (tests/conftest.py)
SIDE_BY_SIDE := --numprocesses 2
.DEFAULT_GOAL := help

.PHONY: help demo demo-down test test-local test-cluster soak mutations lint bench bench-cluster bench-server bench-logins constraints clean cluster-up cluster-down cluster-images

help:  ## show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/'

demo: $(VENV)/.demo  ## a real, authenticated, verified MLflow server on this machine
	@echo "Creating the server mlflow. Its own environment (MLflow, about 90 packages, 1 GB) is installed the first time."
	@$(BIN)/deployer create mlflow --target local
	@echo
	@echo "It keeps running. See it with '$(BIN)/deployer status', end it with 'make demo-down'."

demo-down: $(VENV)/.demo  ## end the demo server and remove its data
	@$(BIN)/deployer delete mlflow --target local --delete-data --yes

test: $(VENV)/.test lint  ## at a small scale (root; Debian; Go)
	$(BIN)/python -m pytest --seed $(SEED) $(SIDE_BY_SIDE) --cov --cov-report=term:skip-covered

test-local: $(VENV)/.test lint  ## those that need no cluster, on any Linux
	$(BIN)/python -m pytest --seed $(SEED) tests/unit tests/golden tests/local

test-cluster: $(VENV)/.test  ## those that need one, on a real one built here
	$(BIN)/python -m pytest --seed $(SEED) tests/cluster

soak: $(VENV)/.test  ## the same at full scale, and what is marked full_scale
	$(BIN)/python -m pytest --seed $(SEED) $(SIDE_BY_SIDE) --soak tests/local tests/soak tests/cluster

mutations: $(VENV)/.test  ## break a copy of the product on purpose, see that the right tests fail; MUTATE='--list' and others
	$(BIN)/python -m tests.mutations $(MUTATE)

lint: $(VENV)/.test  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --no-cache .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.test  ## ratios against what users have today
	$(BIN)/python -m bench

bench-cluster: $(VENV)/.test  ## ratios against manifests of the usual shape, on that cluster
	$(BIN)/python -m bench.cluster

bench-logins: $(VENV)/.test  ## many logins at once: memory, and the time of those who are logged in (root; Debian)
	$(BIN)/python -m bench.logins

bench-server: $(VENV)/.test  ## requests a second with and without logins, by 1 to 64 clients (root; Debian)
	$(BIN)/python -m bench.server

cluster-up: $(VENV)/.test  ## a real Kubernetes on this machine, for tests (root; Debian; Go; the first time 15 minutes)
	$(BIN)/python -m tests.cluster.testbed up

cluster-down: $(VENV)/.test  ## end that Kubernetes and remove all of it
	$(BIN)/python -m tests.cluster.testbed down

cluster-images: $(VENV)/.test  ## build its programs and images, start nothing
	$(BIN)/python -m tests.cluster.testbed images

constraints: $(VENV)/.test  ## resolve a server's packages anew, for MLFLOW=MAJOR.MINOR.PATCH; run the tests afterwards
	printf '%s\n' 'mlflow[auth]==$(MLFLOW)' 'boto3>=1.36,<2' 'psycopg2-binary>=2.9,<3' \
	| $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header - \
	| grep -v '^mlflow' > deployer/constraints/mlflow-$(basename $(MLFLOW)).txt

clean:  ## remove what make has built
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage

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
