"""Starting, awaiting and ending a server process, with a small HTTP server in vLLM's place; see test_live_vllm.py."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qr_env.common.errors import ConfigError, JudgeError
from qr_env.llm import server as server_module
from qr_env.llm.server import VLLMServer, has_gpu, healthy, unsupported

pytestmark = pytest.mark.live

# Takes vLLM's flags; `--behave` selects a failure. Like vLLM it has a child process, whose id it prints.
STAND_IN = """#!{python}
import http.server, signal, subprocess, sys, time
flags = dict(zip(sys.argv[1:], sys.argv[2:]))
behave = flags.get("--behave", "")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, " ".join(sys.argv[1:]), flush=True)
if behave == "die":
    sys.exit("KeyError: no such layer")
if behave == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if behave == "sick" else 200)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer((flags["--host"], int(flags["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[VLLMServer]:
    (tmp_path / "config.json").write_text("{}")
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(python=sys.executable))
    python.chmod(0o755)
    server = VLLMServer(tmp_path, name="toy", python=python, log=tmp_path / "log.txt", wait=20, progress=False)
    yield server
    server.stop()


def child_of(server: VLLMServer) -> int:
    return int(server.log.read_text().split()[1])


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def gone(pid: int, seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def test_ready_inside_with_and_no_process_remains_after(server: VLLMServer) -> None:
    with server:
        assert server.url == f"http://127.0.0.1:{server.port}/v1" and healthy(server.port)
        leader, child = server.pid, child_of(server)
        assert leader is not None and alive(child)
        with pytest.raises(ConfigError, match="runs already"):
            server.start()
    assert server.pid is None and not healthy(server.port)
    assert not alive(leader) and gone(child)
    server.stop()


def test_the_same_address_after_a_restart(server: VLLMServer) -> None:
    url = server.start().url
    os.killpg(server.pid or 0, signal.SIGKILL)
    while server.pid is not None:
        time.sleep(0.01)
    server.stop()
    assert server.start().url == url and healthy(server.port)


def test_flags_of_the_machine_and_of_the_user(server: VLLMServer) -> None:
    server.flags = ("--seed", "3")
    command = " ".join(server.command())
    assert f"--model {server.model_dir} --served-model-name toy --host 127.0.0.1" in command
    assert command.endswith("--seed 3") and "--enable-prefix-caching" in command
    assert ("--block-size 32" in command and "--dtype float32" in command) is not has_gpu()


def test_a_server_that_ignores_sigterm_is_killed_with_its_children(server: VLLMServer) -> None:
    server.flags = ("--behave", "stubborn")
    server.start()
    leader, child = server.pid or 0, child_of(server)
    server.stop(grace=0.2)
    assert not alive(leader) and gone(child)


def test_an_early_end_shows_the_log(server: VLLMServer) -> None:
    server.flags = ("--behave", "die")
    with pytest.raises(JudgeError, match=r"ended while starting with .*(?s:.)*KeyError: no such layer"):
        server.start()
    assert gone(child_of(server))


def test_a_server_that_does_not_get_healthy_is_stopped(server: VLLMServer) -> None:
    server.flags, server.wait = ("--behave", "sick"), 6.0  # enough to write its first line, also on a busy machine
    with pytest.raises(JudgeError, match=r"not healthy in 6 s .*log\.txt ends:\nchild"):
        server.start()
    assert server.pid is None and gone(child_of(server))


def test_a_slow_start_prints_a_line_from_time_to_time(
    server: VLLMServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server_module.REPORT_SECONDS <= 10
    monkeypatch.setattr(server_module, "REPORT_SECONDS", 0.5)
    server.flags, server.wait, server.progress = ("--behave", "sick"), 3.0, True
    with pytest.raises(JudgeError, match="not healthy"):
        server.start()
    lines = capsys.readouterr().err.splitlines()
    seconds = [int(line.removesuffix(" s").rsplit(" ", 1)[1]) for line in lines]
    assert 2 <= len(lines) <= 6 and seconds == sorted(seconds)
    assert all(line.startswith(f"starting vLLM with toy (log {server.log}): ") for line in lines)


def test_a_missing_interpreter_or_model_is_named(server: VLLMServer, tmp_path: Path) -> None:
    server.python = tmp_path / "none"
    with pytest.raises(ConfigError, match="make vllm" if unsupported() is None else "vLLM needs"):
        server.start()
    with pytest.raises(ConfigError, match=r"holds no config\.json"):
        VLLMServer(tmp_path / "empty", python=sys.executable).start()


def test_a_taken_port_is_refused(server: VLLMServer) -> None:
    with server:
        other = VLLMServer(server.model_dir, port=server.port, python=server.python)
        with pytest.raises(ConfigError, match=f"port {server.port} of 127"):
            other.start()


def test_the_server_ends_when_its_parent_is_killed(server: VLLMServer, tmp_path: Path) -> None:
    script = (
        "import sys, time; from qr_env.llm.server import VLLMServer;"
        "s = VLLMServer(sys.argv[1], python=sys.argv[2], log=__import__('pathlib').Path(sys.argv[3]), progress=False);"
        "print(s.start().pid, flush=True); time.sleep(600)"
    )
    log = tmp_path / "log.txt"
    arguments = [sys.executable, "-c", script, str(tmp_path), str(server.python), str(log)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        leader = int(parent.stdout.readline())
        assert alive(leader) and alive(child_of(server))
        parent.kill()
    assert gone(leader) and gone(child_of(server))


@dataclass
class Kill:
    """Ends a process that a failed test left running: waiting for it would hang the whole suite."""

    process: subprocess.Popen[str]

    def close(self) -> None:
        self.process.kill()


@pytest.mark.parametrize(("end", "code"), [("interrupt", 0), ("crash", 1)])
def test_the_command_serves_until_interrupted(server: VLLMServer, end: str, code: int) -> None:
    arguments = [sys.executable, "-m", "runs.judge", "serve", str(server.model_dir), "--name", "toy"]
    environment = os.environ | {"QR_VLLM_PYTHON": str(server.python)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    with (
        subprocess.Popen([*arguments, "--log", str(server.log)], **pipes) as command,
        contextlib.closing(Kill(command)),
    ):
        assert command.stdout is not None and command.stderr is not None
        lines = [command.stdout.readline() for _ in range(4)]
        assert lines[2].startswith("export QR_JUDGE_URL=http://127.0.0.1:") and lines[2].endswith("/v1\n")
        assert lines[3] == "export QR_JUDGE_MODEL=toy\n"
        child = child_of(server)
        command.send_signal(signal.SIGINT) if end == "interrupt" else os.killpg(os.getpgid(child), signal.SIGKILL)
        assert command.wait(20) == code
        assert ("JudgeError: vLLM ended by itself" in command.stderr.read()) is (end == "crash")
    assert gone(child)
