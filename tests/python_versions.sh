#!/usr/bin/env bash
# Run the tests, but for the live ones, on other Python versions, each in an environment of its own, and record when they
# passed in runs/results/python.md.   Usage: make test-python [PYTHONS="python3.12 python3.13"]
set -euo pipefail
cd "$(dirname "$0")/.."
page=runs/results/python.md
for python in "$@"; do
  command -v "$python" >/dev/null || { echo "$python is not installed: name another in PYTHONS" >&2; exit 1; }
  version=$("$python" -c 'import platform; print(platform.python_version())')
  venv=.venv-py$version
  if [ ! -f "$venv/.ready" ]; then
    echo "installing into $venv (a few minutes the first time) …"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --disable-pip-version-check -qq -c constraints.txt torch
    "$venv/bin/python" -m pip install --disable-pip-version-check -qq -c constraints.txt -e '.[train,dense,onnx,wandb,test]'
    touch "$venv/.ready"
  fi
  commit=$(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo +)
  start=$(date +%s)
  result=$(OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -n 2 --dist loadfile -m "not live" | tee >(cat >&2) | tail -1)
  row="| $version | $(date -u +%Y-%m-%d) | $commit | $result | $(($(date +%s) - start)) s | $(uname -sm) |"
  sed -i "/^| $version |/d" "$page"
  echo "$row" >> "$page"
done
