"""`qr serve` as a process of its own on a free port of loopback.

with LiveService(folder, "repair", "--log", str(log)) as service:
    httpx.post(f"{service.url}/rewrite", json={"query": "couch"})
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import httpx

SECONDS = 60.0  # to load


class LiveService:
    """Starts the command over a shop folder; `kill` and `stop` end it."""

    def __init__(self, shop: Path, *flags: str) -> None:
        self._command = [
            sys.executable, "-m", "runs.serve", *flags, "--shop", str(shop), "--port", "0",
            "--cache", str(shop / "cache"),
        ]  # fmt: skip
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        self.url = ""
        while not self.url:
            line = self.process.stderr.readline()
            assert line, self.lines
            self.lines.append(line)
            found = re.search(r"http://[\d.]+:\d+", line)
            self.url = found[0] if found else ""
        self.host, self.port = "127.0.0.1", int(self.url.rpartition(":")[2])
        deadline = time.monotonic() + SECONDS
        while httpx.get(f"{self.url}/ready").status_code != 200:
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.05)
        return self

    def stop(self, signal_number: int) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(signal_number)
        code = self.process.wait(30)
        assert self.process.stderr is not None
        self.lines += self.process.stderr.readlines()
        return code

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
