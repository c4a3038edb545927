"""Speed of one online update against TRL's GRPOTrainer, and its distance from what the machine could do at best.

    qr bench online                                        # `tiny`; runs/bench/job.py calls `bench`
    qr bench online --student tiny smollm2-135m --rounds 5 --json bench_online.json

Both sides have the same weights at the start, the same queries each round (which no round had before), group size,
longest rewrite, reward (search, judge and feedback of the shop) and settings (temperature 1, clip 0.2 / 0.28, no KL,
one step of AdamW an update, float32, no gradient checkpointing). They take turns within one training run of TRL, who
goes first changes. What differs is ours to save: prompts read once a group, no padding, logits only of tokens that were
drawn, no second look at groups whose rewrites all earn the same (their share is reported).

`TRL / ours` is how many times as long TRL takes, the median over rounds, by the clock and by CPU seconds, which hardly
depend on what else the machine does.

The floor of a phase is counted from the batch (`runs/bench/roofline.py`); `above floor` is measured / floor. For search and
judge it is the engine's own search of the same texts. Phases and floor are in CPU seconds where one thread computes.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.policy.prompt import parse_completions, prompt_text
from agents.policy.rollout import Rollout
from agents.policy.student import Student
from agents.rl.grpo import GRPO, GRPOConfig
from judges.simple.labels import LabelsJudge
from qr_env.common.protocols import Retriever
from qr_env.common.types import Query
from qr_env.environment.simulator import Simulator
from qr_env.reward.reward import Reward
from qr_env.shop.shop import Shop
from runs.bench.env import Recorder
from runs.bench.roofline import Machine, Shape, floors, now, one_thread

LEARNING_RATE = 1e-5  # both sides stay near the same policy, so that their rewrites stay as long
PHASES = ("sample", "retrieve+judge", "score", "backward", "optimiser", "other")
SIZES = {"tiny": (32, 8)}  # queries and rewrites an update
LARGE = (8, 8)  # of any other student: what two cores do in half a minute


@dataclass
class Stopwatch:
    """Seconds by phase of the update that runs."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def around(self, phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = now()
            try:
                return work(*args, **kwargs)
            finally:
                self.seconds[phase] += now() - start

        return timed

    def take(self, total: float) -> dict[str, float]:
        """The phases since the last call; "other" is what is left of the total."""
        taken = {phase: self.seconds.get(phase, 0.0) for phase in PHASES}
        taken["other"] = total - sum(taken.values())
        self.seconds.clear()
        return taken


@dataclass
class RewardService:
    """Pays rewrites; remembers the texts that the engine was asked for."""

    simulator: Simulator
    engine: Recorder

    @classmethod
    def open(cls, shop: Shop, retriever: Retriever, prompts: int, group_size: int) -> RewardService:
        engine = Recorder(retriever)
        return cls(Simulator(shop, engine, LabelsJudge(shop), Reward(), blocks=prompts, group_size=group_size), engine)

    def pay(self, queries: Sequence[Query], texts: Sequence[str]) -> list[float]:
        """Rewards of P × G rewrites, NaN where missing."""
        self.engine.asked.clear()
        self.simulator.reset(queries)
        return self.simulator.step(texts).rewards_N.tolist()

    def engine_alone(self) -> float:
        """Seconds of the last payment's searches, without anything around them."""
        start = now()
        for texts in self.engine.asked:
            self.engine.retriever.search(texts, self.simulator.k)
        return now() - start


@dataclass
class Ours:
    """Our update of a student, by phase."""

    student: Student
    front: RewardService
    group_size: int
    generator: torch.Generator
    watch: Stopwatch = field(default_factory=Stopwatch)
    optimizer: GRPO = field(init=False)
    rollout: Rollout = field(init=False)
    rewards_P_G: Tensor = field(init=False)

    def __post_init__(self) -> None:
        from accelerate import Accelerator

        config = GRPOConfig(LEARNING_RATE, warmup_updates=0, kl_coef=0.0, normalize_std=True)
        self.optimizer = GRPO(self.student.model, self.student.tokenizer, config, Accelerator())
        around, inner = self.watch.around, self.optimizer.optimizer
        accelerator: Any = self.optimizer.accelerator
        accelerator.backward = around("backward", accelerator.backward)
        accelerator.clip_grad_norm_ = around("optimiser", accelerator.clip_grad_norm_)
        inner.step = around("optimiser", inner.step)  # type: ignore[method-assign]
        inner.zero_grad = around("optimiser", inner.zero_grad)  # type: ignore[method-assign]

    def update(self, queries: Sequence[Query]) -> dict[str, float]:
        """One update; seconds by phase."""
        start = now()
        with self._scoring():
            sample = self.watch.around("sample", self.student.sample)
            self.rollout = sample([query.text for query in queries], self.group_size, 1.0, self.generator)
            texts = self.student.texts(self.rollout)
            rewards = self.watch.around("retrieve+judge", self.front.pay)(queries, texts)
            self.rewards_P_G = torch.tensor(rewards).reshape(-1, self.group_size)
            self.optimizer.update(self.rollout, self.rewards_P_G)
        return self.watch.take(now() - start)

    @contextmanager
    def _scoring(self) -> Iterator[None]:
        """GRPO's scoring pass is timed."""
        import agents.rl.grpo

        plain = agents.rl.grpo.score
        agents.rl.grpo.score = self.watch.around("score", plain)
        try:
            yield
        finally:
            agents.rl.grpo.score = plain


