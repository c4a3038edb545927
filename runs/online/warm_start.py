"""The warm start: pretrain `tiny` on the shop's text, then imitate rewrites that engine and judge accept."""

from __future__ import annotations

import json
from dataclasses import replace

import torch

from agents.examples.pairs import rejection_sample
from agents.policy.checkpoint import save_student
from agents.policy.student import Student, pretrained_student
from agents.supervised.sft import fine_tune, prompted_sequences
from agents.supervised.tiny import pretrain_tiny
from qr_env.common.messages import print_message
from runs.online.args import Args
from runs.online.setup import TrainingSetup, build_setup, load_shop_of

EPOCHS = 2.0


def learning_rate(args: Args) -> float:
    """--learning-rate, or the student's default: 1e-3 for `tiny`; 4e-5 for a pretrained model, against forgetting."""
    default = 1e-3 if args.student == "tiny" else 4e-5
    return default if args.learning_rate is None else args.learning_rate


def write_warm_start(args: Args, setup: TrainingSetup) -> None:
    """Write OUT/checkpoints/warm and the pairs it was trained on, OUT/warm_pairs.jsonl."""
    student, pairs = warm_start(args, setup)
    (args.out / "warm_pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    save_student(args.out / "checkpoints" / "warm", student)


def write_warm_start_in_subprocess(args: Args) -> None:
    """`write_warm_start` in a process of its own, which builds shop and setup anew with the launcher's seed."""
    torch.manual_seed(args.seed)
    write_warm_start(args, build_setup(args, load_shop_of(args)))


def warm_start(args: Args, setup: TrainingSetup) -> tuple[Student, list[tuple[str, str]]]:
    """The fine-tuned student, and its training pairs of query and completion."""
    student = new_student(args, setup)
    student = replace(student, combine=args.combine, weight=args.weight, suggester=setup.suggester)
    pairs = warm_pairs(args, setup)
    if pairs:
        sequences = prompted_sequences(student.tokenizer, student.training_pairs(pairs))
        result = fine_tune(
            student.model, student.tokenizer, sequences, learning_rate=learning_rate(args),
            batch_size=32, epochs=EPOCHS, seed=args.seed, description="warm start",
        )  # fmt: skip
        print_message(f"warm start: loss {result['train_loss']:.2f}, {result['train_runtime']:.0f} s")
    return student, pairs


def new_student(args: Args, setup: TrainingSetup) -> Student:
    """`tiny`, pretrained on this shop's text, or a pretrained causal LM."""
    if args.student != "tiny":
        return pretrained_student(args.student, args.learning.max_new_tokens, args.learning.lora_rank)
    model, tokenizer, result = pretrain_tiny(setup.shop, args.warm_start.pretrain, args.seed, suggester=setup.suggester)
    print_message(
        f"tiny: {model.num_parameters():,} parameters, loss {result['train_loss']:.2f}, {result['train_runtime']:.0f} s"
    )
    return Student(model, tokenizer, "tiny", args.learning.max_new_tokens)


def warm_pairs(args: Args, setup: TrainingSetup) -> list[tuple[str, str]]:
    """(query, completion) of the most frequent queries of the query log, by rejection sampling."""
    by_frequency = sorted(setup.shop.split("train"), key=lambda query: -query.frequency)
    queries = by_frequency[: args.warm_start.queries]
    if not queries:
        return []
    source = setup.candidate_source(queries)
    options, defaults = source.candidates(queries), source.defaults(queries)
    found = rejection_sample(queries, options, setup.scorer(), defaults=defaults)
    print_message(
        f"warm pairs: {found.candidates:,} candidates, {found.rewritten:,} queries rewritten, {found.unchanged:,} left "
        f"alone, {found.unjudged:,} without a verdict"
    )
    return found.pairs
