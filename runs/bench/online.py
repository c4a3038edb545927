"""`qr bench online`: one online update against TRL's GRPOTrainer, and against a roofline of the machine.

Both sides have the same weights at the start, the same queries each round (which no round had before), group size,
longest rewrite, reward (search, judge and feedback of the shop) and settings (temperature 1, clip 0.2 / 0.28, no KL,
one step of AdamW an update, float32, no gradient checkpointing). They take turns within one training run of TRL; the
side that goes first changes. Ours does less work for the same result: it reads a prompt once a group, pads nothing,
computes logits only of sampled tokens, and skips groups whose rewrites have equal rewards (their share is reported).

`TRL / ours` is the ratio of TRL's time to ours, the median over rounds, by the clock and by CPU seconds, which hardly
depend on the machine's other load.

The roofline of a phase is counted from the batch (`runs/bench/roofline.py`); `above roofline` is measured / roofline.
For search and judge it is the retriever's own search of the same texts. Phases and roofline are in CPU seconds where
one thread computes.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOConfig as TRLConfig
from trl import GRPOTrainer

from agents.policy.losses import zero_variance_groups
from agents.policy.prompt import parse_completions, prompt_text
from agents.policy.student import SETTINGS_FILE, Student, pretrained_student
from agents.supervised.tiny import pretrain_tiny
from qr_env.common.download import cache_root
from qr_env.common.protocols import Retriever
from qr_env.common.types import Query
from qr_env.retrieval.factory import make_retriever
from qr_env.shop import load_shop
from qr_env.shop.shop import Shop
from runs.bench.args import OnlineArgs
from runs.bench.output import named_values, publish, ratio_lines, refreshed
from runs.bench.roofline import Machine, Shape, one_thread, rooflines
from runs.bench.update import LEARNING_RATE, PHASES, OurUpdate, RewardService

SIZES = {"tiny": (32, 8)}  # queries and rewrites an update
LARGE = (8, 8)  # of any other student: what two cores do in half a minute


def main(args: OnlineArgs) -> None:
    """Measure, print, write."""
    shop = load_shop(args.shop, args.data, options=args.read_options())
    measured = bench(shop, make_retriever("bm25", shop, cache_root()), args.student, args.rounds)
    lines = ratio_lines(measured)
    for name, phases in measured["phases"].items():
        lines.append(f"{name}: {named_values(measured['updates'][name], '.3g')}")
        lines += [f"  {phase:15}{named_values(row, '8.4f')}" for phase, row in phases.items()]
    publish(measured, lines, args.json)


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
    """Ratios, and seconds and distance from the roofline by phase, for each student.

    Args:
        sizes: student → (queries, rewrites a query) an update.
        pretrain: sequences of the shop's text that `tiny` is pretrained on; it sets how long its rewrites are.
    """
    measured: dict[str, Any] = {"ratios": {}, "phases": {}, "updates": {}, "sizes": {"shop": repr(shop)}}
    measured["sizes"]["phases in"] = "CPU seconds" if one_thread() else "seconds"
    for name in students:
        prompts, group_size = (sizes or SIZES).get(name, LARGE)
        student = open_student(name, shop, max_new_tokens, pretrain, seed)
        turns = Turns.make(student, shop, retriever, prompts, group_size, rounds, seed)
        turns.run(name)
        measured["sizes"][name] = {
            "prompts": prompts, "group_size": group_size, "max_new_tokens": max_new_tokens,
            "parameters": student.model.num_parameters(), "rounds": rounds, "threads": torch.get_num_threads(),
        }  # fmt: skip
        for what, value in turns.ratios().items():
            measured["ratios"][f"{name}: {what}"] = value
        measured["phases"][name], measured["updates"][name] = turns.phases(), turns.facts()
    return measured


def open_student(name: str, shop: Shop, max_new_tokens: int, pretrain: int, seed: int) -> Student:
    """A saved student, any causal LM, or `tiny` pretrained on the shop's text."""
    if name != "tiny":
        saved = (Path(name) / SETTINGS_FILE).is_file()
        return Student.load(name, trainable=True) if saved else pretrained_student(name, max_new_tokens)
    model, tokenizer, _ = pretrain_tiny(shop, pretrain, seed)
    return Student(model, tokenizer, "tiny", max_new_tokens)


