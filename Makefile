# `make demo` and `make test` are all that is needed on a fresh machine with Python >= 3.11,
# make, git and a C compiler. Everything else lands in .venv.

PYTHON ?= $(shell .ci/find-python)
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help test test-fast soak demo docs lint install system-packages wheel clean
.DEFAULT_GOAL := help

help:           ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

install: $(STAMP)   ## the environment .venv with ellc (editable) and everything the tests need

$(STAMP): pyproject.toml
	@.ci/make-venv "$(PYTHON)" "$(VENV)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

system-packages:    ## Debian packages of the tests (emulators, cross libraries); says so if it may not
	@.ci/system-packages

test: $(STAMP) system-packages  ## everything: unit, end to end, emulated, lint, types
	$(BIN)/python -m pytest -n 2 --durations=10 $(PYTEST_ARGS)

test-fast: $(STAMP) ## the tests that take less than half a second each, and the replay of kernels
	$(BIN)/python -m pytest -n 2 -m "not slow and not emulated" $(PYTEST_ARGS)

lint: $(STAMP)      ## ruff and mypy
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

soak: $(STAMP)      ## mutants of files and random inputs for ten minutes; SOAK_ARGS="--seconds 36000 --seed 7"
	$(BIN)/python tests/soak/run.py $(SOAK_ARGS)

demo: $(STAMP)      ## compile a trained network for this machine and the Raspberry Pi 3, run both
	@PATH="$(abspath $(BIN)):$$PATH" sh examples/demo/run.sh

docs: $(STAMP)      ## the documentation as a site in site/; strict: a broken link is an error
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

wheel: $(STAMP)     ## dist/ellc-*.whl
	$(BIN)/python -m build --wheel --outdir dist .

clean:          ## everything made, but not .venv
	rm -rf build dist out site examples/demo/out *.egg-info .mypy_cache .pytest_cache .ruff_cache
