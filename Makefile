# Every target makes what it needs: a virtual environment in .venv, rebuilt when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One process per core. A file's tests stay together, as they share servers; tests/support/schedule.py orders the files.
SIDE_BY_SIDE := --numprocesses=auto --maxprocesses=8 --dist=loadfile --no-loadscope-reorder

# Tests start hundreds of processes; without bytecode each of them would compile every module that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo stack collector dashboards test test-all mutants uwsgi corpus lint format bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	@echo "Preparing $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY) ## a rate-limited API on a real PostgreSQL
	@$(BIN)/otel-ratelimit demo $(ARGS)

stack: $(READY) collector ## the demo with collector, Prometheus and Alertmanager, without Docker
	@$(BIN)/python -m otel_ratelimit.demo.stack $(ARGS)

collector: ## build the OpenTelemetry Collector for the stack, once (needs Go)
	@collector/build.sh

dashboards: $(READY) ## write the JSON of the Grafana dashboards (dashboards/source)
	@$(BIN)/python -m dashboards.source

test: $(READY) ## the tests that need nothing but Python, in parallel (ARGS="-k name" to choose)
	@$(BIN)/python -m pytest --quick $(SIDE_BY_SIDE) $(ARGS)

test-all: $(READY) ## all tests, also those with Debian's programs or the collector and those that take long
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

mutants: $(READY) ## check that every change of an alert rule fails a test (some minutes)
	@$(BIN)/python -m pytest -m mutants tests/acceptance/test_alert_rules_promtool.py $(ARGS)

uwsgi: $(READY) ## uWSGI, built from source for the tests of servers (needs gcc)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev-uwsgi]'

corpus: $(READY) ## SQL that others wrote, for the tests of query templates (Debian)
	@$(BIN)/python tests/corpus/fetch.py

lint: $(READY) ## ruff, mypy --strict and the architecture
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --cache-dir .cache/import-linter

format: $(READY) ## format the code with ruff
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY) ## measure every performance claim, as a ratio
	@$(BIN)/python tests/benchmarks/run_all.py $(ARGS)

clean: ## remove the files that the other targets made
	rm -rf $(VENV) .cache .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
