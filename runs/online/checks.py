"""What `qr online` refuses before it reads a shop, and before it takes the run folder.

check_settings(args)           # what the settings alone tell
check_inputs(args)             # files, servers, weights and packages that the settings name
check_shop(args, shop)         # what the shop lacks
"""

from __future__ import annotations

import numpy as np

from agents.checks import check_sources
from agents.tracking.base import checked_trackers
from judges.checks import check_judge, check_shopper
from qr_env.common.errors import ConfigError
from qr_env.common.packages import require
from qr_env.common.plugins import load_plugin
from qr_env.environment.brute_force_check import require_checkable
from qr_env.models.checks import check_causal_lm
from qr_env.reward.paper_rewards import PAPER_REWARDS
from qr_env.shop.shop import Shop
from qr_env.traffic.drift_plan import load_plan
from qr_env.traffic.replay_log import ReplayLog
from qr_env.traffic.ubi import QUERIES
from runs.common.checks import about, check_file, check_run_folder
from runs.online.args import Args
from runs.online.learners import OPTIMIZERS, dpo_config, promotion_config
from runs.online.setup import judge_options, make_gate, require_shopper, suggest_settings

LEAST = {  # setting → its least value
    "updates": 0, "prompts": 1, "group_size": 1, "max_turns": 1, "plant": 0, "seed": 0, "warm_start.pretrain": 0,
    "warm_start.queries": 0, "suggestions.most": 1, "learning.lora_rank": 0, "learning.max_new_tokens": 1,
    "evaluation.every": 1, "evaluation.dev_queries": 1, "evaluation.probes": 0, "traffic.zipf": 0,
}  # fmt: skip


def check_settings(args: Args) -> None:
    """Refuse settings that cannot work, or would do nothing, before anything is written.

    Raises:
        ConfigError: a learning rate or a number of epochs that is not above 0, a KL target without a coefficient to
            steer, several turns with dpo, an unknown optimizer, reward scheme or drift, a share that is none, result
            lists that cannot be checked, a number below its least value.
    """
    with about("optimizer", args.optimizer):
        load_plugin("qr_env.optimizers", args.optimizer, OPTIMIZERS)
    if args.reward_scheme != "weights":
        with about("reward_scheme", args.reward_scheme):
            load_plugin("qr_env.rewards", args.reward_scheme, PAPER_REWARDS)
    require_shopper(args.reward_scheme, args.shopper)
    check_least_values(args)
    settings = args.learning
    if args.learning_rate is not None and not args.learning_rate > 0:
        raise ConfigError(
            f"learning_rate={args.learning_rate:g}: must be above 0; left out it is the student's default"
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
            f"max_turns={args.max_turns} with optimizer='dpo': on later turns a group's rewrites have no common prompt"
        )
    if not 0 <= args.evaluation.max_worse <= 1:
        raise ConfigError(
            f"evaluation.max_worse={args.evaluation.max_worse:g}: a share of queries, between 0 and 1; 0.1 is 10 %"
        )
    if args.traffic.check_hits:
        require_checkable(args.retriever, args.combine, args.max_turns)
    if args.optimizer == "dpo":
        dpo_config(args)
    if args.promotion == "on":
        promotion_config(args)
    if args.drift is not None:
        load_plan(args.drift)
    make_gate(args)


def check_processes(args: Args, count: int) -> None:
    """Refuse settings that several processes cannot share.

    Raises:
        ConfigError: prompts that cannot be divided equally; a component that would need to see all queries.
    """
    if count == 1:
        return
    if args.prompts % count:
        raise ConfigError(
            f"prompts={args.prompts} on {count} processes: each takes as many; give a multiple of {count}, "
            f"such as {count * max(1, round(args.prompts / count))}, or launch another number of processes"
        )
    need_all_queries = {
        "promotion='on'": args.promotion == "on",
        f"drift={args.drift!r}": args.drift,
        "traffic.check_hits": args.traffic.check_hits,
    }
    for setting, is_given in need_all_queries.items():
        if is_given:
            raise ConfigError(
                f"{setting} on {count} processes: it must see every query, and each process has a share; launch one "
                "process, or leave it out"
            )


def check_least_values(args: Args) -> None:
    """Raise ConfigError for a number below its least value, and for a weight that is not above 0."""
    for name, least in LEAST.items():
        group, _, field = name.rpartition(".")
        value = getattr(getattr(args, group) if group else args, field)
        if value < least:
            raise ConfigError(f"{name}={value}: must be {least} or more")
    if not args.weight > 0:
        raise ConfigError(f"weight={args.weight:g}: must be above 0; the rewrite's is 1")


def check_inputs(args: Args) -> None:
    """Raise what is wrong with the files, servers, weights and packages that the settings name, and with --out.

    Raises:
        QrError: of the kind that the part itself would raise, after minutes: ConfigError, JudgeError, DownloadError, …
    """
    check_run_folder(args.out, args.resume)
    with about("evaluation.suggest", args.evaluation.suggest):
        suggest_settings(args)  # refuses a file that cannot be read
    check_sources(args.suggestions.sources)
    checked_trackers(args.tracker)
    for folder in args.feedback:
        if not folder.is_dir() or not any(folder.glob(f"{QUERIES}*")):
            raise ConfigError(f"feedback={str(folder)!r}: no folder with {QUERIES}*.ndjson; qr serve --log writes one")
    if args.replay is not None:
        check_file("replay", args.replay)
        ReplayLog.read(args.replay, options=args.read_options())  # refuses one without times or queries
    if args.judging.kappa_labels is not None:
        check_file("judging.kappa_labels", args.judging.kappa_labels)
    check_student(args)
    check_judges(args)


def check_student(args: Args) -> None:
    """Raise what keeps the student's weights from being loaded; they are fetched if they are not on disk."""
    require("datasets", "trl", what="the warm start")
    if args.student == "tiny" or (args.out / "checkpoints" / "warm" / "student.json").is_file():
        return
    with about("student", args.student):
        check_causal_lm(args.student)
    if args.learning.lora_rank:
        require("peft", what="learning.lora_rank")


def check_judges(args: Args) -> None:
    """Raise what keeps judge, report judge and shopper from being opened; each server is asked once."""
    options = judge_options(args)
    named = {"judge": args.judge, "report_judge": args.report_judge}
    for name, spec in named.items():
        if spec != "auto" and (name == "judge" or spec != args.judge):
            with about(name, spec):
                check_judge(spec, options)
    if args.shopper == "llm" and "llm" not in named.values():
        with about("shopper", args.shopper):
            check_shopper(args.shopper, options)


def check_shop(args: Args, shop: Shop) -> None:
    """Refuse a shop that lacks what the run would miss after minutes: queries to learn from and to select by, labels.

    Raises:
        ConfigError: see above.
    """
    for split in ("train", "dev"):
        if not shop.split(split):
            raise ConfigError(
                f"{shop!r} has no {split} query, and a run learns from train and selects by dev: add queries, or leave "
                "the column split out, so that they are divided by their texts"
            )
    rows = [query.row for query in shop.split("train")]
    if args.judge == "labels" and not shop.qrels_complete and not np.diff(shop.qrels.indptr)[rows].any():
        raise ConfigError(
            f"judge='labels': no train query of {shop!r} has a label, so that every reward would be missing; name "
            "another judge, such as blend, or leave it out"
        )
