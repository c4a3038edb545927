"""Commit, machine and versions, to be reported beside a result: in a run's `config.json` and a bench's JSON.

payload = {"args": {}, "environment": environment()}
print(machine_line(payload["environment"]["machine"]))
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

# Packages that influence the results or their speed.
PACKAGES = (
    "bm25s",
    "faiss-cpu",
    "gymnasium",
    "numba",
    "numpy",
    "qr-env",
    "sentence-transformers",
    "torch",
    "transformers",
    "trl",
)


def environment() -> dict[str, Any]:
    """Commit, machine and versions, as JSON values."""
    return {"commit": git_commit(), "machine": machine(), "versions": versions()}


def git_commit() -> str:
    """Short hash of HEAD, with "+" when tracked files differ from it; "" outside a git checkout."""
    here = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=here, check=False).returncode != 0
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+" if dirty else "")


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory in GiB, one-minute load average, and operating system."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": model,
        "cores": cores,
        "memory_gib": round(pages / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),
        "os": platform.platform(),
    }


def machine_line(machine: Mapping[str, object]) -> str:
    """A machine in one line, for a report."""
    return f"{machine['cores']} cores {machine['cpu']}, {machine['memory_gib']} GiB, {machine['os']}"


def versions() -> dict[str, str]:
    """Versions of Python and of the installed ones of `PACKAGES`."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
