# Two commands for a newcomer: `make demo` and `make test`. Both set up what they need, from Python 3.11 alone.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test chaos lint format bench docs lock clean help

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## route a real day of flights through an embedded router and print the report
	$(BIN)/python -m examples.flights.demo

test: $(READY) ## the suite without the long fault-injection runs, against servers it starts itself
	$(BIN)/python -m pytest -m "not slow"

chaos: $(READY) ## every fault-injection run; prints the seed, ER_TEST_SEED repeats one
	$(BIN)/python -m pytest tests/chaos -m "slow or not slow"

lint: $(READY) ## ruff, mypy --strict and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## end to end against hand-written loops and peers, side by side
	$(BIN)/python -m benchmarks.end_to_end

docs: $(READY) ## build the documentation site into site/
	$(BIN)/mkdocs build --strict

lock: ## renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --all-extras --no-annotate \
	  --no-header --no-emit-index-url --no-emit-find-links --output-file requirements.lock pyproject.toml build-requirements.in

clean: ## remove the virtual environment and build products
	rm -rf $(VENV) site dist build .mypy_cache .ruff_cache .pytest_cache
