# make demo | test | test-all | lint | bench | clean
#
# Everything runs in .venv, which is built from PyPI on first use, and again whenever
# pyproject.toml has changed or .venv is not whole. PYTHON=... names the Python to build it with.

PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

# A .venv that was cut short, moved here with its folder, or made by another Python than the one
# asked for is built again: what it imports as vtakit must be this checkout.
ASKED := $(if $(filter file,$(origin PYTHON)),,$(PYTHON))
WHOLE := $(shell $(BIN)/python -c 'import sys, vtakit.isa.config as c; \
	print(c.__file__ if sys.argv[1:] in ([], [sys.version]) else "")' \
	$(if $(ASKED),"$$($(ASKED) -c 'import sys; print(sys.version)')") 2>/dev/null)
ifneq ($(WHOLE),$(CURDIR)/isa/config.py)
$(shell rm -f $(READY))
endif

.PHONY: demo test test-all lint bench clean

demo: $(READY)
	$(BIN)/python examples/demo.py

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

test-all: lint
	$(BIN)/python -m pytest -n $(WORKERS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --warnings --pythonpath $(BIN)/python

bench: $(READY)
	@set -e; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file; done

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "vtakit needs Python 3.11 or newer, and '$(PYTHON)' is" \
			"$$($(PYTHON) --version 2>&1 || true); name another: make PYTHON=python3.12" >&2; \
		exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --retries 10 --editable '.[dev]'
	touch $(READY)
