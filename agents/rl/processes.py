"""The processes that `accelerate launch` or torchrun started for one run: who does what, and what they tell each other.

    with together() as processes:
        processes.main_only(write)                  # the others wait; its error is everybody's
        metrics = processes.mean(metrics)           # the same on every process
        if processes.any(asked_to_stop): …          # all of them stop, at the same update

All call the same methods in the same order, or they wait for each other. A message is a pickled object of a few
kilobytes. `ALONE` is one process, to which everything here is nothing.
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

from qr_env.common.errors import ConfigError, QrError

T = TypeVar("T")
# The others wait while the main process warms up and evaluates, which a language model as judge may draw out; ten
# minutes, NCCL's default, would end the run.
PATIENCE = timedelta(hours=24)
SEED_STEP = 1_000_003  # between processes: far from what is given as --seed
WORLD = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")  # torchrun's, and those of mpirun
SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM")
LAUNCHER = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_", "GROUP_", "ROLE_", "TORCHELASTIC_", "OMPI_",
            "PMI_", "MV2_")  # fmt: skip


@dataclass(frozen=True)
class Processes:
    """How many, and which of them this is; the first is the main one."""

    count: int = 1
    rank: int = 0

    @property
    def main(self) -> bool:
        """Whether this one works in the run folder and speaks."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Every process's value, the main one's first."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return cast(list[T], gather_object([value]))

    def any(self, flag: bool) -> bool:
        """Whether one of them says so."""
        return any(self.gather(flag))

    def main_only(self, work: Callable[[], T]) -> T | None:
        """The main process works while the others wait; the result is its own, an error of ours is everybody's."""
        result, error = None, None
        if self.main:
            try:
                result = work()
            except QrError as caught:
                error = caught
        if (told := self.gather(error)[0]) is not None:
            raise told
        return result

    def once(self, work: Callable[[], T]) -> T:
        """The same, and the result is everybody's too."""
        return cast(T, self.gather(self.main_only(work))[0])

    def main_first(self, work: Callable[[], T]) -> T:
        """All of them do it, the main process before the others: what it downloads or builds they find, what it says
        they need not say again."""
        made = self.main_only(work)
        if self.main:
            return cast(T, made)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return work()

    def apart(self, work: Callable[..., T], *args: Any) -> T:
        """In a process that knows of no others, where there are some: a trainer of TRL would wait for them."""
        with _without_launcher(), ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(work, *args).result()

    def mean(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Each metric's mean over the processes that know it: one with nothing to learn from has no entropy, one
        without a verdict no reward."""
        if self.count == 1:
            return dict(metrics)
        rows = self.gather(metrics)
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: _mean([row[name] for row in rows if name in row]) for name in names}

    def seed(self, seed: int) -> int:
        """A seed of its own for each; the main process keeps the run's."""
        return seed + SEED_STEP * self.rank

    def own(self, state: dict[str, Any]) -> dict[str, Any]:
        """A checkpoint's state as this process left it: "others" has what is not the main one's.

        Raises:
            ConfigError: another number of processes made it.
        """
        others = state.get("others", [])
        if (made_by := len(others) + 1) != self.count:
            raise ConfigError(
                f"the checkpoint was made by {made_by} process(es), and this run has {self.count}: go on with "
                f"--num_processes {made_by} (torchrun --nproc-per-node {made_by}), or start a new --out"
            )
        return state if self.main else state | others[self.rank - 1]


ALONE = Processes()


@contextmanager
def together() -> Iterator[Processes]:
    """The launcher's processes, connected; alone where none launched.

    Raises:
        ConfigError: the launcher was told to cut the student into parts.
    """
    for name in SHARDED:
        if _is_set(f"ACCELERATE_USE_{name}"):
            raise ConfigError(f"accelerate with {name}: every process holds the whole student; launch with --multi_gpu")
    if not any(int(os.environ.get(name, "1")) > 1 for name in WORLD):
        yield ALONE
        return
    from accelerate import PartialState

    state = PartialState(cpu=_on_the_cpu(), timeout=PATIENCE)
    yield Processes(state.num_processes, state.process_index)
    state.destroy_process_group()  # not after an error: the others may be waiting in it, and the launcher ends them


def _on_the_cpu() -> bool:
    """Asked for, or for want of cards; `PartialState` by itself would then see no other process."""
    import torch

    card = torch.accelerator.current_accelerator(check_available=True)
    return _is_set("ACCELERATE_USE_CPU") or card is None or card.type == "mps"


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes")


@contextmanager
def _without_launcher() -> Iterator[None]:
    """An environment in which no launcher was, on the first graphics card alone."""
    before = dict(os.environ)
    try:
        for name in before:
            if name.startswith(LAUNCHER):
                del os.environ[name]
        os.environ["CUDA_VISIBLE_DEVICES"] = before.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _mean(values: list[float]) -> float:
    known = [value for value in values if value == value]
    return float(sum(known) / len(known)) if known else float("nan")
