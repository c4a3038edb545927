"""Search engine, judge and agents that `qr pairs` asks about candidate rewrites; each is opened at its first use."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from agents.examples.scoring import FeedbackScorer
from agents.factory import AgentOptions, make_agent
from judges.factory import auto_judge, needs_encoder, open_judge
from qr_env.common.download import cache_root
from qr_env.common.protocols import Agent, Judge, Retriever, TextEncoder
from qr_env.environment.simulator import Simulator
from qr_env.retrieval.factory import default_encoder, make_retriever, retriever_uses_encoder
from qr_env.reward.reward import Reward
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from runs.pairs.args import PairConfig


@dataclass
class PairSetup:
    """Opens the parts that a `PairConfig` names."""

    config: PairConfig
    """settings of the pairs"""
    shop: Shop
    """the shop that is searched"""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """how files are read that an agent names"""

    @cached_property
    def encoder(self) -> TextEncoder:
        """Sentence encoder of dense retrieval and the embedding judge."""
        return default_encoder()

    @cached_property
    def retriever(self) -> Retriever:
        """Search engine."""
        encoder = self.encoder if retriever_uses_encoder(self.config.retriever) else None
        return make_retriever(self.config.retriever, self.shop, cache_root(), encoder)

    @cached_property
    def judge(self) -> Judge:
        """Judge; if it reads labels, then those of the train split only."""
        spec = self.config.judge
        if spec == "auto":
            spec = auto_judge(self.shop)
        encoder = self.encoder if needs_encoder(spec) else None
        options = replace(self.config.judge_options(encoder), split="train")
        return open_judge(spec, self.shop, options)

    @cached_property
    def score(self) -> FeedbackScorer:
        """Scores candidate rewrites by searching them and grading what they find."""
        return FeedbackScorer(self._simulator)

    def _simulator(self, blocks: int, group_size: int) -> Simulator:
        return Simulator(
            self.shop,
            self.retriever,
            self.judge,
            Reward(self.config.reward),
            blocks=blocks,
            group_size=group_size,
            mode=self.config.combine,
            original_weight=self.config.weight,
        )

    def agent(self, spec: str) -> Agent:
        """An agent of `qr evaluate` by name."""
        options = AgentOptions(
            self.shop, self.retriever, self.config.combine, self.config.weight, self._open_encoder, self._open_judge,
            store=self.config.store or cache_root(), seed=self.config.seed, reading=self.reading,
        )  # fmt: skip
        return make_agent(spec, options)

    def _open_encoder(self) -> TextEncoder:
        return self.encoder

    def _open_judge(self) -> Judge:
        return self.judge
