"""`qr judge serve`: run a vLLM server until it is interrupted; settings: `runs/judge/args.py`."""

from __future__ import annotations

import shlex
import signal
import time
from pathlib import Path

from qr_env.common.errors import JudgeError
from qr_env.llm.server import VLLMServer
from qr_env.models.hub import resolve
from runs.judge.args import ServeArgs


def main(args: ServeArgs) -> None:
    """Serve until interrupted; raises JudgeError when the server exits by itself."""
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
    # A shell starts background jobs with SIGINT ignored, and SIGTERM would end the process without stopping the server.
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
