# Each target makes what it needs, in any order, and does nothing twice: `make demo` is all that a
# bare machine needs. The plain commands behind these targets are in README.md.
#
#   PYTHON=python3.12 make demo          another Python
#   PYTEST_ARGS="-k merge -x" make test  some of the tests

PYTHON      ?= python3
PYTEST_ARGS ?=

# Relative, so that a checkout whose own path holds spaces works.
VENV := .venv
BIN  := $(VENV)/bin
UV   := $(shell command -v uv 2>/dev/null)

# A stamp is written last, so an interrupted step is done again. Stamps are only as good as the
# environment they lie in: one that was moved, or that lost its Python, is made anew.
MADE := $(VENV)/.made
SOUND := $(shell [ "$$(cat $(MADE) 2>/dev/null)" = "$$PWD" ] && $(BIN)/python -c '' 2>/dev/null && echo yes)

ifdef UV
INSTALL := uv pip install --python $(BIN)/python
else
INSTALL := $(BIN)/python -m pip install
endif

.PHONY: help demo test lint clean FORCE
.DEFAULT_GOAL := help

help:  ## say what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: $(VENV)/.installed  ## install, then make dense and accelerated pictures: runs/quickstart/
	$(BIN)/dit-accel generate configs/quickstart.yaml

test: $(VENV)/.installed-test  ## install with the test extra, then run the tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed-lint  ## install with the lint extra, then ruff and mypy
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

clean:  ## remove the environment and everything that was built (runs/ stays)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: $(MADE) pyproject.toml setup.py
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(INSTALL) -e '.[test]'
	@touch $@

# The checkers see the code that the tests import, hence on top of the test extra.
$(VENV)/.installed-lint: $(VENV)/.installed-test
	$(INSTALL) -e '.[lint]'
	@touch $@

ifneq ($(SOUND),yes)
$(MADE): FORCE
endif
$(MADE):
	@rm -rf $(VENV)
ifdef UV
	uv venv --seed --python $(if $(filter file,$(origin PYTHON)),'>=3.10','$(PYTHON)') $(VENV)
else
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "There is no '$(PYTHON)' on the PATH, and no uv."; \
	  echo "Remedy: apt install python3 python3-venv, or install uv."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "$(PYTHON) is $$("$(PYTHON)" --version 2>&1), and 3.10 or newer is needed."; \
	  echo "Remedy: PYTHON=python3.12 make ..., with a newer one, or install uv."; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: ensurepip is missing, and so is uv."; \
	  echo "Remedy: apt install python3-venv, or install uv."; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
endif
	@printf '%s' "$$PWD" > $@
