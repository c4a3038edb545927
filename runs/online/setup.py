"""The training setup: shop, engine, judge, shopper and reward, built from the settings of `qr online`.

setup = build_setup(args, shop)
envs = setup.environment(make_stream(args, shop, setup.drift), prompts=32, group_size=8, max_turns=1)
evaluate = TrainingEvaluation(setup, args)      # runs/online/evaluation.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from agents.examples.anchor import TYPO_VARIANTS, AnchorPairs
from agents.examples.candidates import AllCandidates, CandidateSource, ChoiceCandidates, ChoiceScorer, LogCandidates
from agents.examples.scoring import RewardScorer, Scorer
from agents.factory import AgentOptions, make_suggester
from agents.query_log.word_model import word_model
from agents.suggestions.settings import SuggestSettings, TitleEngine
from agents.suggestions.suggester import OfferSettings, Suggester
from judges.factory import JudgeOptions, default_encoder, needs_encoder, open_judge, open_shopper, uses_language_model
from judges.shoppers.feedback import read_feedback, with_feedback
from judges.validation.gate import Gate, GateResult
from judges.validation.planted import plant
from qr_env.common.download import cache_root
from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from qr_env.common.plugins import load_plugin
from qr_env.common.protocols import Judge, Retriever, Shopper, Stream
from qr_env.common.types import Query, RewardTerms
from qr_env.environment.simulator import Simulator
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.retrieval.factory import make_retriever, retriever_uses_encoder
from qr_env.retrieval.live_catalogue import LiveRetriever
from qr_env.reward.feedback import Feedback
from qr_env.reward.paper_rewards import NEED_SHOPPER, PAPER_REWARDS
from qr_env.reward.reward import Reward, Weights
from qr_env.shop.shop import Shop
from qr_env.traffic.drift import Drift
from runs.common.query_log import has_made_queries, has_purchases, load_training_shop
from runs.online.args import Args
from runs.online.traffic import make_drift

RECENT_QUERIES = 1_024  # with drift, only the anchor pairs of the last so many queries are replayed
PURCHASE_WEIGHT = 0.5  # with a shopper, where no weight of click, cart or purchase is given

RewardFunction = Callable[[Feedback], RewardTerms]


@dataclass
class TrainingSetup:
    """The built objects that training, evaluation and report share."""

    shop: Shop
    """The shop with its query log."""
    retriever: Retriever
    """The engine; with drift it searches what is on sale at the moment."""
    judge: Judge
    """Grades result lists while the student learns."""
    reward: RewardFunction
    """Feedback of N steps → named reward terms, (N,) each."""
    shopper: Shopper | None = None
    """Clicks, carts and purchases; None without a shopper."""
    gate: Gate = field(default_factory=Gate)
    """Smallest agreement with human grades that the judge must have."""
    gate_result: GateResult | None = None
    """The judge's agreement at the start; None where no agreement is required."""
    drift: Drift | None = None
    """Changes of words, products and traffic; None in a shop that stays as it is."""
    combine: Literal["expand", "replace", "union"] = "expand"
    """How a rewrite meets its original query."""
    original_weight: float = 1.0
    """Weight of the original's words in "expand"."""
    seed: int = 0
    """The run's seed."""
    suggester: Suggester | None = None
    """Offers the words that the student chooses from; None: it sees the query alone."""

    def simulator(self, blocks: int, group_size: int) -> Simulator:
        """A simulator of `blocks` queries with `group_size` rewrites each."""
        return Simulator(
            self.shop,
            self.retriever,
            self.judge,
            self.reward,
            blocks=blocks,
            group_size=group_size,
            mode=self.combine,
            original_weight=self.original_weight,
            shopper=self.shopper,
        )

    def environment(self, stream: Stream, prompts: int, group_size: int, max_turns: int) -> QueryRewriteVectorEnv:
        """The vectorized environment on a stream: `prompts` queries at a time, `group_size` rewrites each."""
        return QueryRewriteVectorEnv(
            shop=self.shop,
            retriever=self.retriever,
            judge=self.judge,
            reward=self.reward,
            num_envs=prompts * group_size,
            group_size=group_size,
            stream=stream,
            max_turns=max_turns,
            combine=self.combine,
            original_weight=self.original_weight,
            shopper=self.shopper,
        )

    def anchor_pairs(self) -> AnchorPairs:
        """Completions that the query log or the suggester proposes for streaming queries."""
        # The result lists of typo variants must be graded too, which a language model does too slowly, and suggestions
        # would have to be found for them.
        typo_variants = 0 if uses_language_model(self.judge) or self.suggester is not None else TYPO_VARIANTS
        source = self.candidate_source(self.shop.split("train"))
        pairs = AnchorPairs(source, self.scorer(), typo_variants, self.seed)
        if self.drift is None:
            return pairs
        return replace(pairs, epoch=self._assortment_epoch, recent=RECENT_QUERIES)

    def candidate_source(self, queries: Sequence[Query]) -> CandidateSource:
        """Proposes completions: choices of suggestions, and words of what was bought for these queries."""
        sources: list[CandidateSource] = []
        if self.suggester is not None:
            sources.append(ChoiceCandidates(self.suggester))
        if self.suggester is None or has_purchases(self.shop):
            sources.append(LogCandidates(word_model(self.shop, queries), self.combine != "expand"))
        return AllCandidates(sources)

    def scorer(self) -> Scorer:
        """Rewards of completions by engine and judge."""
        score = RewardScorer(self.simulator)
        return score if self.suggester is None else ChoiceScorer(score, self.suggester)

    def _assortment_epoch(self) -> int:
        """A number that rises with every change of what is on sale."""
        return self.drift.assortment_changes if self.drift is not None else 0

    def evaluator(
        self, split: str, judge: Judge | None, limit: int | None = None, typed_only: bool = False
    ) -> HeldOutEvaluator:
        """Scores agents on a split, by a judge or by labels (None), at the current moment of the drift.

        typed_only: leave out queries that were made from the catalogue.
        """
        shop = self.shop if self.drift is None else self.drift.shop_at(self.drift.clock)
        return HeldOutEvaluator(
            shop, self.retriever, split, self.combine, self.original_weight, judge, limit=limit, seed=self.seed,
            typed_only=typed_only,
        )  # fmt: skip

    def has_labels(self, split: str) -> bool:
        """Whether any query of the split has a grade."""
        return any(self.shop.qrels[query.row].nnz for query in self.shop.split(split))


