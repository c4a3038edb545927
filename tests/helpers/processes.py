"""Real processes that connect over loopback as torchrun's do; tests that use them need `enable_socket`."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path


def run_processes(module, *args, count=2):
    """Run `python -m module args` as `count` processes of one run; returns what each wrote to stderr."""
    with socket.socket() as probe:  # binds a free port
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    runs = []
    for rank in range(count):
        env = os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", module, *map(str, args)]
        root = Path(__file__).parents[2]
        runs.append(subprocess.Popen(command, env=env, cwd=root, text=True, stderr=subprocess.PIPE))
    try:
        stderr_texts = [run.communicate(timeout=300)[1] for run in runs]
    finally:
        for run in runs:
            run.kill()
    # One of about thirty launches was aborted at exit, after all its work (runs/LOG.md): callers check that work.
    assert {run.returncode for run in runs} <= {0, -signal.SIGABRT}, "\n".join(stderr_texts)
    return stderr_texts
