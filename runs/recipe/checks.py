"""What `qr recipe` refuses before its first stage: judges, agents, weights, servers and packages that a recipe names.

check_inputs(recipe, finished={"base"})
"""

from __future__ import annotations

from collections.abc import Collection

from agents.checks import check_agent, check_language_model
from judges.checks import check_judge, check_shopper
from judges.factory import JudgeOptions
from qr_env.common.packages import require
from qr_env.models.checks import check_causal_lm
from qr_env.models.hub import resolve
from runs.common.checks import about
from runs.pairs.args import PairConfig
from runs.pairs.checks import check_pair_config
from runs.recipe.spec import (
    BaseStage,
    DistillStage,
    ImitateStage,
    JudgeStage,
    OnlineStage,
    PairsStage,
    Recipe,
    SFTStage,
    Stage,
    is_url,
)

TRAINED_HERE = ("train", "self")  # teachers of a judge stage that are no judge's name


def check_inputs(recipe: Recipe, finished: Collection[str] = ()) -> None:
    """Raise what would stop a stage of the recipe after hours; stages that are finished are left out.

    Raises:
        QrError: of the kind that the stage would raise, with the stage's name before its message.
    """
    check_named_judge(recipe.settings.judge)
    for agent in recipe.baselines:
        check_agent(agent)
    for name, stage in recipe.stages.items():
        if name not in finished:
            with about("stage", name):
                check_stage(stage)


def check_stage(stage: Stage) -> None:
    """Raise what is wrong with the parts that one stage names."""
    match stage:
        case BaseStage(model=model):
            if model != "tiny":
                check_causal_lm(model)
            if stage.lora_rank:
                require("peft", what="lora_rank")
        case PairsStage():
            check_pair_config(PairConfig(sources=stage.sources, agent=stage.agent, confirm=stage.confirm))
        case SFTStage():
            require("datasets", "trl", what="supervised fine-tuning")
        case DistillStage(teacher=teacher) | ImitateStage(teacher=teacher):
            if is_url(teacher):
                check_language_model(teacher)
        case OnlineStage():
            check_named_judge(stage.judge)
            check_shopper(stage.shopper, JudgeOptions())
        case JudgeStage(teacher=teacher):
            resolve("minilm-l6")
            if teacher not in TRAINED_HERE:
                check_named_judge(teacher)


def check_named_judge(spec: str) -> None:
    """`check_judge`, except for "" (the recipe's), "auto", and a judge that an earlier stage ("@NAME") will make."""
    if spec not in ("", "auto") and "@" not in spec:
        with about("judge", spec):
            check_judge(spec, JudgeOptions())
