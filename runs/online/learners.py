"""The optimizer and the promotion test of the settings, and checks that reject settings that cannot work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.policy.student import Student
from agents.rl.dpo import DPO, DPOConfig
from agents.rl.grpo import GRPO, GRPOConfig
from agents.rl.learner import PolicyOptimizer
from agents.rl.ppo import PPO, PPOConfig
from agents.serving.promotion import Promotion, PromotionConfig
from qr_env.common.errors import ConfigError
from qr_env.common.plugins import load_plugin
from qr_env.environment.brute_force_check import require_checkable
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
    settings = args.learning
    config = DPOConfig(
        beta=settings.dpo_beta, margin=settings.dpo_margin, all_pairs=settings.dpo_all_pairs,
        reference_free=settings.reference_free, **_shared_config(args, epochs=1),
    )  # fmt: skip
    return DPO(student.model, student.tokenizer, config, accelerator, reference)


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
    settings = args.serving
    config = PromotionConfig(
        settings.canary, settings.alpha, settings.queries, settings.spend, args.evaluation.every
    )  # fmt: skip
    return Promotion(config, args.out / "checkpoints", args.seed)


def check_settings(args: Args) -> None:
    """Refuse settings that cannot work, or would do nothing, before anything is written.

    Raises:
        ConfigError: a learning rate or a number of epochs that is not above 0, a KL target without a coefficient to
            steer, several turns with dpo, an unknown optimizer, a share that is none, result lists that cannot be
            checked.
    """
    load_plugin("qr_env.optimizers", args.optimizer, OPTIMIZERS)
    settings = args.learning
    if args.learning_rate is not None and not args.learning_rate > 0:
        raise ConfigError(
            f"--learning-rate {args.learning_rate:g}: must be above 0; left out it is the student's default"
        )
    if settings.epochs is not None and settings.epochs < 1:
        raise ConfigError(
            f"learning.epochs={settings.epochs}: must be 1 or more; left out it is the optimizer's default"
        )
    if settings.kl_target and not settings.kl_coef:
        raise ConfigError(
            f"learning.kl_target={settings.kl_target:g} with learning.kl_coef=0: a coefficient of 0 cannot be steered; "
            "start it at learning.kl_coef=0.001, or leave learning.kl_target out"
        )
    if args.max_turns > 1 and args.optimizer == "dpo":
        raise ConfigError(
            "--max-turns > 1 with --optimizer dpo: on later turns a group's rewrites have no common prompt"
        )
    if not 0 <= args.evaluation.max_worse <= 1:
        raise ConfigError(
            f"evaluation.max_worse={args.evaluation.max_worse:g}: a share of queries, between 0 and 1; 0.1 is 10 %"
        )
    if args.traffic.check_hits:
        require_checkable(args.retriever, args.combine, args.max_turns)


def check_processes(args: Args, count: int) -> None:
    """Refuse settings that several processes cannot share.

    Raises:
        ConfigError: prompts that cannot be divided equally; a component that would need to see all queries.
    """
    if count == 1:
        return
    if args.prompts % count:
        raise ConfigError(
            f"--prompts {args.prompts} on {count} processes: each takes as many; give a multiple of {count}, "
            f"such as {count * max(1, round(args.prompts / count))}, or launch another number of processes"
        )
    need_all_queries = {
        "--promotion on": args.promotion == "on",
        f"--drift {args.drift}": args.drift,
        "traffic.check_hits": args.traffic.check_hits,
    }
    for setting, is_given in need_all_queries.items():
        if is_given:
            raise ConfigError(
                f"{setting} on {count} processes: it must see every query, and each process has a share; launch one "
                "process, or leave it out"
            )
