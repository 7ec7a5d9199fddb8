# Marline: `make demo` shows it, `make test` proves it. Needs Python 3.11+ and make; nothing else.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORKERS ?= auto

.PHONY: help install dev demo smoke test lint format golden docs bench soak fuzz conformance clean

help:            ## List what can be made
	@grep -hE '^[a-z]+: .*##|^[a-z]+: *##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

install: $(VENV)/.installed   ## Make .venv with the `marline` command in it
	@echo "Ready: $(BIN)/marline --help"

dev: $(VENV)/.dev             ## The same, with what tests and checks need

demo: $(VENV)/.installed      ## Run Bookinfo in a mesh on this machine; Ctrl-C ends it
	@exec $(BIN)/marline demo

smoke: $(VENV)/.installed     ## The demo without a terminal: 50 requests, a JSON summary
	@exec $(BIN)/marline demo --smoke

test: $(VENV)/.dev            ## Run the whole test suite
	@made=$$(mktemp -d /tmp/mrl-XXXX) && trap 'rm -rf "$$made"' EXIT && trap 'exit 130' INT TERM && \
	TMPDIR="$$made" $(BIN)/python -m pytest --basetemp="$$made/t" -n $(WORKERS) --dist loadscope

lint: $(VENV)/.dev            ## Lint, check formatting, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev          ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

golden: $(VENV)/.dev          ## Write the golden files anew; review them as code
	MARLINE_GOLDEN=write $(BIN)/python -m pytest -q tests/golden

docs: $(VENV)/.dev            ## Write docs/reference anew
	$(BIN)/python tests/field_proofs.py docs/reference

bench: $(VENV)/.dev           ## Run the benchmarks; each prints a table
	$(BIN)/python benchmarks/compile.py
	$(BIN)/python benchmarks/control_plane.py
	$(BIN)/python benchmarks/data_path.py

soak: $(VENV)/.dev            ## Replace certificates every ten seconds under load, for five minutes
	MARLINE_RENEWAL_SECONDS=300 $(BIN)/python -m pytest -q -s tests/e2e/test_ca_mesh.py -k ten_seconds

fuzz: $(VENV)/.dev            ## Search for bytes that a parser does not end well with; a minute for each
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python tests/fuzz/run.py

conformance: $(VENV)/.installed  ## Run the Gateway API's conformance suite; needs root and Go
	conformance/run

clean:           ## Remove the environment and caches
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Marline needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
