"""Start a vLLM server with a model on this machine, wait until it is healthy, stop it cleanly with Ctrl-C.

make vllm                                      # once: installs vLLM into an environment of its own
qr judge serve smollm2-135m
qr judge serve Qwen/Qwen2.5-7B-Instruct --port 8000 --flags "--tensor-parallel-size 2"
"""

from __future__ import annotations

import shlex
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from qr_env.common.errors import JudgeError
from runs.common.cli import run


@dataclass
class Args:
    """Which model, and where."""

    model: tyro.conf.Positional[str] = "smollm2-135m"
    """smollm2-135m, any Hugging Face id of a causal LM, or a local folder"""
    name: str | None = None
    """what clients call it; default as given, a folder's last part"""
    port: int = 0
    """of 127.0.0.1; 0 takes a free one"""
    wait: float = 600.0
    """seconds until it must be healthy"""
    max_model_len: int = 2048
    """tokens of prompt and answer together"""
    log: Path | None = None
    """file of the server's output; default in the cache folder, by port"""
    flags: str = ""
    """further flags of vLLM, as one text"""


def main(args: Args) -> None:
    """Serve until interrupted; raises JudgeError when the server ends by itself."""
    from qr_env.llm.server import VLLMServer
    from qr_env.models.hub import resolve

    folder = resolve(args.model)
    server = VLLMServer(
        folder,
        name=args.name or (folder.name if Path(args.model).is_dir() else args.model),
        port=args.port,
        wait=args.wait,
        max_model_len=args.max_model_len,
        log=args.log,
        flags=shlex.split(args.flags),
    )
    # Set by hand: a shell starts background jobs with SIGINT ignored, and SIGTERM would leave without a word.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with server:
            print(f"serving {server.name} at {server.url}; Ctrl-C stops it. In another shell:\n")
            print(f"export QR_JUDGE_URL={server.url}\nexport QR_JUDGE_MODEL={server.name}", flush=True)
            while server.pid is not None:
                time.sleep(0.5)
            raise JudgeError(f"vLLM ended by itself; its log is {server.log}")
    except KeyboardInterrupt:
        print("\nstopped")


if __name__ == "__main__":
    run(Args, main, description=__doc__)
