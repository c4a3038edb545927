"""One update of our GRPO, timed by phase, and the rewards of its rewrites; `runs/bench/online.py` measures it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor

from agents.policy.rollout import Rollout
from agents.policy.student import Student
from agents.rl import grpo
from agents.rl.grpo import GRPO, GRPOConfig
from judges.simple.labels import LabelsJudge
from qr_env.common.protocols import Retriever
from qr_env.common.types import Query
from qr_env.environment.simulator import Simulator
from qr_env.reward.reward import Reward
from qr_env.shop.shop import Shop
from runs.bench.env import RecordingRetriever
from runs.bench.roofline import device_time

LEARNING_RATE = 1e-5  # both sides stay near the same policy, so that their rewrites stay equally long
PHASES = ("sample", "retrieve+judge", "score", "backward", "optimizer", "other")
P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Stopwatch:
    """Times the phases of an update."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """phase → seconds since the last `take`"""

    def timed(self, phase: str, work: Callable[P, R]) -> Callable[P, R]:
        """`work`, its seconds added to the phase."""

        def timed_work(*args: P.args, **kwargs: P.kwargs) -> R:
            start = device_time()
            try:
                return work(*args, **kwargs)
            finally:
                self.seconds[phase] += device_time() - start

        return timed_work

    def take(self, total: float) -> dict[str, float]:
        """Seconds by phase since the last call; "other" is the rest of the total."""
        taken = {phase: self.seconds.get(phase, 0.0) for phase in PHASES}
        taken["other"] = total - sum(taken.values())
        self.seconds.clear()
        return taken


@dataclass
class RewardService:
    """Rewards of rewrites by search, labels and feedback."""

    simulator: Simulator
    """gives the rewards"""
    engine: RecordingRetriever
    """the simulator's retriever, which records the texts searched for"""

    @classmethod
    def open(cls, shop: Shop, retriever: Retriever, prompts: int, group_size: int) -> RewardService:
        """For batches of `prompts` × `group_size` rewrites."""
        engine = RecordingRetriever(retriever)
        return cls(Simulator(shop, engine, LabelsJudge(shop), Reward(), blocks=prompts, group_size=group_size), engine)

    def rewards(self, queries: Sequence[Query], texts: Sequence[str]) -> list[float]:
        """Rewards of P × G rewrites, NaN where missing."""
        self.engine.batches.clear()
        self.simulator.reset(queries)
        return self.simulator.step(texts).rewards_N.tolist()

    def search_seconds(self) -> float:
        """Seconds of the last batch's searches alone."""
        start = device_time()
        for texts in self.engine.batches:
            self.engine.retriever.search(texts, self.simulator.k)
        return device_time() - start


@dataclass
class OurUpdate:
    """Our update of a student, timed by phase."""

    student: Student
    """the student that learns"""
    service: RewardService
    """rewards of its rewrites"""
    group_size: int
    """rewrites a query"""
    generator: torch.Generator
    """random numbers of the sampling"""
    watch: Stopwatch = field(default_factory=Stopwatch)
    """seconds by phase"""
    optimizer: GRPO = field(init=False)
    """with the timed parts replaced"""
    rollout: Rollout = field(init=False)
    """the last update's samples"""
    rewards_PG: Tensor = field(init=False)
    """(P, G) the last update's rewards"""

    def __post_init__(self) -> None:
        config = GRPOConfig(LEARNING_RATE, warmup_updates=0, kl_coef=0.0, normalize_std=True)
        self.optimizer = GRPO(self.student.model, self.student.tokenizer, config, Accelerator())
        timed, inner = self.watch.timed, self.optimizer.optimizer
        accelerator: Any = self.optimizer.accelerator
        accelerator.backward = timed("backward", accelerator.backward)
        accelerator.clip_grad_norm_ = timed("optimizer", accelerator.clip_grad_norm_)
        inner.step = timed("optimizer", inner.step)  # type: ignore[method-assign, assignment]
        inner.zero_grad = timed("optimizer", inner.zero_grad)  # type: ignore[method-assign]

    def update(self, queries: Sequence[Query]) -> dict[str, float]:
        """One update; seconds by phase."""
        start = device_time()
        with self._timed_scoring():
            sample = self.watch.timed("sample", self.student.sample)
            asked = [query.text for query in queries]
            self.rollout = sample(asked, self.group_size, 1.0, self.generator)
            texts = self.student.texts(self.rollout, asked)
            rewards = self.watch.timed("retrieve+judge", self.service.rewards)(queries, texts)
            self.rewards_PG = torch.tensor(rewards).reshape(-1, self.group_size)
            self.optimizer.update(self.rollout, self.rewards_PG)
        return self.watch.take(device_time() - start)

    @contextmanager
    def _timed_scoring(self) -> Iterator[None]:
        """Time GRPO's scoring pass."""
        untimed = grpo.score
        grpo.score = self.watch.timed("score", untimed)
        try:
            yield
        finally:
            grpo.score = untimed
