# On a fresh machine with Python >= 3.11, make, git and a C compiler, run `make demo` or `make test`.
# They install everything else into .venv.

PYTHON ?= $(shell .ci/find-python)
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help test test-fast soak demo docs lint install system-packages wheel clean
.DEFAULT_GOAL := help

help:           ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

install: $(STAMP)   ## create the environment .venv with ellc (editable) and the packages that tests need

$(STAMP): pyproject.toml
	@.ci/make-venv "$(PYTHON)" "$(VENV)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

system-packages:    ## install Debian packages for tests (emulators, cross libraries), or say which are missing
	@.ci/system-packages

test: $(STAMP) system-packages  ## run all tests: unit, end to end, emulated, lint, types
	$(BIN)/python -m pytest -n 2 --durations=10 $(PYTEST_ARGS)

test-fast: $(STAMP) ## run the tests that take less than half a second each, and the replay of kernels
	$(BIN)/python -m pytest -n 2 -m "not slow and not emulated" $(PYTEST_ARGS)

lint: $(STAMP)      ## run ruff and mypy
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

soak: $(STAMP)      ## test mutated files and random inputs for ten minutes; SOAK_ARGS="--seconds 36000 --seed 7"
	$(BIN)/python tests/soak/run.py $(SOAK_ARGS)

demo: $(STAMP)      ## compile a trained network for this machine and the Raspberry Pi 3, run both
	@PATH="$(abspath $(BIN)):$$PATH" sh examples/demo/run.sh

docs: $(STAMP)      ## build the documentation site in site/; a broken link is an error
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

wheel: $(STAMP)     ## build dist/ellc_compiler-*.whl
	$(BIN)/python -m build --wheel --outdir dist .

clean:          ## delete all build products, but not .venv
	rm -rf build dist out site examples/demo/out *.egg-info .mypy_cache .pytest_cache .ruff_cache