def bench(
    shop: Shop,
    retriever: Retriever,
    students: Sequence[str] = ("tiny",),
    rounds: int = 7,
    sizes: dict[str, tuple[int, int]] | None = None,
    max_new_tokens: int = 10,
    pretrain: int = 4_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Ratios, seconds and distance from the floor by phase, for each student.

    Args:
        sizes: student → (queries, rewrites a query) an update. pretrain: sequences of the shop's text that `tiny`
            reads first; it sets how long its rewrites are.
    """
    report: dict[str, Any] = {"ratios": {}, "phases": {}, "updates": {}, "sizes": {"shop": repr(shop)}}
    report["sizes"]["phases in"] = "CPU seconds" if one_thread() else "seconds"
    for name in students:
        prompts, group_size = (sizes or SIZES).get(name, LARGE)
        student = _student(name, shop, max_new_tokens, pretrain, seed)
        turns = _Turns.make(student, shop, retriever, prompts, group_size, rounds, seed)
        turns.run()
        report["sizes"][name] = {
            "prompts": prompts, "group_size": group_size, "max_new_tokens": max_new_tokens,
            "parameters": student.model.num_parameters(), "rounds": rounds, "threads": torch.get_num_threads(),
        }  # fmt: skip
        for what, value in turns.ratios().items():
            report["ratios"][f"{name}: {what}"] = value
        report["phases"][name], report["updates"][name] = turns.phases(), turns.facts()
    return report


def _student(name: str, shop: Shop, max_new_tokens: int, pretrain: int, seed: int) -> Student:
    from agents.policy.student import SETTINGS_FILE, pretrained_student

    if name != "tiny":
        from pathlib import Path

        saved = (Path(name) / SETTINGS_FILE).is_file()
        return Student.load(name, trainable=True) if saved else pretrained_student(name, max_new_tokens)
    from agents.supervised.tiny import pretrain_tiny

    model, tokenizer, _ = pretrain_tiny(shop, pretrain, seed)
    return Student(model, tokenizer, "tiny", max_new_tokens)


@dataclass
class _Turns:
    """Updates in turns: theirs within a training run of TRL, ours before or after each of its steps."""

    ours: Ours
    theirs: Student
    front: RewardService
    batches: list[list[Query]]
    clock: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    taken: list[dict[str, float]] = field(default_factory=list)
    least: list[dict[str, float]] = field(default_factory=list)
    length: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    same: list[float] = field(default_factory=list)
    paid: int = 0

    @classmethod
    def make(
        cls, student: Student, shop: Shop, retriever: Retriever, prompts: int, group_size: int, rounds: int, seed: int
    ) -> _Turns:
        queries = shop.split("train") or shop.all_queries
        order = np.random.default_rng(seed).permutation(len(queries)).tolist()
        need = prompts * (rounds + 1)
        picked = [queries[order[i % len(order)]] for i in range(need)]
        theirs = Student(copy.deepcopy(student.model), student.tokenizer, student.name, student.max_new_tokens)
        generator = torch.Generator(student.model.device).manual_seed(seed)
        ours = Ours(student, RewardService.open(shop, retriever, prompts, group_size), group_size, generator)
        front = RewardService.open(shop, retriever, prompts, group_size)
        return cls(ours, theirs, front, [picked[i : i + prompts] for i in range(0, need, prompts)])

    def run(self) -> None:
        """Train both; the first update of each warms up and is not counted."""
        with tempfile.TemporaryDirectory() as folder:
            trainer = trl_trainer(self.theirs, self.batches, self.ours.group_size, self._pay_theirs, folder)
            trainer.add_callback(_callback(self))
            trainer.train()

    def _pay_theirs(self, completions: Sequence[str], completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
        texts = parse_completions(self.theirs.tokenizer, completion_ids)
        self.length["TRL"].append(float(np.mean([len(ids) for ids in completion_ids])))
        self.paid += 1
        return self.front.pay(self.batches[self.paid - 1], texts)

    def turn(self, number: int) -> None:
        """Our update on the round's queries, and its floor."""
        start, cpu = time.perf_counter(), time.process_time()
        taken = self.ours.update(self.batches[number])
        self.clock["ours"].append(time.perf_counter() - start)
        self.clock["ours, CPU"].append(time.process_time() - cpu)
        rollout, rewards_P_G = self.ours.rollout, self.ours.rewards_P_G
        from agents.policy.losses import zero_variance_groups

        same_P = zero_variance_groups(rewards_P_G)
        machine = Machine.measure(rollout.tokens_N_T.device)
        least = floors(Shape.of(self.ours.student.model), rollout, (~same_P).nonzero().squeeze(1), machine)
        self.least.append({**least, "retrieve+judge": self.ours.front.engine_alone()})
        self.taken.append(taken)
        self.length["ours"].append(float(rollout.mask_N_T.sum(dim=1).mean()))
        self.same.append(float(same_P.float().mean()))

    def ratios(self) -> dict[str, float]:
        """TRL / ours, by the clock and by CPU seconds."""
        return {
            "TRL / ours": _ratio(self.clock["TRL"], self.clock["ours"]),
            "TRL / ours, CPU seconds": _ratio(self.clock["TRL, CPU"], self.clock["ours, CPU"]),
        }

    def phases(self) -> dict[str, dict[str, float]]:
        """Seconds, the floor's, and their ratio, medians over rounds."""
        table = {}
        for phase in PHASES:
            taken, least = ([row.get(phase, 0.0) for row in rows[1:]] for rows in (self.taken, self.least))
            row = {"seconds": median(taken)}
            known = [(t, floor) for t, floor in zip(taken, least, strict=True) if floor]
            if known:
                row |= {"floor": median(f for _, f in known), "above floor": median(t / f for t, f in known)}
            table[phase] = row
        return table

    def facts(self) -> dict[str, float]:
        """Seconds an update of both, how long the rewrites were (tokens), how many groups were not learned from."""
        clock = {f"seconds {who}": median(values[1:]) for who, values in self.clock.items()}
        lengths = {f"mean length {who}": median(values[1:]) for who, values in self.length.items()}
        return clock | lengths | {"identical groups": median(self.same[1:])}


def _ratio(top: Sequence[float], bottom: Sequence[float]) -> float:
    return median(a / b for a, b in zip(top[1:], bottom[1:], strict=True))


def trl_trainer(
    student: Student, batches: Sequence[Sequence[Query]], group_size: int, pay: Callable[..., Any], folder: str
) -> Any:
    """TRL's trainer with our settings: one step an update, on the queries of the batches in their order."""
    from datasets import Dataset
    from trl import GRPOConfig as TRLConfig
    from trl import GRPOTrainer

    config = TRLConfig(
        output_dir=folder, max_steps=len(batches), per_device_train_batch_size=len(batches[0]) * group_size,
        num_generations=group_size, max_completion_length=student.max_new_tokens, learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant", temperature=1.0, beta=0.0, epsilon=0.2, epsilon_high=0.28, loss_type="bnpo",
        max_grad_norm=1.0, shuffle_dataset=False, bf16=False, gradient_checkpointing=False, disable_tqdm=True,
        use_cpu=student.model.device.type == "cpu", report_to="none", logging_strategy="no", save_strategy="no",
        dataloader_pin_memory=False,
    )  # fmt: skip
    prompts = [prompt_text(query.text) for batch in batches for query in batch]
    return GRPOTrainer(
        model=student.model, args=config, processing_class=student.tokenizer, reward_funcs=pay,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
    )  # fmt: skip


def _callback(turns: _Turns) -> Any:
    """Times each step of TRL, and has us take our turn before it or after it."""
    from transformers import TrainerCallback

    class Turn(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step % 2:
                turns.turn(state.global_step)
            self.start, self.cpu = time.perf_counter(), time.process_time()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            turns.clock["TRL"].append(time.perf_counter() - self.start)
            turns.clock["TRL, CPU"].append(time.process_time() - self.cpu)
            if state.global_step % 2:  # counted up by now
                turns.turn(state.global_step - 1)

    return Turn()
