# Two commands matter: `make demo` and `make test`. Everything else serves them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test contract check format bench storm soak simulate fuzz interop sabotage sbom licences audit clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: .venv/.installed  ## make .venv with everything in it

.venv/.installed: pyproject.toml
	@echo "Setting up .venv (about a minute, once) ..." >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pageline needs Python 3.11 or newer; run: make install PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev >&2
	@touch $@

demo: install  ## call the line and hear it answer; ARGS="--once --json" for one call and a report
	@$(BIN)/pageline demo $(ARGS)

test: install  ## run the tests, in two processes
	@$(BIN)/pytest --numprocesses 2 --dist loadgroup $(ARGS)

contract: install  ## what must pass before aiortc, aioice, PyAV or pylibsrtp is bumped
	@$(BIN)/pytest tests/contract/test_aiortc.py tests/contract/test_opus.py tests/integration/test_leg.py $(ARGS)

check: install  ## lint, types, import rules, tidiness
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/tidy.py

format: install  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install  ## print the figures of docs/performance.md, baselines beside; ARGS="pickup --report report.html"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench >&2
	@$(BIN)/pageline bench $(ARGS)

storm: install  ## 10,000 calls' webhooks while workers are killed; ARGS="--json"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench >&2
	@$(BIN)/pageline bench storm $(ARGS)

soak: install  ## an hour of short calls: does anything grow? ARGS="--minutes 10" for less
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench >&2
	@$(BIN)/pageline bench soak $(ARGS)

simulate: install  ## live through thousands of simulated crashes; SEED=123 replays one
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: install  ## odd webhooks, descriptions and Graph replies, new ones in every run; TIMES=6 is some minutes
	@PAGELINE_FUZZ_TIMES=$(or $(TIMES),6) $(BIN)/pytest tests/fuzz --timeout=0 $(ARGS)

interop: install  ## call Chromium, GStreamer, pion and werift, and voice bots; installs and builds those that this machine allows
	@tests/interop/install.sh
	@$(BIN)/pytest tests/interop -m "" -rs $(ARGS)

sabotage: install  ## take each promise's mechanism out and see its test go red; ARGS="--only 4"
	@$(BIN)/python -m tests.sabotage $(ARGS)

sbom:  ## write what pageline is made of, as CycloneDX, to .supply/
	@deploy/supply.sh sbom

licences:  ## write the list in docs/licences.md anew
	@deploy/supply.sh licences

audit:  ## ask for known vulnerabilities of what pageline is made of; needs the internet
	@deploy/supply.sh audit

clean:  ## remove what make made
	rm -rf .venv .pageline .mypy_cache .ruff_cache .pytest_cache tests/interop/.cache .supply
