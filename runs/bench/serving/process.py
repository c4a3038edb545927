"""`qr serve` as a process, optionally with transformers' `generate` as the student's decoder.

with ServeProcess(["out/mine", "--shop", "generated"]) as served:
    served.url, served.memory_mb()
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import httpx
import torch

from agents.policy.prompt import parse_completions
from agents.policy.student import Student
from qr_env.common.errors import ConfigError
from runs.common.cli import run
from runs.common.serving.args import RewriterArgs
from runs.common.serving.rewriter import OpenRewriter
from runs.serve.args import Args
from runs.serve.job import main as serve
from runs.serve.opening import open_live

LOAD_SECONDS = 300.0


class ServeProcess:
    """Starts the service on a free port of loopback and waits until it is ready."""

    def __init__(self, flags: Sequence[str], generate: bool = False) -> None:
        module = "runs.bench.serving.process" if generate else "runs.serve"
        self._command = [sys.executable, "-m", module, *flags, "--port", "0"]

    def __enter__(self) -> Self:
        self._output = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self._command, stderr=self._output)
        deadline = time.monotonic() + LOAD_SECONDS
        self.url = ""
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ConfigError(f"the service did not start: {self._written()[-500:]}")
            time.sleep(0.2)
        return self

    def _written(self) -> str:
        self._output.seek(0)
        return self._output.read()

    def _ready(self) -> bool:
        found = re.search(r"http://[\d.]+:\d+", self._written())
        self.url = found[0] if found else ""
        try:
            return bool(self.url) and httpx.get(f"{self.url}/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def memory_mb(self) -> float:
        """Resident memory of the service, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1000 if found else float("nan")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)
        self._output.close()


@dataclass
class GenerateStudent(Student):
    """A student whose greedy rewrites come from transformers' `generate`."""

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The most probable rewrite of each query, n times."""
        self.tokenizer.padding_side = "left"
        batch = self.tokenizer(self.prompts(queries), return_tensors="pt", padding=True)
        with torch.no_grad():
            made = self.model.generate(  # type: ignore[operator]
                **batch, max_new_tokens=self.max_new_tokens, do_sample=False, pad_token_id=self.tokenizer.pad_token_id
            )
        completions = [row[batch["input_ids"].shape[1] :].tolist() for row in made]
        texts = parse_completions(self.tokenizer, completions)
        if self.suggester is not None:
            texts = self.suggester.rewrites(list(queries), texts)
        return [[text] * n for text in texts]


def open_generating(agent: str, args: RewriterArgs) -> OpenRewriter:
    """As `open_live`, for a student, which then decodes by `generate`."""
    opened = open_live(agent, args)
    if not isinstance(opened.agent, Student):
        raise ConfigError(f"agent={agent!r} is no student: generate=False leaves transformers' generate out")
    return replace(opened, agent=GenerateStudent(**vars(opened.agent)))


def main(args: Args) -> None:
    """Serve with `generate`."""
    serve(args, open_generating)


if __name__ == "__main__":
    run(Args, main)
