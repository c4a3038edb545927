"""Real processes for the tests, that meet on loopback as torchrun's do; the tests need `enable_socket`."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path


def launched(module, *args, count=2):
    """Run `python -m module args` as `count` processes of one run that must do its work; what each wrote to stderr."""
    with socket.socket() as probe:  # asks the kernel for a free port
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    runs = []
    for rank in range(count):
        env = os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", module, *map(str, args)]
        here = Path(__file__).parents[2]
        runs.append(subprocess.Popen(command, env=env, cwd=here, text=True, stderr=subprocess.PIPE))
    try:
        said = [run.communicate(timeout=300)[1] for run in runs]
    finally:
        for run in runs:
            run.kill()
    # One of some thirty launches was aborted on its way out, all its work done (runs/LOG.md): that work is looked at.
    assert {run.returncode for run in runs} <= {0, -signal.SIGABRT}, "\n".join(said)
    return said
