"""What a student learns in: shop, engine, judge, shopper and reward, put together from the launcher's settings.

world = TrainingSetup.make(args, shop)          # args of `qr online`
envs = world.envs()                     # the vectorised environment on the train split's stream
world.held_out_score()(student)         # figures on dev queries, the judge's state among them
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from judges.factory import JudgeOptions, judge_names, open_judge, open_shopper, uses_language_model
from judges.llm.prompt import GRADE
from judges.validation.gate import Gate, GateResult
from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from qr_env.common.protocols import Judge, Shopper
from qr_env.common.types import RewardTerms
from qr_env.reward.paper_rewards import NEED_SHOPPER, PAPER_REWARDS
from qr_env.reward.reward import Reward, Weights

if TYPE_CHECKING:
    from agents.examples.anchor import AnchorPairs
    from agents.policy.student import Student
    from judges.validation.probes import ProbeSet
    from qr_env.common.protocols import Agent, Retriever
    from qr_env.environment.simulator import Simulator
    from qr_env.environment.vector_env import QueryRewriteVectorEnv
    from qr_env.evaluation.evaluator import HeldOutEvaluator
    from qr_env.reward.feedback import Feedback
    from qr_env.shop.shop import Shop
    from qr_env.traffic.drift import Drift

BOTH = ("headroom", "better", "worse", "kept", "words ratio")  # figures that judge and labels both give
WITNESSES = {"report judge", "test labels"}  # seen in the Goodhart plot only
RECENT = 1_024  # queries whose hints are replayed in a shop that changes
CONVERSION = 0.5  # weight of a purchase where a shopper is asked for and no engagement is weighted


@dataclass(frozen=True)
class JudgeFlags:
    """Settings of judge and shopper, besides their names."""

    judge_url: tuple[str, ...] = ()
    """llm: base URLs of OpenAI-compatible servers, such as `qr judge serve` starts; else QR_JUDGE_URL."""
    judge_model: str | None = None
    """llm: the model's name at the server; the only one by default."""
    judge_prompt: str = GRADE
    """llm: a file of judges/llm/prompts/ (grade_v2; title_v1, without descriptions; list_v2, several products a request;
    json_v2; reason_v2), or a path."""
    judge_store: Path | None = None
    """Folder of the verdict store, in which every verdict is paid for once; OUT/verdicts by default."""
    judge_sanitize: bool = False
    """Clean product texts of what is written for a judge before it reads them."""
    min_kappa: float = 0.0
    """The gate: agreement with the shop's train and dev grades that a judge must have, at the start and at every
    evaluation; 0 asks for none."""
    kappa_labels: Path | None = None
    """Graded pairs of your own for the gate, where the shop has no grades of train or dev queries: CSV, TSV, JSONL or
    Parquet with query, product_id and level (0 … 3, or a name)."""
    low_kappa: Literal["refuse", "downweight"] = "refuse"
    """A judge below it: refused, or let in with a learning rate smaller by κ / min_kappa."""
    probes: int = 32
    """Queries with planted products that ride along at every evaluation (judge/exploit_rate); 0: none."""
    shopper: Literal["none", "model", "llm"] = "none"
    """Who clicks and buys: computed from grades, prices and tastes, or played by the judge's server. Set
    --reward.click, .cart, .purchase; without them a purchase weighs 0.5."""
    held_out: int = 500
    """Dev queries that are scored while learning."""
    report_judge: str = "auto"
    """Who reports at the end: auto is labels where there are any, else embedding. One that trained, alone or in an
    ensemble, may report too, which is said: its figures are the student's own aim. One that is named here also looks
    on while the student learns, for the report's Goodhart plot."""
    watch_test_labels: bool = False
    """Draw the test split's labels into that plot too, where a shop has no others (Icecat). They choose nothing; but
    whoever tunes a run by the sight of them has used them up."""

    def options(self, out: Path) -> JudgeOptions:
        """For `open_judge`, in a run's folder."""
        store = self.judge_store or out / "verdicts"
        return JudgeOptions(
            self.judge_url, self.judge_model, store, sanitize=self.judge_sanitize, prompt=self.judge_prompt
        )


