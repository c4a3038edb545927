"""The rewriters that train nothing, as every evaluation of a run shows them.

    suggest = suggest_plan(args, setup)              # whose titles it takes its words from, and why
    agents = untrained_agents(args, setup, suggest)

`suggest` takes its words from the titles of a second engine. Beside bm25 that is a dense one, which needs a vector for
every product: minutes on a CPU. A run that has them (its judge or an earlier run made them) uses them. One that has not
takes bm25's own titles instead, says so, and writes that into OUT/suggest.json, so that what is served is what was
measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from agents.factory import AgentOptions, make_agent, make_suggest
from agents.suggestions.settings import SuggestSettings
from qr_env.common.download import cache_root
from qr_env.common.messages import print_message
from qr_env.common.protocols import Agent
from qr_env.models.hub import model_folder
from qr_env.retrieval.encoder import vectors_file
from qr_env.retrieval.factory import DEFAULT_ENCODER, default_encoder
from runs.online.args import Args
from runs.online.setup import TrainingSetup, suggest_settings

UNTRAINED_COLUMNS = ("identity", "spell", "rm3", "repair", "suggest")  # of the table, from left to right
SUGGEST_FILE = "suggest.json"
EMBEDDED_AT_ONCE = 4_000  # products that are embedded for `suggest` alone: about 25 s on two cores
TITLES_PER_SECOND = 175  # MiniLM on two cores


@dataclass(frozen=True)
class SuggestPlan:
    """How `suggest` is built."""

    settings: SuggestSettings
    """its constants, and whose titles it reads"""
    made_with: str
    """that in words, for tables"""


def suggest_plan(args: Args, setup: TrainingSetup) -> SuggestPlan:
    """The settings, with bm25's own titles where the products have no vectors and too many to embed them now."""
    settings, engine = suggest_settings(args), setup.retriever.name
    if settings.engine == "own" or engine not in ("bm25", "dense"):
        return SuggestPlan(settings, f"words of {engine}'s own titles")
    if engine == "dense":
        return SuggestPlan(settings, "words of bm25's titles")
    if has_vectors(setup):
        return SuggestPlan(settings, f"words of dense titles ({DEFAULT_ENCODER})")
    count = len(setup.shop.products)
    print_message(
        f"suggest takes the words of bm25's own titles: the shop's {count:,} products are not embedded. To embed them "
        f"(about {math.ceil(count / TITLES_PER_SECOND / 60)} minutes) and compare again: "
        f"qr evaluate --shop {args.shop} --agent suggest; then remove {args.out / 'serve.json'} and go on with --resume"
    )
    return SuggestPlan(replace(settings, engine="own"), "words of bm25's own titles, as no product is embedded")


def has_vectors(setup: TrainingSetup) -> bool:
    """Whether the products' vectors are on disk, or few enough to make them now by an encoder that is on disk."""
    if not model_folder(DEFAULT_ENCODER).is_dir():
        return False
    few = len(setup.shop.products) <= EMBEDDED_AT_ONCE
    return few or vectors_file(setup.shop, default_encoder(), cache_root()).is_file()


def untrained_agents(args: Args, setup: TrainingSetup, suggest: SuggestPlan) -> list[Agent]:
    """The agents of `UNTRAINED_COLUMNS` on the run's engine."""
    options = AgentOptions(
        setup.shop, setup.retriever, args.combine, args.weight, default_encoder, cache_dir=cache_root(), seed=args.seed
    )  # fmt: skip
    return [
        make_suggest(options, suggest.settings) if name == "suggest" else make_agent(name, options)
        for name in UNTRAINED_COLUMNS
    ]


def untrained_spec(name: str) -> str:
    """The name by which `agents.factory.make_agent` opens one of these agents, its file relative to the run folder."""
    return f"{name}:{SUGGEST_FILE}" if name == "suggest" else name
