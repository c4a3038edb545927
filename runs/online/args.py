"""Train a student online: it warm-starts from the shop's query log and keeps learning from the query stream.

    qr online generated --out out/quickstart                        # the embedded default, minutes on two cores
    qr online my_shop/ --judge embedding --out out/mine             # products.csv and queries.csv are enough
    qr online generated --student smollm2-135m --out out/smollm     # a pretrained student
    qr online generated --out out/quickstart --resume               # continue after Ctrl-C
    qr online generated --promotion on --forever                    # until stopped; serves only proven policies
    qr online generated --set learning.epochs=2 reward.copy=0       # a setting without a flag of its own
    accelerate launch --multi_gpu --num_processes 2 -m runs.online generated --out out/two      # one process per GPU
    torchrun --nproc-per-node 2 -m runs.online generated --out out/two                          # without GPUs

Stages: read the shop → index → (tiny: pretrain on the shop's text) → warm start on pairs that engine and judge accept →
GRPO, PPO or DPO on the stream → evaluation on held-out queries → what to serve (serve.json) → report.html. Everything
is written to --out.

Several processes share the online stage: each rewrites and searches its part of an update's --prompts, and one
optimizer step is taken for all. They refuse --prompts that cannot be divided equally, --promotion on, --drift and
traffic.check_hits.

A resumed run keeps the settings it was started with. Only these may be changed: --data, --on-bad-row, --encoding,
--updates, --forever, --tracker, --judge-url, --judge-store, --report-judge, judging.timeout, judging.min_kappa,
judging.min_pair_accuracy, judging.low_kappa, judging.kappa_labels, evaluation.max_worse, evaluation.suggest,
traffic.check_hits; and SHOP, if it is the same shop at another place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from judges.factory import TIMEOUT
from judges.llm.prompt import GRADE
from qr_env.reward.reward import Weights
from runs.common.reading import ReadArgs

# Settings that a resumed run may change, because they do not influence what was learned: the length of the run, where
# it logs, the place of its inputs (the shop's hash in config.json must be equal), and the threshold of the judge gate.
FREE = (
    "shop", "data", "out", "resume", "on_bad_row", "encoding", "feedback", "updates", "forever", "tracker", "judge_url",
    "judge_store", "report_judge", "judging.timeout", "judging.min_kappa", "judging.min_pair_accuracy",
    "judging.low_kappa", "judging.kappa_labels", "evaluation.max_worse", "evaluation.suggest", "traffic.check_hits",
)  # fmt: skip


@dataclass(frozen=True)
class WarmStartSettings:
    """What the student learns before the online stage."""

    pretrain: int = 16_000
    """Sequences of the shop's own text on which `tiny` is pretrained."""
    queries: int = 1_500
    """Queries of the query log for supervised fine-tuning, the most frequent first; 0 skips it."""


@dataclass(frozen=True)
class SuggestionSettings:
    """Words that the student sees beside the query and chooses from (agents/suggestions)."""

    titles: Literal["auto", "second", "own", "none"] = "auto"
    """Whose titles suggest words: those that another engine finds (second: dense beside bm25), those that the shop's
    own engine finds (own), or none, and the student sees the query alone. auto is none where the shop has purchases for
    its queries, from which the student learns words; else second if the judge or the engine embeds titles anyway, and
    own if not."""
    sources: tuple[str, ...] = ("titles",)
    """Sources of words besides the query's repair: titles, type, log, teacher:LM (agents/suggestions/factory.py)."""
    most: int = 8
    """Suggestions a query at most."""
    gated: bool = True
    """Suggest words of titles only where `suggest` would add some: where few results hold the whole query."""


@dataclass(frozen=True)
class LearningSettings:
    """How the online stage learns."""

    epochs: int | None = None
    """Passes over a rollout; None is 1 for grpo and dpo, 2 for ppo."""
    ratio: Literal["token", "sequence"] = "token"
    """grpo: what is clipped, the probability ratio of each token or of the whole rewrite (GSPO)."""
    leave_one_out: bool = False
    """grpo: compare a rewrite with the others of its group only (RLOO)."""
    kl_target: float = 0.0
    """ppo: nats per token that the KL coefficient is steered to; 0 keeps it at kl_coef."""
    dpo_beta: float = 0.1
    """dpo: strength of the constraint to the warm start; reference-free it needs 1 or more."""
    dpo_margin: float = 0.0
    """dpo: smallest difference of rewards that makes two rewrites a pair; ties never do."""
    dpo_all_pairs: bool = False
    """dpo: every pair of a group instead of its best and worst rewrite."""
    reference_free: bool = False
    """dpo: mean log-probabilities per token (SimPO) instead of ratios to the warm start."""
    kl_coef: float = 0.001
    """grpo, ppo: coefficient of the KL divergence from the warm start; 0 saves the reference pass."""
    normalize_std: bool | None = None
    """Divide advantages by the standard deviation of their group: faster with a judge that can be trusted, otherwise
    easier to exploit. None: with --judge labels only."""
    policy_coef: float = 1.0
    """Weight of the reinforcement loss; 0 trains on the anchor alone, an ablation."""
    anchor_coef: float = 1.0
    """Weight of the supervised loss on rewrites that the query log suggests for the streaming queries; 0 learns from
    rewards alone."""
    lora_rank: int = 0
    """0 trains all weights; otherwise LoRA adapters of this rank."""
    max_new_tokens: int = 10
    """Longest rewrite, in tokens."""