@dataclass
class Turns:
    """Updates in turn: TRL's within its training run, ours before or after each of its steps."""

    ours: OurUpdate
    """our side"""
    theirs: Student
    """the copy of the student that TRL trains"""
    service: RewardService
    """rewards of TRL's rewrites"""
    batches: list[list[Query]]
    """queries of each round; the first round warms up"""
    clock: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """side → seconds of each round, by the clock and by CPU"""
    taken: list[dict[str, float]] = field(default_factory=list)
    """our seconds by phase of each round"""
    least: list[dict[str, float]] = field(default_factory=list)
    """seconds of the roofline by phase of each round"""
    length: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """side → mean tokens of a rewrite of each round"""
    equal_groups: list[float] = field(default_factory=list)
    """share of groups with equal rewards of each round"""
    rewarded: int = 0
    """batches of TRL's that were rewarded so far"""

    @classmethod
    def make(
        cls, student: Student, shop: Shop, retriever: Retriever, prompts: int, group_size: int, rounds: int, seed: int
    ) -> Turns:
        """Both sides with the same weights, and one batch of queries a round."""
        queries = shop.split("train") or shop.all_queries
        order = np.random.default_rng(seed).permutation(len(queries)).tolist()
        need = prompts * (rounds + 1)
        chosen = [queries[order[i % len(order)]] for i in range(need)]
        theirs = Student(copy.deepcopy(student.model), student.tokenizer, student.name, student.max_new_tokens)
        generator = torch.Generator(student.model.device).manual_seed(seed)
        ours = OurUpdate(student, RewardService.open(shop, retriever, prompts, group_size), group_size, generator)
        service = RewardService.open(shop, retriever, prompts, group_size)
        return cls(ours, theirs, service, [chosen[i : i + prompts] for i in range(0, need, prompts)])

    def run(self, name: str) -> None:
        """Train both; the first update of each warms up and is not counted."""
        with tempfile.TemporaryDirectory() as folder, tqdm(total=len(self.batches), desc=name, unit="round") as bar:
            trainer = trl_trainer(self.theirs, self.batches, self.ours.group_size, self._reward_theirs, folder)
            trainer.add_callback(AlternatingTurns(self, bar))
            with refreshed(bar):
                trainer.train()

    def _reward_theirs(
        self, completions: Sequence[str], completion_ids: Sequence[Sequence[int]], **_: object
    ) -> list[float | None]:
        texts = parse_completions(self.theirs.tokenizer, completion_ids)
        self.length["TRL"].append(float(np.mean([len(ids) for ids in completion_ids])))
        self.rewarded += 1
        return list(self.service.rewards(self.batches[self.rewarded - 1], texts))

    def our_turn(self, number: int) -> None:
        """Our update on the round's queries, and its roofline."""
        start, cpu = time.perf_counter(), time.process_time()
        taken = self.ours.update(self.batches[number])
        self.clock["ours"].append(time.perf_counter() - start)
        self.clock["ours, CPU"].append(time.process_time() - cpu)
        rollout, rewards_PG = self.ours.rollout, self.ours.rewards_PG
        equal_P = zero_variance_groups(rewards_PG)
        machine = Machine.measure(rollout.tokens_NT.device)
        least = rooflines(Shape.of(self.ours.student.model), rollout, (~equal_P).nonzero().squeeze(1), machine)
        self.least.append({**least, "retrieve+judge": self.ours.service.search_seconds()})
        self.taken.append(taken)
        self.length["ours"].append(float(rollout.mask_NT.sum(dim=1).mean()))
        self.equal_groups.append(float(equal_P.float().mean()))

    def ratios(self) -> dict[str, float]:
        """TRL / ours, by the clock and by CPU seconds."""
        return {
            "TRL / ours": _median_ratio(self.clock["TRL"], self.clock["ours"]),
            "TRL / ours, CPU seconds": _median_ratio(self.clock["TRL, CPU"], self.clock["ours, CPU"]),
        }

    def phases(self) -> dict[str, dict[str, float]]:
        """Seconds, seconds of the roofline, and their ratio, medians over rounds."""
        table = {}
        for phase in PHASES:
            taken, least = ([row.get(phase, 0.0) for row in rows[1:]] for rows in (self.taken, self.least))
            row = {"seconds": median(taken)}
            known = [(seconds, roofline) for seconds, roofline in zip(taken, least, strict=True) if roofline]
            if known:
                row["roofline"] = median(roofline for _, roofline in known)
                row["above roofline"] = median(seconds / roofline for seconds, roofline in known)
            table[phase] = row
        return table

    def facts(self) -> dict[str, float]:
        """Seconds an update and tokens a rewrite of both sides, and the share of groups with equal rewards."""
        clock = {f"seconds {side}": median(values[1:]) for side, values in self.clock.items()}
        lengths = {f"mean length {side}": median(values[1:]) for side, values in self.length.items()}
        return clock | lengths | {"groups with equal rewards": median(self.equal_groups[1:])}


def _median_ratio(top: Sequence[float], bottom: Sequence[float]) -> float:
    return median(a / b for a, b in zip(top[1:], bottom[1:], strict=True))


def trl_trainer(
    student: Student,
    batches: Sequence[Sequence[Query]],
    group_size: int,
    reward_function: Callable[..., list[float | None]],
    folder: str,
) -> GRPOTrainer:
    """TRL's trainer with our settings: one step an update, on the queries of the batches in their order."""
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
        model=student.model, args=config, processing_class=student.tokenizer, reward_funcs=reward_function,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
    )  # fmt: skip


class AlternatingTurns(TrainerCallback):
    """Times each step of TRL, and runs our update before it or after it."""

    def __init__(self, turns: Turns, bar: tqdm[Any]) -> None:
        self.turns, self.bar = turns, bar
        self.start = self.cpu = 0.0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Our update first in every second round; then start the clock."""
        if state.global_step % 2:
            self.turns.our_turn(state.global_step)
        self.start, self.cpu = time.perf_counter(), time.process_time()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Stop the clock; then our update in the other rounds. TRL has counted its step already."""
        self.turns.clock["TRL"].append(time.perf_counter() - self.start)
        self.turns.clock["TRL, CPU"].append(time.process_time() - self.cpu)
        if state.global_step % 2:
            self.turns.our_turn(state.global_step - 1)
        self.bar.update()
