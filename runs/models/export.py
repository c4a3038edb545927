"""`qr models export`: convert a student, and compare it with its checkpoint; settings: `runs/models/args.py`."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from agents.checks import check_agent
from agents.policy.fast.export import check_export, export_student
from agents.policy.prompt import parse_completions
from agents.policy.student import Student
from qr_env.common.atomic_io import atomic_folder, saving
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Agent
from qr_env.common.types import JsonDict
from runs.common.checks import about, check_folder
from runs.common.output import write_json
from runs.common.serving.args import RewriterArgs
from runs.common.serving.rewriter import OpenRewriter, open_rewriter
from runs.common.timing import stamped
from runs.models.args import Args

TIMED = 100  # queries that are rewritten one at a time by both


def export(args: Args) -> None:
    """Convert, compare, print; `out` is replaced only where enough rewrites are equal."""
    if len(args.names) != 1 or args.out is None:
        raise ConfigError("qr models export CHECKPOINT --out FOLDER: name one checkpoint, and out")
    check_folder("out", args.out)
    with about("checkpoint", args.names[0]):
        check_agent(args.names[0])
    check_export(Path(args.names[0]), args.out)
    with tempfile.TemporaryDirectory() as scratch:
        figures = convert(args, args.names[0], Path(scratch) / "exported")
        write_json(args.json, stamped({"verb": "models export", "quantization": args.quantization, **figures}))
        if figures["equal"] < args.min_equal and not args.force:
            raise ConfigError(
                f"only {figures['equal']:.1%} of {figures['queries']:,} rewrites are the checkpoint's (min_equal="
                f"{args.min_equal:g}): take quantization='float32', or force"
            )
        with saving(args.out), atomic_folder(args.out) as folder:
            shutil.copytree(Path(scratch) / "exported", folder, dirs_exist_ok=True)
    if args.json != "-":
        print(
            f"{args.out}: {figures['equal']:.2%} of {figures['queries']:,} rewrites equal\n"
            f"one query, ms (p50, p99): exported {figures['exported p50 ms']:.2f}, {figures['exported p99 ms']:.2f}; "
            f"checkpoint {figures['checkpoint p50 ms']:.2f}, {figures['checkpoint p99 ms']:.2f}; transformers' "
            f"generate {figures['generate p50 ms']:.2f}, {figures['generate p99 ms']:.2f}: "
            f"{figures['generate p50 ms'] / figures['exported p50 ms']:.1f} times as fast as generate"
        )


def convert(args: Args, checkpoint: str, folder: Path) -> JsonDict:
    """Export the checkpoint to `folder`; the figures of `compared`, the seconds, and the checkpoint's path."""
    started = time.perf_counter()
    facts = export_student(Path(checkpoint), folder, args.quantization)
    seconds = time.perf_counter() - started
    return compared(args, checkpoint, folder) | {"seconds to convert": seconds, "source": facts.source}


def compared(args: Args, checkpoint: str, exported: Path) -> JsonDict:
    """Share of equal rewrites; milliseconds of one query at a time, suggestions being known, of the exported student,
    the checkpoint, and transformers' `generate` on the checkpoint's model."""
    flags = RewriterArgs(shop=args.shop, cache=str(args.cache) if args.cache else None)
    original = open_rewriter(checkpoint, flags)
    fast = open_rewriter(str(exported), flags, original.shop)
    queries = sample_queries(original, args.queries)
    rewrites = [[group[0] for group in rewritten(one.agent, queries)] for one in (original, fast)]
    equal = np.mean([one == other for one, other in zip(*rewrites, strict=True)])
    timed = queries[:TIMED]
    ours, theirs = (latencies(one.agent, timed) for one in (fast, original))
    assert isinstance(original.agent, Student)
    generated = latencies(Generating(original.agent), timed)
    return {
        "queries": len(queries),
        "equal": float(equal),
        **{f"exported p{p} ms": float(np.percentile(ours, p)) for p in (50, 99)},
        **{f"checkpoint p{p} ms": float(np.percentile(theirs, p)) for p in (50, 99)},
        **{f"generate p{p} ms": float(np.percentile(generated, p)) for p in (50, 99)},
    }


def sample_queries(opened: OpenRewriter, count: int) -> list[str]:
    """Different queries of the shop, test queries first."""
    shop = opened.shop
    texts = [query.text for split in ("test", "dev", "train") for query in shop.split(split)]
    found = list(dict.fromkeys(texts))[:count]
    if not found:
        raise ConfigError(f"{shop!r} has no query to compare the two by: name another shop")
    return found


def rewritten(agent: Agent, queries: Sequence[str]) -> list[list[str]]:
    """The rewrites, with a progress bar."""
    found: list[list[str]] = []
    with tqdm(total=len(queries), desc="compare", unit="query") as bar:
        for start in range(0, len(queries), 256):
            part = queries[start : start + 256]
            found += agent.rewrite(part)
            bar.update(len(part))
    return found


class Generating:
    """A student that decodes by transformers' `generate`, as one would without this project."""

    def __init__(self, student: Student) -> None:
        self.name, self._student = "generate", student

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The greedy rewrite of each query."""
        student = self._student
        tokens = student.tokenizer(student.prompts(queries), return_tensors="pt", padding=True, padding_side="left")
        with torch.no_grad():
            ids = student.model.generate(  # type: ignore[operator]
                input_ids=tokens["input_ids"],
                attention_mask=tokens["attention_mask"],
                max_new_tokens=student.max_new_tokens,
                do_sample=False,
                pad_token_id=student.tokenizer.pad_token_id,
            )
        texts = parse_completions(student.tokenizer, ids[:, tokens["input_ids"].shape[1] :].tolist())
        return [[text] for text in texts]


def latencies(agent: Agent, queries: Sequence[str]) -> list[float]:
    """Milliseconds of each query by itself."""
    found = []
    for query in queries:
        started = time.perf_counter()
        agent.rewrite([query])
        found.append(1_000 * (time.perf_counter() - started))
    return found