@dataclass(frozen=True)
class JudgingSettings:
    """The LLM judge's model and prompt, and the gate that checks a judge against human grades."""

    model: str | None = None
    """llm: the model's name at the server; by default the only one there."""
    prompt: str = GRADE
    """llm: a file of judges/llm/prompts/ by name (grade_v2; title_v1, without descriptions; list_v2, several products a
    request; json_v2; reason_v2), or a path."""
    timeout: float = TIMEOUT
    """llm: seconds that a server has for an answer."""
    sanitize: bool = False
    """Remove text that is written for a judge from product texts before the judge reads them."""
    min_kappa: float = 0.0
    """The gate: smallest agreement (Cohen's κ) with the shop's train and dev grades that a judge must have, at the
    start and at every evaluation; 0 disables it."""
    min_pair_accuracy: float = 0.0
    """The gate: smallest share of two products of one query that the judge must order as the grades do; chance is 0.5,
    0 asks for none."""
    kappa_labels: Path | None = None
    """Graded pairs of your own for the gate, where the shop has no grades of train or dev queries: a table with
    query, product_id and grade, as qrels of a shop."""
    low_kappa: Literal["refuse", "downweight"] = "refuse"
    """What to do with a judge below min_kappa: refuse it, or scale the learning rate by κ / min_kappa."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured while the student learns."""

    every: int = 25
    """Updates between evaluations on the dev split; checkpoints are written as often."""
    dev_queries: int = 500
    """Dev queries that are scored at each evaluation."""
    probes: int = 32
    """Queries with planted products that are graded at every evaluation (judge/exploit_rate); 0 disables them."""
    watch_test_labels: bool = False
    """Also plot the test split's labels, where a shop has no others (Icecat). They select no checkpoint; but a run
    that is tuned by them has no unseen test labels left."""
    max_worse: float = 0.1
    """Largest share of the held-out queries that the rewriter named in OUT/serve.json may make worse."""
    suggest: Path | None = None
    """Settings of `suggest`, and of what the student chooses from: a file that `qr suggest SHOP` wrote; None takes the
    defaults."""


@dataclass(frozen=True)
class PromotionSettings:
    """How the policy that serves is replaced by a better one (`--promotion on`)."""

    canary: float = 0.1
    """Share of the traffic that a candidate serves once it has half of the evidence that a promotion needs."""
    alpha: float = 0.05
    """Bound on the probability of promoting a candidate that is not better, however often the test is evaluated."""
    spend: bool = False
    """Make `alpha` the bound for all candidates of the run together (alpha spending); otherwise it holds for each."""
    queries: int = 4_096
    """Queries after which a candidate that is not proven better is dropped. The first trial has an eighth of them; each
    undecided trial doubles the next."""


@dataclass(frozen=True)
class TrafficSettings:
    """How queries arrive."""

    frequency_exponent: float = 0.25
    """Queries are drawn in proportion to frequency to this power: 1 is the log's own traffic, 0 uniform."""
    zipf: float = 0.0
    """For a log without counts: Zipf's law, the n-th query with frequency n⁻ˢ, s about 1; 0 keeps the frequencies of
    the shop. frequency_exponent flattens it."""
    sessions: float = 0.0
    """Share of the queries that follow up another query of the same shopper, in the same department."""
    check_hits: bool = False
    """bm25: compare every result list that the student learns from with a brute-force search of what is on sale at that
    time, count products that are not on sale, wrong hits and missing hits in OUT/hits.json, and fail on any."""


