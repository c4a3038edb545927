"""The optimizer and the promotion test of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.policy.student import Student
from agents.rl.dpo import DPO, DPOConfig
from agents.rl.grpo import GRPO, GRPOConfig
from agents.rl.learner import PolicyOptimizer
from agents.rl.ppo import PPO, PPOConfig
from agents.serving.promotion import Promotion, PromotionConfig
from qr_env.common.plugins import load_plugin
from runs.online.args import Args, LearningSettings
from runs.online.warm_start import learning_rate

if TYPE_CHECKING:
    from typing import TypedDict

    from accelerate import Accelerator
    from transformers import PreTrainedModel

    class SharedConfig(TypedDict):
        """The fields of `LearnerConfig` that the settings fill for every optimizer."""

        learning_rate: float
        epochs: int
        updates: int
        kl_coef: float
        policy_coef: float
        anchor_coef: float


def make_optimizer(
    args: Args, student: Student, accelerator: Accelerator, reference: PreTrainedModel | None
) -> PolicyOptimizer:  # fmt: skip
    """The optimizer called `args.optimizer`: grpo, ppo, dpo, or an entry point of the group `qr_env.optimizers`."""
    build = load_plugin("qr_env.optimizers", args.optimizer, OPTIMIZERS)
    optimizer: PolicyOptimizer = build(args, student, accelerator, reference)
    return optimizer


def make_grpo(
    args: Args, student: Student, accelerator: Accelerator, reference: PreTrainedModel | None
) -> PolicyOptimizer:
    """Group-relative policy optimization; RLOO and GSPO by its settings."""
    settings = args.learning
    config = GRPOConfig(
        normalize_std=normalizes_std(args), leave_one_out=settings.leave_one_out,
        ratio=settings.ratio, aggregation=settings.ratio, **_shared_config(args, epochs=1),
    )  # fmt: skip
    return GRPO(student.model, student.tokenizer, config, accelerator, reference)


def normalizes_std(args: Args) -> bool:
    """Whether advantages are divided by their group's deviation: as set, else only where the judge cannot be fooled."""
    chosen = args.learning.normalize_std
    return args.judge == "labels" if chosen is None else chosen


def make_ppo(
    args: Args, student: Student, accelerator: Accelerator, reference: PreTrainedModel | None
) -> PolicyOptimizer:
    """Proximal policy optimization with a value head."""
    config = PPOConfig(kl_target=args.learning.kl_target, **_shared_config(args, epochs=2))
    return PPO(student.model, student.tokenizer, config, accelerator, reference)


def make_dpo(
    args: Args, student: Student, accelerator: Accelerator, reference: PreTrainedModel | None
) -> PolicyOptimizer:
    """Online direct preference optimization."""
    return DPO(student.model, student.tokenizer, dpo_config(args), accelerator, reference)


def dpo_config(args: Args) -> DPOConfig:
    """Settings of DPO. Raises ConfigError for values that cannot be."""
    settings = args.learning
    return DPOConfig(
        beta=settings.dpo_beta, margin=settings.dpo_margin, all_pairs=settings.dpo_all_pairs,
        reference_free=settings.reference_free, **_shared_config(args, epochs=1),
    )  # fmt: skip


OPTIMIZERS = {"grpo": make_grpo, "ppo": make_ppo, "dpo": make_dpo}


def _shared_config(args: Args, epochs: int) -> SharedConfig:
    """Fields of every optimizer's configuration; `epochs` is the optimizer's own default."""
    settings = args.learning
    return {
        "learning_rate": learning_rate(args),
        "epochs": epochs if settings.epochs is None else settings.epochs,
        # The rate falls to a tenth by the last update; it stays constant where learning has no end or the shop changes.
        "updates": 0 if args.forever or args.drift else args.updates,
        "kl_coef": settings.kl_coef,
        "policy_coef": settings.policy_coef,
        "anchor_coef": settings.anchor_coef,
    }


def needs_reference(optimizer: str, settings: LearningSettings) -> bool:
    """Whether the optimizer reads the warm start as its reference policy."""
    return not settings.reference_free if optimizer == "dpo" else bool(settings.kl_coef)


def make_promotion(args: Args) -> Promotion | None:
    """The test that decides when the serving policy is replaced; None without --promotion on."""
    if args.promotion == "off":
        return None
    return Promotion(promotion_config(args), args.out / "checkpoints", args.seed)


def promotion_config(args: Args) -> PromotionConfig:
    """Settings of the promotion test. Raises ConfigError for values that cannot be."""
    settings = args.serving
    return PromotionConfig(settings.canary, settings.alpha, settings.queries, settings.spend, args.evaluation.every)
