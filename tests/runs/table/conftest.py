"""Builds of tables on the tiny shop, with a rewriter of fixed answers; engine, labels, guard, files are real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agents.factory import AgentOptions
from qr_env.retrieval.factory import make_retriever
from qr_env.shop.load import load_shop
from runs.common.serving.rewriter import OpenRewriter, RewriterPlan, version_of
from runs.table import build
from runs.table.args import BuildArgs

ANSWERS = {"couch": "sofa", "red couch": "red sofa", "sofa": "zebra", "red sofa": "red sofa^2 settee^0.3"}


@dataclass
class FixedRewriter:
    """An agent whose answers are written down; it counts the queries."""

    answers: dict[str, str] = field(default_factory=lambda: dict(ANSWERS))
    """query → rewrite"""
    name: str = "fixed"
    """of the agent"""
    asked: int = 0
    """queries so far"""

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The written answers; others are kept."""
        self.asked += len(queries)
        return [[self.answers.get(query, query)] * n for query in queries]


@pytest.fixture
def rewriter(monkeypatch: pytest.MonkeyPatch) -> FixedRewriter:
    """What every build of the test opens; its version is of its answers."""
    agent = FixedRewriter()

    def opened(spec: str, args: BuildArgs) -> OpenRewriter:
        shop = load_shop(args.shop, options=args.read_options())
        engine = make_retriever("bm25", shop, Path(args.cache or ""))
        plan = RewriterPlan(spec, args.shop, "bm25", "expand", 1.0, "", None)
        version = version_of(str(sorted(agent.answers.items())), shop)
        return OpenRewriter(agent, plan, version, shop, engine, AgentOptions(shop, engine))

    monkeypatch.setattr(build, "open_rewriter", opened)
    return agent


@pytest.fixture
def make(tmp_path: Path, shop_folder: Path, rewriter: FixedRewriter) -> Callable[..., Path]:
    """Build a table with these flags; the file."""

    def made(**flags: object) -> Path:
        settings = {"out": str(tmp_path / "t.db"), "judge": "labels", "strict": 0} | flags
        args = BuildArgs("identity", shop=str(shop_folder), cache=str(tmp_path / "cache"), **settings)  # type: ignore[arg-type]
        build.main(args)
        return Path(args.out)

    return made
