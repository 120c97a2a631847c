# Regbench's commands. `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8000
HOST ?= 127.0.0.1
PROCESSES ?= 3
UV := $(BIN)/uv
SYNC = $(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
# The version that requirements.lock keeps, so that a bootstrap today and one next year run the same uv.
UV_VERSION := 0.13.9
export UV_LINK_MODE ?= copy

.PHONY: help setup demo up test test-slow test-clients chaos lint format openapi fuzz bench lock clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: .venv/.ready ## install everything into .venv (also done by the commands below)

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Regbench needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(UV) || $(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	@# Behind a proxy with a certificate of its own, only the system's certificates will do.
	$(SYNC) || $(SYNC) --system-certs
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## train the dropout comparison on the whole stack and print the report
	@$(BIN)/regbench demo

up: setup ## serve the API and train jobs until Ctrl-C (PORT=8000)
	@$(BIN)/regbench up --host $(HOST) --port $(PORT)

test: setup ## run every test but the slow ones, in three processes: make test [PROCESSES=n]
	@# A third of the time is spent waiting, so that two cores can do with three processes; four took longer.
	@# Files in their order: the long ones come first, so that all processes end at about the same time.
	@# Hundreds of short-lived processes import Regbench: its bytecode is kept even where the environment says
	@# otherwise.
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

test-slow: setup ## run the slow tests only: studies, and journeys that train for a minute or more
	$(BIN)/python -m pytest -m slow

test-clients: setup ## generate clients from the OpenAPI document and use them (downloads; node for TypeScript)
	$(BIN)/python -m pytest -m clients tests/clients

chaos: setup ## break things on purpose, at length: make chaos [SEED=n]
	$(BIN)/python -m pytest tests/chaos --chaos=full $(if $(SEED),--chaos-seed=$(SEED)) -s

lint: setup ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

openapi: setup ## write docs/reference/openapi.json and its examples anew
	WRITE_OPENAPI=1 $(BIN)/python -m pytest tests/integration/api/http/test_openapi.py

fuzz: setup ## fuzz the API with 1,000 cases an operation (half an hour): make fuzz [SEED=n]
	$(BIN)/python -m pytest tests/integration/api/test_fuzz.py --fuzz=full $(if $(SEED),--fuzz-seed=$(SEED))

bench: setup ## print the benchmarks as ratios beside their targets
	@missed=0; for each in training techniques worker eta study claims report api datasets endurance pages student; do \
		$(BIN)/python -m bench $$each || missed=1; done; exit $$missed

lock: ## regenerate requirements.lock from pyproject.toml
	$(UV) pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
		--extra all --extra dev --no-header --no-annotate pyproject.toml --output-file requirements.lock

clean: ## remove what was built; .regbench with its jobs stays
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache
