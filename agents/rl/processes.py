"""The processes that `accelerate launch` or torchrun started for one run, and what they exchange.

    with process_group() as processes:
        processes.main_only(write)                  # the others wait; a QrError is raised on all
        metrics = processes.mean(metrics)           # the same on every process
        if processes.any(stop_requested): …         # all stop at the same update

Every process must call the same methods in the same order, else they wait for each other. Values are pickled and should
be at most kilobytes. With `SINGLE_PROCESS` every method is local.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from typing import Any, TypeVar, cast

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from qr_env.common.errors import ConfigError, QrError

T = TypeVar("T")
# The others wait while the main process makes the warm start and evaluates, which takes hours with a language model as
# judge; NCCL's default of ten minutes would end the run.
TIMEOUT = timedelta(hours=24)
SEED_STEP = 1_000_003  # between the seeds of processes; larger than usual values of --seed
PROCESS_COUNTS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")  # torchrun's, then mpirun's
SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM")
LAUNCHER_PREFIXES = (
    "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_", "GROUP_", "ROLE_", "TORCHELASTIC_", "OMPI_", "PMI_",
    "MV2_",
)  # fmt: skip


@dataclass(frozen=True)
class Processes:
    """The processes of one run, as one of them sees them."""

    count: int = 1
    """Number of processes."""
    rank: int = 0
    """Number of this process, from 0; process 0 is the main one."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes to the run folder and prints."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Every process's value, the main one's first."""
        if self.count == 1:
            return [value]
        return cast(list[T], gather_object([value]))

    def any(self, flag: bool) -> bool:
        """Whether `flag` is True on any process."""
        return any(self.gather(flag))

    def main_only(self, work: Callable[..., T], *args: object) -> T | None:
        """Call `work(*args)` on the main process while the others wait; its result there, None elsewhere.

        Raises:
            QrError: `work` raised it; every process raises the same one.
        """
        result, error = None, None
        if self.is_main:
            try:
                result = work(*args)
            except QrError as caught:
                error = caught
        if (main_error := self.gather(error)[0]) is not None:
            raise main_error
        return result

    def broadcast(self, work: Callable[..., T], *args: object) -> T:
        """`main_only`, with the main process's result on every process."""
        return cast(T, self.gather(self.main_only(work, *args))[0])

    def main_first(self, work: Callable[..., T], *args: object) -> T:
        """Call `work(*args)` on the main process and then on the others, without their output.

        The others find on disk what the main process downloaded or built.
        """
        result = self.main_only(work, *args)
        if self.is_main:
            return cast(T, result)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return work(*args)

    def run_in_subprocess(self, work: Callable[..., T], *args: object) -> T:
        """Call `work(*args)` in a new process without the launcher's variables: TRL's trainer would wait for the
        other processes."""
        with _without_launcher(), ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(work, *args).result()

    def mean(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Mean of each metric over the processes that have it, NaN left out: a process whose groups are all ties has
        no entropy, one without verdicts no reward."""
        if self.count == 1:
            return dict(metrics)
        rows = self.gather(metrics)
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: _mean([row[name] for row in rows if name in row]) for name in names}

    def seed(self, seed: int) -> int:
        """A different seed for each process; the main process keeps the run's."""
        return seed + SEED_STEP * self.rank

    def own_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """This process's part of a checkpoint's state: "others" holds what differs from the main process's.

        Raises:
            ConfigError: the checkpoint was written by another number of processes.
        """
        others = state.get("others", [])
        if (made_by := len(others) + 1) != self.count:
            raise ConfigError(
                f"the checkpoint was made by {made_by} process(es), and this run has {self.count}: continue with "
                f"--num_processes {made_by} (torchrun --nproc-per-node {made_by}), or start a run in another `out`"
            )
        return state if self.is_main else state | others[self.rank - 1]


SINGLE_PROCESS = Processes()


@contextmanager
def process_group() -> Iterator[Processes]:
    """The launcher's processes, connected; `SINGLE_PROCESS` where there is no launcher.

    Raises:
        ConfigError: the launcher is set to shard the student over processes.
    """
    for name in SHARDED:
        if _is_set(f"ACCELERATE_USE_{name}"):
            raise ConfigError(
                f"accelerate with {name}: sharding is not supported, every process holds the complete student; "
                "launch with --multi_gpu"
            )
    if not any(int(os.environ.get(name, "1")) > 1 for name in PROCESS_COUNTS):
        yield SINGLE_PROCESS
        return
    state = PartialState(cpu=_uses_cpu(), timeout=TIMEOUT)
    yield Processes(state.num_processes, state.process_index)
    # Not after an error: the others may be waiting in a collective call, and the launcher ends them.
    state.destroy_process_group()


def _uses_cpu() -> bool:
    """Whether to connect over the CPU: it was requested, or there is no accelerator.

    `PartialState` would otherwise find no other process.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return _is_set("ACCELERATE_USE_CPU") or accelerator is None or accelerator.type == "mps"


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes")


@contextmanager
def _without_launcher() -> Iterator[None]:
    """An environment without the launcher's variables, on the first graphics card alone."""
    before = dict(os.environ)
    try:
        for name in before:
            if name.startswith(LAUNCHER_PREFIXES):
                del os.environ[name]
        os.environ["CUDA_VISIBLE_DEVICES"] = before.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _mean(values: list[float]) -> float:
    known = [value for value in values if value == value]
    return float(sum(known) / len(known)) if known else float("nan")