def load_shop_of(args: Args) -> Shop:
    """The shop of the settings, with queries to learn from, and with the products of --plant."""
    shop = load_training_shop(args.shop, args.data, args.read_options(), args.suggestions.titles != "none")
    shop = learned_from_feedback(args, shop)
    return plant(shop, args.plant, args.seed)


def learned_from_feedback(args: Args, shop: Shop) -> Shop:
    """The shop, with what shoppers bought and clicked in the logs of --feedback as purchases of its train queries."""
    if not args.feedback:
        return shop
    feedback = read_feedback(args.feedback, shop, args.read_options())
    print_message(f"feedback: {feedback}")
    return with_feedback(shop, feedback)


def build_setup(args: Args, shop: Shop) -> TrainingSetup:
    """Build engine, judge, shopper and reward.

    Raises:
        ConfigError: an unknown name, or a reward that needs a shopper where there is none.
        JudgeError: the gate refuses the judge.
    """
    titles = suggested_titles(args, shop)
    encoder = default_encoder() if has_encoder(args) or titles == "second" else None
    engine = make_retriever(args.retriever, shop, cache_root(), encoder)
    drift = make_drift(args, shop)
    retriever: Retriever = engine if drift is None else LiveRetriever(engine, drift.assortment)
    options = replace(judge_options(args), encoder=encoder)
    judge = open_judge(args.judge, shop, options)
    shopper = open_shopper(args.shopper, shop, options)
    reward = make_reward(args.reward_scheme, args.reward, shopper)
    gate = make_gate(args)
    gate_result = None if gate.is_open else gate.enforce(gate.check(judge, shop, retriever=retriever))
    if gate_result is not None:
        print_message(gate_result)
    suggester = None if titles == "none" else open_suggester(args, shop, engine, titles)
    return TrainingSetup(
        shop, retriever, judge, reward, shopper, gate, gate_result, drift, args.combine, args.weight, args.seed,
        suggester,
    )  # fmt: skip


