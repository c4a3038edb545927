"""Runs a vLLM server with a local model on loopback: starts it, waits until it is ready, and always stops it.

    with VLLMServer(resolve("smollm2-135m"), name="smollm2-135m") as server:
        judge = LLMJudge([server.url], model=server.name)

    qr judge serve smollm2-135m                # the same from the command line; `make vllm` installs vLLM

vLLM lives in an environment of its own (`.venv-vllm`, or the interpreter named by $QR_VLLM_PYTHON), because its pins
differ from the trainer's; all communication is over HTTP.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from qr_env.common.download import cache_root
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.messages import print_message

HOST = "127.0.0.1"
PYTHON = Path(__file__).parents[2] / ".venv-vllm" / "bin" / "python"
COMMON = ("--enable-prefix-caching", "--enable-prompt-tokens-details")  # replies report cached tokens
# float32: CPUs without bf16 units. Eager: compiling takes two minutes. Blocks of 32 (16 is refused): only whole blocks
# are shared, and the CPU's default of 128 tokens is longer than a judge's instructions.
CPU_FLAGS = ("--dtype", "float32", "--enforce-eager", "--block-size", "32")
# GiB of cache. vLLM uses all cores but one. VLLM_CPU_NUM_OF_RESERVED_CPU=0 adds that one, which is faster on an
# otherwise idle machine; on a busy one every step waits for its slowest thread.
CPU_SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "2"}
TAIL_BYTES = 4_000  # of the log, in an error
REPORT_SECONDS = 10.0  # between two lines of progress where standard error is not a terminal
# Waits until its standard input closes, which happens however this process dies; then ends the server's process group.
WATCHDOG = """read -r _; kill -s TERM -- "-$1"; n=0
while [ $n -lt 20 ]; do kill -s 0 -- "-$1" || exit 0; sleep 0.5; n=$((n + 1)); done; kill -s KILL -- "-$1" """


def has_gpu() -> bool:
    """Whether `nvidia-smi` exists and works: decides between vLLM's ordinary package and its CPU build."""
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True, check=False).returncode == 0


def unsupported() -> str | None:
    """Why vLLM cannot be installed on this machine, by the rules of `make vllm`; None if it can."""
    if has_gpu():
        return None
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return f"vLLM needs Linux on x86-64 or an NVIDIA GPU, this is {platform.system()} on {platform.machine()}"
    if "avx2" not in Path("/proc/cpuinfo").read_text(encoding="utf-8").split():
        return "vLLM on CPU needs AVX2, which this processor lacks"
    return None


