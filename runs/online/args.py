"""The main job: a student warm-starts from the shop's past and keeps learning from its query stream.

    qr online generated --out out/quickstart                        # the embedded default, minutes on two cores
    qr online my_shop/ --judge embedding --out out/mine             # products.csv and queries.csv are enough
    qr online generated --student smollm2-135m --out out/smollm     # a student that knows words the shop never wrote
    qr online generated --out out/quickstart --resume               # go on after Ctrl-C
    qr online generated --promotion on --forever                    # until told to stop; serves only what is proven
    accelerate launch --multi_gpu --num_processes 2 -m runs.online generated --out out/two      # a process a GPU
    torchrun --nproc-per-node 2 -m runs.online generated --out out/two                          # without GPUs

Stages: read the shop → index → (tiny: pretrain on the shop's text) → warm start on pairs that engine and judge like →
GRPO, PPO or DPO on the stream → evaluation on held-out queries → report.html. All of it lands in --out.

Several processes share the online stage: each rewrites and searches its part of an update's --prompts, one step of the
optimiser is taken for all. Refused with them: --prompts that they cannot share equally, --promotion on, --drift,
--check-hits.

A resumed run has those of its beginning; `FREE` are the ones that may be stated anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from qr_env.reward.paper_rewards import RewardScheme
from qr_env.reward.reward import Weights
from runs.online.setup import JudgeFlags
from runs.stream.job import StreamFlags

# What decides nothing that was learned: how far it goes, who is told, where things are (the shop's hash says whether it
# is the same), and the gate's bar, which its own refusal offers to lower.
FREE = (
    "shop", "data", "out", "resume", "on_bad_row", "updates", "forever", "tracker", "judge_url", "judge_store",
    "report_judge", "min_kappa", "low_kappa", "kappa_labels", "check_hits",
)  # fmt: skip


@dataclass(frozen=True)
class LearningFlags:
    """How the online stage learns."""

    optimizer: Literal["grpo", "ppo", "dpo"] = "grpo"
    """grpo: the group's mean reward is the baseline. ppo: a value head predicts it, token by token. dpo: a group's best
    rewrite is preferred to its worst."""
    epochs: int | None = None
    """Passes over a rollout; None is 1 for grpo and dpo, 2 for ppo."""
    ratio: Literal["token", "sequence"] = "token"
    """grpo: what is clipped, the probability ratio of each token or of the whole rewrite (GSPO)."""
    leave_one_out: bool = False
    """grpo: compare a rewrite with the others of its group only (RLOO)."""
    kl_target: float = 0.0
    """ppo: nats a token that the price of KL is steered to; 0 leaves it at kl_coef."""
    dpo_beta: float = 0.1
    """dpo: price of leaving the warm start; reference-free it wants 1 and more."""
    dpo_margin: float = 0.0
    """dpo: rewrites make a pair when their rewards differ by as much; ties never do."""
    dpo_all_pairs: bool = False
    """dpo: every pair of a group instead of its best and worst."""
    reference_free: bool = False
    """dpo: mean log-probabilities a token (SimPO) instead of ratios to the warm start."""
    kl_coef: float = 0.001
    """grpo, ppo: price of leaving the warm start; 0 saves the reference pass."""
    normalize_std: bool = True
    """Divide advantages by their group's deviation: faster with a judge that can be trusted, easier to exploit else."""
    policy_coef: float = 1.0
    """Weight of the reinforcement loss; 0 is the anchor alone, to see what either adds."""
    anchor_coef: float = 1.0
    """Weight of the supervised loss on rewrites that the log suggests for the streaming queries; 0 is GRPO alone."""
    pay: Literal["weights", RewardScheme] = "weights"
    """weights: ours, by --reward.*. Else another system's reward, as it is (qr_env/reward/paper_rewards.py)."""
    max_turns: int = 1
    """Rewrites of a query, one after the other: on later turns the student sees what it wrote and what was found, and
    is paid for what the new one adds. An update is a turn. grpo and ppo."""
    frequency_exponent: float = 0.25
    """Traffic is drawn by frequency to this power: 1 as it is, 0 every query alike."""


