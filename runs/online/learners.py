"""What learns online and what guards it, by the flags of `qr online`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qr_env.common.errors import ConfigError
from runs.online.args import Args, LearningFlags
from runs.online.warm_start import learning_rate

if TYPE_CHECKING:
    from agents.policy.student import Student
    from agents.rl.learner import PolicyOptimizer
    from agents.serving.promotion import Promotion


def make_promotion(args: Args) -> Promotion | None:
    """What guards the serving policy, or None."""
    from agents.serving.promotion import Promotion, PromotionConfig

    flags = args.serving
    if flags.promotion == "off":
        return None
    config = PromotionConfig(
        flags.canary, flags.promotion_alpha, flags.promotion_queries, flags.promotion_spend, args.evaluate_every
    )
    return Promotion(config, args.out / "checkpoints", args.seed)


def check(args: Args) -> None:
    """Before anything is made: settings that cannot be, or would do nothing.

    Raises:
        ConfigError: a learning rate or a number of epochs that is not above 0, a target of KL without a price to steer,
            lists that cannot be checked.
    """
    flags = args.learning
    if args.learning_rate is not None and not args.learning_rate > 0:
        raise ConfigError(f"--learning-rate {args.learning_rate:g}: must be above 0; left out it is the student's own")
    if flags.epochs is not None and flags.epochs < 1:
        raise ConfigError(f"--epochs {flags.epochs}: must be 1 or more; left out it is the optimizer's own")
    if flags.kl_target and not flags.kl_coef:
        raise ConfigError(
            f"--kl-target {flags.kl_target:g} with --kl-coef 0: a price of 0 cannot be steered; start it at "
            "--kl-coef 0.001, or leave --kl-target out"
        )
    if flags.max_turns > 1 and flags.optimizer == "dpo":
        raise ConfigError("--max-turns > 1 with --optimizer dpo: on a later turn no two rewrites answer one prompt")
    if args.streaming.check_hits:
        from qr_env.environment.brute_force_check import require_checkable

        require_checkable(args.retriever, args.combine, flags.max_turns)


def check_processes(args: Args, count: int) -> None:
    """What several processes cannot do.

    Raises:
        ConfigError: prompts that they cannot share equally; a guard or a log that would need to see all queries.
    """
    if count == 1:
        return
    if args.prompts % count:
        raise ConfigError(
            f"--prompts {args.prompts} on {count} processes: each takes as many; give a multiple of {count}, "
            f"such as {count * max(1, round(args.prompts / count))}, or launch another number of processes"
        )
    stream, promoted = args.streaming, args.serving.promotion == "on"
    whole = {"--promotion on": promoted, f"--drift {stream.drift}": stream.drift, "--check-hits": stream.check_hits}
    if refused := [flag for flag, given in whole.items() if given]:
        raise ConfigError(
            f"{refused[0]} on {count} processes: it must see every query, and each has its share; launch one, or leave "
            "it out"
        )


def needs_reference(flags: LearningFlags) -> bool:
    """Whether the optimiser reads the warm start as its reference policy."""
    return not flags.reference_free if flags.optimizer == "dpo" else bool(flags.kl_coef)


def make_learner(args: Args, student: Student, accelerator: Any, reference: Any) -> PolicyOptimizer:
    """PPO, DPO or GRPO, by the settings."""
    from agents.rl.dpo import DPO, DPOConfig
    from agents.rl.grpo import GRPO, GRPOConfig
    from agents.rl.ppo import PPO, PPOConfig

    flags = args.learning
    epochs = flags.epochs if flags.epochs is not None else 2 if flags.optimizer == "ppo" else 1
    common: dict[str, Any] = {
        "learning_rate": learning_rate(args),
        "epochs": epochs,
        # The rate falls to a tenth by the end; where the shop changes there is no end at which all is learned.
        "updates": 0 if args.serving.forever or args.streaming.drift else args.updates,
        "kl_coef": flags.kl_coef,
        "policy_coef": flags.policy_coef,
        "anchor_coef": flags.anchor_coef,
    }
    parts = student.model, student.tokenizer
    if flags.optimizer == "ppo":
        return PPO(*parts, PPOConfig(kl_target=flags.kl_target, **common), accelerator, reference)
    if flags.optimizer == "dpo":
        pairs = DPOConfig(
            beta=flags.dpo_beta, margin=flags.dpo_margin, all_pairs=flags.dpo_all_pairs,
            reference_free=flags.reference_free, **common,
        )  # fmt: skip
        return DPO(*parts, pairs, accelerator, reference)
    config = GRPOConfig(
        normalize_std=flags.normalize_std, leave_one_out=flags.leave_one_out,
        ratio=flags.ratio, aggregation=flags.ratio, **common,
    )  # fmt: skip
    return GRPO(*parts, config, accelerator, reference)