class VLLMServer:
    """A vLLM OpenAI-compatible server on 127.0.0.1, ready inside `with`. `start` and `stop` can also be called
    directly; a restarted server keeps its address.

    Args:
        model_dir: folder of a causal LM in Hugging Face format.
        name: name of the model for clients; None takes the folder's name.
        port: 0 takes a free one.
        wait: seconds until the server must be healthy (35–45 on an idle 2-core machine).
        max_model_len: tokens of prompt and answer together.
        log: file of the server's output; None is one by port under the cache folder.
        flags: further ones for vLLM.
        python: interpreter that has vLLM; None is $QR_VLLM_PYTHON, else the environment of `make vllm`.
        progress: show on standard error how long it has been starting: one line that is refreshed on a terminal, else
            a line every 10 s.
    """

    def __init__(
        self,
        model_dir: Path | str,
        *,
        name: str | None = None,
        port: int = 0,
        wait: float = 300.0,
        max_model_len: int = 2048,
        log: Path | None = None,
        flags: Sequence[str] = (),
        python: Path | str | None = None,
        progress: bool = True,
    ) -> None:
        self.model_dir, self.name = Path(model_dir), name or Path(model_dir).name
        self.port, self.wait, self.max_model_len = port, wait, max_model_len
        self.flags, self.progress = tuple(flags), progress
        self.python = Path(python or os.environ.get("QR_VLLM_PYTHON") or PYTHON)
        self._log = log
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base URL for OpenAI clients."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def log(self) -> Path:
        """File of the server's output, both streams; overwritten at every start."""
        return self._log or cache_root() / "logs" / f"vllm-{self.port}.log"

    @property
    def pid(self) -> int | None:
        """Process id, which is also the id of the process group; None if the server is not running."""
        return self._server.pid if self._server is not None and self._server.poll() is None else None

    def __enter__(self) -> VLLMServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> VLLMServer:
        """Start and wait until /health answers.

        Raises:
            ConfigError: no vLLM, or no model.
            JudgeError: the server ended or was not healthy in time; with the end of its log.
        """
        if not self.python.is_file():
            raise ConfigError(f"no vLLM at {self.python}: {unsupported() or 'run `make vllm`, or set QR_VLLM_PYTHON'}")
        if not (self.model_dir / "config.json").is_file():
            raise ConfigError(f"{self.model_dir} is no model in Hugging Face format: it holds no config.json")
        if self.pid is not None:
            raise ConfigError(f"this server runs already, at {self.url}")
        with _reserved(self.port) as self.port:
            self._spawn()
            try:
                self._await_health()
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self, grace: float = 15.0) -> None:
        """Send SIGTERM, and after `grace` seconds SIGKILL to the rest of its process group. Can be repeated."""
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None
        if self._server is None:
            return
        server, self._server = self._server, None
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(grace)
        _end_group(server.pid, grace=5.0 if server.returncode is not None else 0.0)
        server.wait()

    def command(self) -> list[str]:
        """The command line. The `vllm` script is not used: in the CPU build it expects another distribution."""
        platform_flags = () if has_gpu() else CPU_FLAGS
        return [
            *(str(self.python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(self.model_dir)),
            *("--served-model-name", self.name, "--host", HOST, "--port", str(self.port)),
            *("--max-model-len", str(self.max_model_len), *COMMON, *platform_flags, *self.flags),
        ]

    def _spawn(self) -> None:
        """Start server and watchdog, each in its own session: Ctrl-C in a terminal reaches only this process."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        settings = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", **({} if has_gpu() else CPU_SETTINGS)}
        with self.log.open("wb") as out:
            self._server = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=settings | os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", WATCHDOG, "qr-vllm-watchdog", str(self._server.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _await_health(self) -> None:
        started = reported = time.monotonic()
        label = f"starting vLLM with {self.name} (log {self.log})"
        terminal = sys.stderr.isatty()
        hidden = not (self.progress and terminal)
        with tqdm(desc=label, bar_format="{desc}: {elapsed}", file=sys.stderr, disable=hidden) as bar:
            while not healthy(self.port):
                now = time.monotonic()
                bar.refresh()
                if self.progress and not terminal and now - reported >= REPORT_SECONDS:
                    print_message(f"{label}: {now - started:.0f} s")
                    reported = now
                if self.pid is None:
                    raise JudgeError(f"vLLM ended while starting with {self.model_dir}; {self._tail()}")
                if now - started > self.wait:
                    raise JudgeError(f"vLLM was not healthy in {self.wait:.0f} s (see `wait`); {self._tail()}")
                time.sleep(0.25)

    def _tail(self) -> str:
        text = self.log.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace")
        return f"{self.log} ends:\n{text}"


def healthy(port: int) -> bool:
    """Whether the server on this port of loopback answers /health with 200; proxies are bypassed."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{HOST}:{port}/health", timeout=5.0) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def _reserved(port: int) -> Iterator[int]:
    """Hold a port of loopback without listening, so that no other process gets it in the half minute until vLLM binds
    it.

    Both bind with SO_REUSEADDR, which lets them share an address until one listens: then connections go there.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} of {HOST} is not available ({error.strerror}); port 0 takes a free one"
            ) from error
        yield holder.getsockname()[1]


def _end_group(group: int, grace: float) -> None:
    """Send SIGTERM to the rest of a process group, and SIGKILL after `grace` seconds."""
    deadline = time.monotonic() + grace
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        while time.monotonic() < deadline:
            time.sleep(0.02)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)