def make_gate(args: Args) -> Gate:
    """The smallest agreement with human grades that the judge must have."""
    settings = args.judging
    return Gate(
        settings.min_kappa, settings.min_pair_accuracy, settings.low_kappa, seed=args.seed,
        labels=settings.kappa_labels, reading=args.read_options(),
    )  # fmt: skip


def open_suggester(args: Args, shop: Shop, engine: Retriever, titles: TitleEngine) -> Suggester:
    """Offers words to the student. With drift it searches the engine as it is at the start: offers do not change."""
    options = AgentOptions(
        shop, engine, args.combine, args.weight, default_encoder, cache_dir=cache_root(), seed=args.seed
    )  # fmt: skip
    constants = replace(suggest_settings(args), engine=titles)
    offered = args.suggestions
    return make_suggester(options, OfferSettings(offered.sources, offered.most, offered.gated, constants))


def suggested_titles(args: Args, shop: Shop) -> TitleEngine | Literal["none"]:
    """`suggestions.titles`, where auto depends on the shop's purchases and on whether texts are embedded anyway."""
    if args.suggestions.titles != "auto":
        return args.suggestions.titles
    if has_purchases(shop) and not has_made_queries(shop):
        return "none"
    if args.evaluation.suggest is not None:
        return suggest_settings(args).engine
    return "second" if has_encoder(args) else "own"


def has_encoder(args: Args) -> bool:
    """Whether the engine or the judge embeds the shop's titles."""
    return retriever_uses_encoder(args.retriever) or needs_encoder(args.judge)


def suggest_settings(args: Args) -> SuggestSettings:
    """Those of `evaluation.suggest`, or the defaults.

    Raises:
        ConfigError: the file cannot be read.
    """
    return SuggestSettings() if args.evaluation.suggest is None else SuggestSettings.read(args.evaluation.suggest)


def judge_options(args: Args) -> JudgeOptions:
    """Options of `open_judge`; verdicts are stored in the run's folder unless --judge-store names another."""
    settings, store = args.judging, args.judge_store or args.out / "verdicts"
    return JudgeOptions(
        args.judge_url,
        settings.model,
        store,
        sanitize=settings.sanitize,
        prompt=settings.prompt,
        seed=args.seed,
        timeout=settings.timeout,
    )


def make_reward(scheme: str, weights: Weights, shopper: Shopper | None) -> RewardFunction:
    """This project's reward ("weights"), a published one, or one that an installed package registers.

    With a shopper but no weight of click, cart or purchase, a purchase weighs `PURCHASE_WEIGHT`.
    """
    if scheme != "weights":
        require_shopper(scheme, "none" if shopper is None else shopper.name)
        return load_plugin("qr_env.rewards", scheme, PAPER_REWARDS)
    if shopper is not None and not weights.needs_shopper:
        weights = replace(weights, purchase=PURCHASE_WEIGHT)
    return Reward(weights)


def require_shopper(scheme: str, shopper: str) -> None:
    """Raise ConfigError for a reward scheme that rewards conversion where there is no shopper."""
    if scheme in NEED_SHOPPER and shopper == "none":
        raise ConfigError(f"reward_scheme={scheme!r} rewards conversion: it needs shopper='model', or 'llm'")
