# Every target sets up what it needs in .venv, and reuses it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# uv installs in seconds what takes pip minutes. It does not read pip's settings: where a mirror is set for pip alone,
# `make test INSTALL='.venv/bin/python -m pip install --quiet'`.
INSTALL ?= $(BIN)/uv pip install --quiet --python $(BIN)/python
# What is compiled once is not compiled again by each worker, and by each of the programs that the tests start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-again test-loaded test-thorough test-no-threads coverage mutants check format bench bench-audit bench-django load load-async soak field field-libraries peers docs dist clean
help:            ## what there is to make
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 17

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip uv

$(VENV)/.demo: $(BIN)/uv pyproject.toml
	$(INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(INSTALL) --group test --group stress --group tools --group integration --group migration
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	$(INSTALL) --group lint
	@touch $@

$(VENV)/.docs: $(VENV)/.test
	$(INSTALL) --group docs
	@touch $@

demo: $(VENV)/.demo   ## audit the example host application before and after, print the table
	@$(BIN)/python docs/examples/mediahost/demo.py

# Each file of tests on one of the workers, in the order of the folders: the slow ones come first. A worker that dies ends
# the run: xdist would wait for its other tests for ever.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test: $(VENV)/.test   ## every test that this machine can run, side by side
	$(PYTEST)

test-again: $(VENV)/.test ## one after the other, the tests that failed in the last run: those that still fail are broken
	$(BIN)/python -m pytest --last-failed

test-loaded: $(VENV)/.test ## the same while eight busy loops run beside them
	$(PYTEST) --busy-loops 8

test-thorough: $(VENV)/.test ## the same with all points of injection, and ten times as many examples, signals and forks
	$(PYTEST) --thorough

test-no-threads: $(VENV)/.test ## the same while lazyguard gets no thread for two seconds in the middle
	$(PYTEST) --no-threads-for 2

# Before 3.14 nothing but a trace function counts branches, and the one of coverage stops for ever where a signal handler
# interrupts it, as some of these tests see to.
COVERED ?= python3.15
coverage:        ## the branches of the core that no test takes: none; COVERED= names a Python, 3.14 or later
	@$(COVERED) -c 'import sys; sys.exit("make coverage needs Python 3.14 or later: COVERED=python3.14" if sys.version_info < (3, 14) else 0)'
	$(COVERED) -m venv $(VENV)-coverage
	$(VENV)-coverage/bin/python -m pip install --quiet --disable-pip-version-check --group coverage --editable .
	rm -rf build/coverage
	$(VENV)-coverage/bin/python -m coverage run -m pytest -q tests/unit tests/properties tests/stress
	$(VENV)-coverage/bin/python -m coverage combine --quiet
	$(VENV)-coverage/bin/python -m coverage report

mutants: $(VENV)/.test ## changes to the core that no test notices, to be judged in docs/explanation/mutants.md
	$(INSTALL) --group mutants
	$(BIN)/python -m tests.mutants $(MODULES)

check: $(VENV)/.lint  ## what CI runs: format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.lint ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.test  ## measure, peers beside us
	$(INSTALL) --group bench
	$(BIN)/python -m tests.benchmarks $(PYTHONS)

bench-audit: $(VENV)/.test  ## audit large packages and the zoo, other tools beside us; what advice saves
	$(BIN)/python -m tests.benchmarks.audit_packages
	$(BIN)/python -m tests.benchmarks.audit_promises
	$(BIN)/python -m tests.benchmarks.audit_peers

docs: $(VENV)/.docs   ## the documentation, without a warning
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs
	@echo build/docs/index.html

bench-django: $(VENV)/.test ## a Django project before and after, with Redis well, refusing and silent
	$(BIN)/python -m tests.benchmarks.django_start

load: $(VENV)/.test   ## the example under load while its Redis fails: a minute of wrk
	$(INSTALL) matplotlib
	$(BIN)/python -m tests.benchmarks.load

field: $(VENV)/.test  ## lazyguard in public programs: before and after, with Redis well, silent and gone; an hour
	$(BIN)/python -m tests.field

field-libraries: $(VENV)/.test ## libraries that re-export lazily: their own tests, with lazyguard in the place of what they use
	$(BIN)/python -m tests.field.libraries

peers: $(VENV)/.test  ## the peers' own tests with lazyguard in their place; five minutes; PEERS= names some
	@$(BIN)/python -m tests.peers $(PEERS)

load-async: $(VENV)/.test ## the FastAPI example under load while its servers fail: a minute of an async client
	$(INSTALL) --group bench
	$(BIN)/python -m tests.benchmarks.load_async

# `make soak SOAK='--minutes 2 --seed 7 flask'` for a short one that writes nothing; SOAK=--help tells the rest.
SOAK ?= --write
soak: $(VENV)/.test   ## the examples under load while their servers fail at random: 21 minutes, all side by side
	$(INSTALL) --group bench
	$(BIN)/python -m tests.benchmarks.soak $(SOAK)

dist: $(VENV)/.test   ## wheel and sdist
	$(INSTALL) build
	$(BIN)/python -m build

clean:           ## all that the targets above made
	rm -rf $(VENV) $(VENV)-coverage build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
