# The tasks of the project. `make help` lists them.
PYTHON ?= python3
LISTEN ?= 127.0.0.1:50051
DATA ?= data
RUNS ?= 100000
VENV := .venv
BIN := $(VENV)/bin
README_OF_PYTHON := 'tests/e2e/test_client_readmes.py::test_a_stranger_gets_what_the_readme_shows[python]'
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --retries 5 --timeout 60

.DEFAULT_GOAL := help
.PHONY: help install run test test-clients proto format lint check bench bench-clients bench-cluster bench-pressure bench-compare bench-access fuzz audit sbom tour demo clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.server: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[server]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.server

install: $(VENV)/.dev  ## Install a development environment into .venv

run: $(VENV)/.server  ## Start the server (LISTEN=HOST:PORT, DATA=DIR)
	@exec $(BIN)/engagement serve --listen $(LISTEN) --data $(DATA)

# Tests start hundreds of processes, each of which would compile all sources anew.
test test-clients: export PYTHONDONTWRITEBYTECODE :=

test: $(VENV)/.dev  ## Test the server and the Python client
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

test-clients: $(VENV)/.dev  ## Build, check and test the clients in other languages (LANGUAGES="go rust")
	$(BIN)/python -m clients.run check $(LANGUAGES)
	$(if $(LANGUAGES),,$(BIN)/python -m pytest -m toolchain -rs tests/contract $(README_OF_PYTHON))

proto: $(VENV)/.dev  ## Generate the code of all languages and the shared cases from the contract
	$(BIN)/python protos/contract.py generate
	$(BIN)/python -m clients.vectors.make
	$(BIN)/python -m clients.run generate $(or $(LANGUAGES),go rust typescript)

lint: $(VENV)/.dev  ## Check style, types and imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## Format the Python code and apply the linter's fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

check: lint test  ## Lint and test

bench: $(VENV)/.dev  ## Measure throughput, latency and memory
	$(BIN)/python -m benchmarks

bench-clients: $(VENV)/.dev  ## Compare the clients of all languages in one run
	$(BIN)/python -m benchmarks.clients

bench-cluster: $(VENV)/.dev  ## Measure servers over a replicated log on this machine
	$(BIN)/python -m benchmarks.cluster

bench-pressure: $(VENV)/.dev  ## Measure a well-behaved caller beside rude neighbours
	$(BIN)/python -m benchmarks.pressure

bench-compare: $(VENV)/.dev  ## Compare what the server takes with what it took at another commit: BASE=<commit>
	$(BIN)/python -m benchmarks.compare $(BASE)

# Not among the dependencies of the project: it has wheels for Linux and a few versions of Python only.
bench-access: $(VENV)/.dev  ## Measure what TLS, grants and quotas cost
	$(BIN)/python -m benchmarks.access

fuzz: $(VENV)/.dev  ## Fuzz everything that reads bytes of strangers (RUNS=100000 of each)
	$(PIP) --editable '.[fuzz]'
	@for target in $$($(BIN)/python -m tests.fuzz.targets); do \
	  $(BIN)/python -m tests.fuzz $$target -runs=$(RUNS) || exit 1; \
	done

$(VENV)/audit/.done: | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip --disable-pip-version-check install --quiet 'cyclonedx-bom>=7' 'pip-audit>=2.9'
	@touch $@

audit: $(VENV)/.dev $(VENV)/audit/.done  ## Ask whether weaknesses of the Python dependencies are known
	$(VENV)/audit/bin/pip-audit --skip-editable --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

sbom: $(VENV)/.server $(VENV)/audit/.done  ## Write the installed Python packages to sbom.cdx.json (CycloneDX)
	$(VENV)/audit/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file sbom.cdx.json $(BIN)/python

tour: $(VENV)/.server  ## Upload the examples to a temporary server and show the results
	@PATH="$(abspath $(BIN)):$$PATH" bash docs/tour.sh

demo: $(VENV)/.dev  ## Run a temporary server with mixed traffic to look at, until Ctrl-C (HTTP=HOST:PORT)
	@exec $(BIN)/python -m benchmarks.demo $(if $(HTTP),--http $(HTTP))

clean:  ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