@dataclass
class Args(ReadArgs):
    """Settings of `qr online`; those in groups have no flag and are set by --set or --config."""

    shop: Annotated[str, tyro.conf.arg(name="shop"), tyro.conf.Positional] = "generated"
    """Source of products and queries: generated, icecat, esci, wands, or a folder of your own files."""
    out: Path = Path("out/quickstart")
    """The run's folder; never overwritten, continued with --resume."""
    student: str = "tiny"
    """tiny, smollm2-135m, or any causal LM: a Hugging Face id or a local folder."""
    retriever: str = "bm25"
    """The search engine: bm25[:SETTINGS], dense, hybrid or splade. SETTINGS: such as
    fields=title*5+description,k1=1.2,b=0.6, or a file of `qr shop SHOP --check-engine --engine-out FILE.json`."""
    judge: str = "auto"
    """Who grades while learning: labels (the shop's own grades or known truth); without labels: blend[:1,3] (embedding
    and coverage), embedding (similarity), coverage (share of the query's words); llm (a server), cross-encoder[:MODEL]
    (`qr judge distill`, or any of the hub), replay, ensemble:A,B, pessimistic:A,B. auto takes labels where the shop
    knows its whole truth (generated), otherwise blend."""
    judge_url: tuple[str, ...] = ()
    """llm: base URLs of OpenAI-compatible servers, such as `qr judge serve` starts; by default QR_JUDGE_URL."""
    judge_store: Path | None = None
    """Folder of the verdict store, which keeps every verdict; OUT/verdicts by default."""
    report_judge: str = "auto"
    """Who grades the final evaluation: auto is labels where there are any, otherwise the first of blend, coverage and
    embedding that did not train; after blend, embedding; on dense and hybrid engines coverage, since embedding
    compares the engine's own vectors. A message says so where it trained, alone or with others. A judge that is
    named here is also used at every evaluation, for the report's Goodhart plot."""
    shopper: Literal["none", "model", "llm"] = "none"
    """Simulated shopper who clicks and buys: computed from grades, prices and tastes, or played by the judge's server.
    Set reward.click, reward.cart, reward.purchase; without them a purchase weighs 0.5."""
    reward_scheme: str = "weights"
    """weights: this project's reward, by the weights reward.*. Otherwise another system's reward by name
    (qr_env/reward/paper_rewards.py), or one that an installed package registers as `qr_env.rewards`."""
    combine: Literal["expand", "replace", "union"] = "expand"
    """How a rewrite meets the original query: added to its words, instead of them, or both result lists merged."""
    weight: float = 1.0
    """Weight of the original's words in "expand"; the rewrite's is 1. A larger one is safer and gains less."""
    updates: int = 200
    """Online updates; the quickstart takes 600."""
    prompts: int = 32
    """Queries per update."""
    group_size: int = 8
    """Rewrites per query."""
    optimizer: str = "grpo"
    """grpo: the group's mean reward is the baseline. ppo: a value head predicts it, token by token. dpo: a group's best
    rewrite is preferred to its worst. Or one that an installed package registers as `qr_env.optimizers`."""
    learning_rate: float | None = None
    """Of warm start and online stage; None is 1e-3 for tiny, 4e-5 for a pretrained student."""
    max_turns: int = 1
    """Rewrites of a query, one after the other: on later turns the student sees what it wrote and what was found, and
    is rewarded for what the new one adds. An update is a turn. grpo and ppo."""
    drift: str | None = None
    """What changes in the stream: a preset (words, churn, busy, random) or a YAML file as in
    qr_env/traffic/drift_plan.py."""
    replay: Path | None = None
    """A timestamped log to replay instead of drawing queries: a table with time, query and, where known, session, such
    as UBI's ubi_queries. Lines that ask for the shop's dev or test queries are left out."""
    feedback: tuple[Path, ...] = ()
    """Logs of served rewrites (folders of qr serve --log, UBI files) to learn from beside the judge: what shoppers
    bought and clicked for train queries, by probability and rank (judges/shoppers/feedback.py), counts as bought."""
    plant: int = 0
    """Products planted in the searched catalogue, with titles written to be found and to please a judge; metrics and
    report then say how often the first ten show them. An experiment: the shop is another one, with vectors of its
    own."""
    promotion: Literal["off", "on"] = "off"
    """on: a separate policy serves the stream, and a copy of the student replaces it only when a paired sequential test
    has proven it better; an alarm rolls back. checkpoints/serving, promotions.jsonl."""
    forever: bool = False
    """Learn until Ctrl-C or SIGTERM, whatever --updates is; then --resume continues."""
    tracker: tuple[Literal["wandb", "trackio", "tensorboard", "none"], ...] = ("none",)
    """Where metrics, samples, events and the evaluation go besides the run folder, one or several
    (WANDB_MODE=offline needs no account)."""
    resume: bool = False
    """Continue the run in --out exactly where it stopped, with its settings. More --updates, --forever and another
    --tracker may be given; settings that influence learning may not be changed."""
    seed: int = 0
    """Seed of every random draw."""
    warm_start: Annotated[WarmStartSettings, tyro.conf.Fixed] = field(default_factory=WarmStartSettings)
    """Pretraining and supervised fine-tuning before the online stage."""
    suggestions: Annotated[SuggestionSettings, tyro.conf.Fixed] = field(default_factory=SuggestionSettings)
    """Words that the student chooses from."""
    learning: Annotated[LearningSettings, tyro.conf.Fixed] = field(default_factory=LearningSettings)
    """The optimizer's settings."""
    judging: Annotated[JudgingSettings, tyro.conf.Fixed] = field(default_factory=JudgingSettings)
    """The judge's settings and its gate."""
    evaluation: Annotated[EvaluationSettings, tyro.conf.Fixed] = field(default_factory=EvaluationSettings)
    """Measurements while learning."""
    serving: Annotated[PromotionSettings, tyro.conf.Fixed] = field(default_factory=PromotionSettings)
    """The promotion test's settings."""
    traffic: Annotated[TrafficSettings, tyro.conf.Fixed] = field(default_factory=TrafficSettings)
    """The query stream's settings."""
    reward: Annotated[Weights, tyro.conf.Fixed] = field(default_factory=Weights)
    """Weights of the reward's terms (qr_env/reward/reward.py)."""