@dataclass
class TrainingSetup:
    """What the student learns in. `gate` says how far the judge is trusted, `admitted` what it said at the start."""

    args: Any
    shop: Shop
    retriever: Retriever
    judge: Judge
    shopper: Shopper | None = None
    gate: Gate = field(default_factory=Gate)
    admitted: GateResult | None = None
    drift: Drift | None = None

    @classmethod
    def make(cls, args: Any, shop: Shop) -> TrainingSetup:
        """Engine, judge and shopper of the settings. Raises JudgeError for a judge that the gate refuses."""
        from judges.factory import default_encoder
        from qr_env.common.download import cache_root
        from qr_env.retrieval.factory import make_retriever
        from qr_env.retrieval.live_catalogue import LiveRetriever

        flags: JudgeFlags = args.judging
        encoder = default_encoder() if args.retriever != "bm25" or "embedding" in args.judge else None
        engine = make_retriever(args.retriever, shop, cache_root(), encoder)
        drift = args.streaming.make_drift(shop, args.on_bad_row)
        retriever: Retriever = engine if drift is None else LiveRetriever(engine, drift.assortment)
        options = replace(flags.options(args.out), encoder=encoder)
        gate = Gate(flags.min_kappa, flags.low_kappa, seed=args.seed, labels=flags.kappa_labels)
        world = cls(args, shop, retriever, open_judge(args.judge, shop, options), gate=gate, drift=drift)
        world.shopper = open_shopper(flags.shopper, shop, options)
        if args.learning.pay in NEED_SHOPPER and world.shopper is None:
            raise ConfigError(f"--pay {args.learning.pay} pays conversion: it needs --shopper model or llm")
        if gate.min_kappa:
            world.admitted = gate.enforce(gate.check(world.judge, shop, retriever=retriever))
            print_message(world.admitted)
        return world

    @property
    def reward(self) -> Callable[[Feedback], RewardTerms]:
        """Another system's by name, else ours by the settings' weights; a shopper whose engagement nobody weighted is
        paid for by purchases."""
        if self.args.learning.pay != "weights":
            return PAPER_REWARDS[self.args.learning.pay]
        weights: Weights = self.args.reward
        if self.shopper is not None and not weights.needs_shopper:
            weights = replace(weights, purchase=CONVERSION)
        return Reward(weights)

    def simulator(self, blocks: int, group_size: int) -> Simulator:
        """The shop as the student meets it."""
        from qr_env.environment.simulator import Simulator

        return Simulator(
            *(self.shop, self.retriever, self.judge, self.reward),
            blocks=blocks,
            group_size=group_size,
            mode=self.args.combine,
            original_weight=self.args.weight,
            shopper=self.shopper,
        )

    def hints(self) -> AnchorPairs:
        """Rewrites that the train split's log suggests."""
        from agents.examples.anchor import TYPO_VARIANTS, AnchorPairs
        from agents.examples.scoring import RewardScorer
        from agents.query_log.word_model import word_model

        model = word_model(self.shop, self.shop.split("train"))
        slips = (
            0 if uses_language_model(self.judge) else TYPO_VARIANTS
        )  # a verdict on each twin's list would have to be paid for
        keep_words = self.args.combine != "expand"
        settings: dict[str, Any] = {} if self.drift is None else {"epoch": self._epoch, "recent": RECENT}
        return AnchorPairs(model, RewardScorer(self.simulator), keep_words, slips, self.args.seed, **settings)

    def _epoch(self) -> int:
        """Rises with every change of what is on sale."""
        assert self.drift is not None
        return self.drift.assortment_changes

    def envs(self, part: int = 0, parts: int = 1) -> QueryRewriteVectorEnv:
        """The vectorised environment on the settings' stream; with `parts` processes, on this one's share of it."""
        from qr_env.environment.vector_env import QueryRewriteVectorEnv
        from qr_env.traffic.stream import StreamShare

        args = self.args
        stream = args.streaming.stream(
            self.shop, self.drift, args.seed, args.learning.frequency_exponent, args.on_bad_row
        )
        return QueryRewriteVectorEnv(
            shop=self.shop,
            retriever=self.retriever,
            judge=self.judge,
            reward=self.reward,
            num_envs=args.prompts // parts * args.group_size,
            group_size=args.group_size,
            stream=stream if parts == 1 else StreamShare(stream, part, parts),
            max_turns=args.learning.max_turns,
            combine=args.combine,
            original_weight=args.weight,
            shopper=self.shopper,
        )

    def exam(self, split: str, judge: Judge | None, limit: int | None = None) -> HeldOutEvaluator:
        """How an agent is scored on a split: by a judge, or by labels (None); as the shop is, and is spoken to, now."""
        from qr_env.evaluation.evaluator import HeldOutEvaluator

        args = self.args
        shop = self.shop if self.drift is None else self.drift.shop_at(self.drift.clock)
        return HeldOutEvaluator(
            shop, self.retriever, split, args.combine, args.weight, judge=judge, limit=limit, seed=args.seed
        )

    def labelled(self, split: str) -> bool:
        """Whether any query of the split has a grade."""
        return any(self.shop.qrels[query.row].nnz for query in self.shop.split(split))

    def held_out_score(self) -> Callable[[Student], dict[str, float]]:
        """Student → figures on dev queries, by the judge that trains (which picks the best student) and by labels.

        The gap between the two is what the judge overstates; labels never choose anything. Raises JudgeError when the
        gate refuses the judge on what the student shows now.
        """
        exams = self._exams()

        def score(student: Student) -> dict[str, float]:
            if self.drift is not None:  # words and products are others than at the last time
                exams.update(self._exams())
            agent = Once(student)
            figures = {f"eval/{name}": value for name, value in exams["judge"].quick(agent).items()}
            figures["eval/score"] = figures[f"eval/{exams['judge'].scorer.main}"]
            if "labels" in exams:
                figures |= {
                    f"eval/judge {name}": figures.pop(f"eval/{name}") for name in BOTH if f"eval/{name}" in figures
                }
                figures |= {f"eval/{name}": value for name, value in exams["labels"].quick(agent).items()}
            for name in exams.keys() & WITNESSES:
                figures[f"eval/{name} nDCG@10"] = exams[name].quick(agent)[exams[name].scorer.main]
            if self.drift is not None:
                figures["stream/shifts"] = float(self.drift.changes)
            figures |= self.sold(exams.get("labels", exams["judge"]), agent)
            return figures | self.judge_figures(exams["judge"], agent)

        return score

    def _exams(self) -> dict[str, HeldOutEvaluator]:
        """Who looks at the student while it learns: the judge that trains, labels, and `WITNESSES`."""
        flags = self.args.judging
        exams = {"judge": self.exam("dev", self.judge, flags.held_out)}
        if self.labelled("dev"):
            exams["labels"] = self.exam("dev", None, flags.held_out)
        if self._witness is not None:
            exams["report judge"] = self.exam("dev", self._witness, flags.held_out)
        if flags.watch_test_labels:
            exams["test labels"] = self.exam("test", None)
        return exams

    @cached_property
    def _witness(self) -> Judge | None:
        """The judge that reports, where it is named and another than the one that trains."""
        spec = self.args.judging.report_judge
        return None if spec in ("auto", "labels", self.args.judge) else self.report_judge("dev")

    def sold(self, exam: HeldOutEvaluator, agent: Agent) -> dict[str, float]:
        """Relevance and conversion of the first page, which JD's guard compares; only where there is a shopper."""
        if self.shopper is None:
            return {}
        from qr_env.evaluation.result import weighted_means
        from qr_env.evaluation.scorers import TOP
        from qr_env.retrieval.combine import padded
        from qr_env.reward.feedback import feedback
        from qr_env.reward.text_figures import text_figures

        page = padded(exam.search(exam.rewrites(agent)), TOP)
        grades = exam.scorer.grade(page)
        figures = feedback(page, page, grades, grades, text_figures(exam.texts, exam.texts))
        some_N3 = self.shopper.engage(exam.queries, page.rows_NK, grades).some_N3
        means = weighted_means(np.stack([figures.relevance, some_N3[:, 2]], axis=1).astype(np.float64))
        return dict(zip(("eval/relevance@10", "eval/purchase@10"), means.tolist(), strict=True))

    def judge_figures(self, exam: HeldOutEvaluator, agent: Agent) -> dict[str, float]:
        """How the judge does now: planted products that fool it, agreement on what the agent shows, its own counts."""
        figures: dict[str, float] = {}
        if self.args.judging.probes:
            figures |= self._probes.exploit_rate(self.judge)
        if self.admitted is not None:
            shown = exam.search(exam.rewrites(agent)).rows_NK[:, :10]
            now = self.gate.check(self.judge, self.shop, (exam.queries, shown))
            # Too few graded products among those shown now: what was found at the start stands.
            figures |= (self.gate.enforce(now) if now.known else self.admitted).metrics()
        counts = self.judge.stats() if hasattr(self.judge, "stats") else {}
        return figures | {f"judge/{name}": float(value) for name, value in counts.items()}

    @cached_property
    def _probes(self) -> ProbeSet:
        from judges.validation.probes import ProbeSet

        return ProbeSet.from_shop(self.shop, self.args.judging.probes, self.args.seed)

    def report_judge(self, split: str) -> Judge | None:
        """Who reports: None is labels. `auto` takes labels, else the embedding judge. That it trained too is said."""
        spec = self.args.judging.report_judge
        if spec == "labels" or (spec == "auto" and self.labelled(split)):
            return None
        if spec == "auto":
            spec = "embedding"
        if not set(judge_names(spec)).isdisjoint(judge_names(self.args.judge)):
            told = f"reported by {spec}, which trained, alone or with others ({self.args.judge})"
            print_message(f"{told}: name another with --report-judge")
        if spec == self.args.judge:
            return self.judge
        return open_judge(spec, self.shop, self.args.judging.options(self.args.out))


class Once:
    """An agent whose rewrites are made once: the judge's and the labels' exams ask for the same ones."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.name = agent, agent.name
        self.known: dict[str, list[str]] = {}

    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The agent's own, remembered by query; n and seed are those of the first call."""
        fresh = [query for query in dict.fromkeys(queries) if query not in self.known]
        self.known |= dict(zip(fresh, self.agent.rewrite(fresh, n, seed), strict=True))
        return [self.known[query] for query in queries]
