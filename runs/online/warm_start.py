"""The warm start of `qr online`: a student that has read the shop's text and imitates what engine and judge like."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from qr_env.common.messages import print_message

if TYPE_CHECKING:
    from agents.policy.student import Student
    from qr_env.shop.shop import Shop
    from runs.online.args import Args
    from runs.online.setup import TrainingSetup

WARM_EPOCHS = 2.0


def learning_rate(args: Args) -> float:
    """A model from noise can take large steps; a pretrained one would forget what it knows."""
    own = 1e-3 if args.student == "tiny" else 4e-5
    return own if args.learning_rate is None else args.learning_rate


def save_warm_start(args: Args, world: TrainingSetup | None = None) -> None:
    """Make the warm start and keep it and its pairs in the run folder; without a world, as a process of its own has
    none, the shop is read anew."""
    import torch

    from agents.policy.checkpoint import save_student
    from runs.common.query_log import read_shop
    from runs.online.setup import TrainingSetup

    if world is None:
        torch.manual_seed(args.seed)  # as the launcher does before it reads the shop
        world = TrainingSetup.make(args, read_shop(args))
    student, pairs = warm_start(args, world)
    (args.out / "warm_pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    save_student(args.out / "checkpoints" / "warm", student)


def warm_start(args: Args, world: TrainingSetup) -> tuple[Student, list[tuple[str, str]]]:
    """A student that has read the shop's text (tiny) and imitates rewrites that engine and judge like."""
    from agents.supervised.sft import fine_tune, response_sequences

    student = replace(new_student(args, world.shop), combine=args.combine, weight=args.weight)
    pairs = warm_pairs(args, world)
    if pairs:
        sequences = response_sequences(student.tokenizer, pairs)
        result = fine_tune(
            student.model, student.tokenizer, sequences, learning_rate=learning_rate(args),
            batch_size=32, epochs=WARM_EPOCHS, seed=args.seed, description="warm start",
        )  # fmt: skip
        print_message(f"warm start: loss {result['train_loss']:.2f}, {result['train_runtime']:.0f} s")
    return student, pairs


def new_student(args: Args, shop: Shop) -> Student:
    """`tiny`, pretrained on this shop, or a pretrained causal LM."""
    from agents.policy.student import Student, pretrained_student

    if args.student != "tiny":
        return pretrained_student(args.student, args.max_new_tokens, args.lora_rank)
    from agents.supervised.tiny import pretrain_tiny

    model, tokenizer, result = pretrain_tiny(shop, args.pretrain, args.seed)
    print_message(
        f"tiny: {model.num_parameters():,} parameters, loss {result['train_loss']:.2f}, {result['train_runtime']:.0f} s"
    )
    return Student(model, tokenizer, "tiny", args.max_new_tokens)


def warm_pairs(args: Args, world: TrainingSetup) -> list[tuple[str, str]]:
    """Pairs from the most frequent queries of the past, by rejection sampling."""
    from agents.examples.pairs import rejection_sample
    from agents.examples.scoring import RewardScorer
    from agents.query_log.word_model import candidates, word_model

    past = sorted(world.shop.split("train"), key=lambda query: -query.frequency)[: args.warm_queries]
    if not past:
        return []
    options = candidates(word_model(world.shop, past), past)
    if args.combine != "expand":
        options = [[f"{query.text} {text}" for text in texts] for query, texts in zip(past, options, strict=True)]
    found = rejection_sample(past, options, RewardScorer(world.simulator))
    print_message(
        f"warm pairs: {found.candidates:,} candidates, {found.rewritten:,} queries rewritten, {found.unchanged:,} left alone, "
        f"{found.unjudged:,} without a verdict"
    )
    return found.pairs
