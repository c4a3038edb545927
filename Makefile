# Two commands on a bare machine with Python >= 3.11:
#   make quickstart   set up, run the main job on the embedded shop, print where the report is
#   make test         set up, lint, type-check, run all tests
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -qq -c constraints.txt
RUN := out/quickstart

.PHONY: quickstart test check clean
quickstart: .venv/.ready-train .venv/.weights
	$(BIN)/qr online --config runs/recipes/quickstart.yaml $$( [ -f $(RUN)/config.json ] && echo --resume )

test: .venv/.ready-test .venv/.weights check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/.ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv

# torch first and by itself: its pin keeps pip from taking a newer build of several GB for another package's sake.
.venv/.ready-train: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing into .venv (a few minutes the first time) …"
	$(PIP) torch
	$(PIP) -e '.[train,dense]'
	@touch $@

.venv/.ready-test: .venv/.ready-train
	$(PIP) -e '.[train,dense,wandb,test]'
	@touch $@

.venv/.weights: .venv/.ready-train
	$(BIN)/qr models fetch minilm-l6 smollm2-135m
	@touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
