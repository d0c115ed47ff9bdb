# `make demo`, `make test`, and for who cares about speed `make bench`. All make .venv first; nothing else is needed but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test bench clean

demo: .venv/.installed
	$(BIN)/tomopick demo

test: .venv/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 -m "not slow"

bench: .venv/.installed
	$(BIN)/python benchmarks/speed.py --out runs/bench

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "tomopick needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

# torch first and pinned, so that pip does not choose another one on its own
.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(PIP) --editable .
	touch $@

.venv/.tested: .venv/.installed
	$(PIP) --editable ".[test]"
	touch $@

clean:
	rm -rf .venv runs