@dataclass(frozen=True)
class PromotionFlags:
    """What serves while the student learns, and for how long."""

    promotion: Literal["off", "on"] = "off"
    """on: a policy of its own serves the stream, and a copy of the student takes its place only when a paired
    sequential test has proven it better; an alarm rolls back. checkpoints/serving, promotions.jsonl."""
    canary: float = 0.1
    """Share of the traffic that a candidate serves once half of the evidence is there."""
    promotion_alpha: float = 0.05
    """Bound on promoting a candidate that is not better, however often one looks."""
    promotion_spend: bool = False
    """The bound is for all candidates of the run together; else it is for each."""
    promotion_queries: int = 4_096
    """Queries after which a candidate that is not proven better is given up; the first ones get an eighth of it."""
    forever: bool = False
    """Learn until Ctrl-C or SIGTERM, whatever --updates says; then --resume goes on."""


@dataclass
class Args:
    shop: Annotated[str, tyro.conf.arg(name="shop"), tyro.conf.Positional] = "generated"
    """Where products and queries come from: generated, icecat, esci, wands, or a folder of your own files."""
    out: Path = Path("out/quickstart")
    """The run's folder; never overwritten, continued with --resume."""
    data: str | None = None
    """Local folder of a named source (else it is downloaded)."""
    student: str = "tiny"
    """tiny, smollm2-135m, or any causal LM: a Hugging Face id or a local folder."""
    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    """The engine that searches."""
    judge: str = "auto"
    """Who grades while learning: labels (the shop's own grades or known truth), embedding (needs no labels), llm (a
    server), cross-encoder[:MODEL] (`qr judge distill`), replay, ensemble:A,B. auto takes labels where the shop knows
    its whole truth (generated), else embedding."""
    combine: Literal["expand", "replace", "union"] = "expand"
    """How a rewrite meets its original: added to its words, instead of them, or both lists merged."""
    weight: float = 1.0
    """Weight of the original's words in "expand"; the rewrite's is 1. Heavier is safer and gains less."""
    pretrain: int = 16_000
    """Sequences of the shop's own text that `tiny` reads first."""
    warm_queries: int = 1_500
    """Queries of the past for the warm start, the most frequent first; 0 skips it."""
    updates: int = 600
    """Online updates."""
    prompts: int = 32
    """Queries an update."""
    group_size: int = 8
    """Rewrites a query."""
    learning_rate: float | None = None
    """Of warm start and online stage; None is 1e-3 for tiny, 4e-5 for a pretrained student."""
    lora_rank: int = 0
    """0 trains all weights; else LoRA adapters of this rank."""
    max_new_tokens: int = 10
    """Longest rewrite, in tokens."""
    evaluate_every: int = 25
    """Updates between evaluations on the dev split; checkpoints are written as often."""
    on_bad_row: Literal["stop", "skip"] = "stop"
    """What to do with an invalid row of the shop's files."""
    tracker: tuple[Literal["wandb", "trackio", "tensorboard", "none"], ...] = ("none",)
    """Where figures, samples, events and the evaluation go besides the run folder, one or several
    (WANDB_MODE=offline needs no account)."""
    resume: bool = False
    """Go on exactly where the run in --out stopped, with its settings. More --updates, --forever and another --tracker
    may be stated anew; what decides learning may not."""
    seed: int = 0
    """Of everything."""
    learning: Annotated[LearningFlags, tyro.conf.arg(name="")] = field(default_factory=LearningFlags)
    judging: Annotated[JudgeFlags, tyro.conf.arg(name="")] = field(default_factory=JudgeFlags)
    serving: Annotated[PromotionFlags, tyro.conf.arg(name="")] = field(default_factory=PromotionFlags)
    streaming: Annotated[StreamFlags, tyro.conf.arg(name="")] = field(default_factory=StreamFlags)
    reward: Weights = field(default_factory=Weights)
    """Weights of the reward's terms (qr_env/reward/reward.py)."""
