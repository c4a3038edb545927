"""What `qr pairs` and a recipe's pairs refuse before the shop is read.

check_pair_config(PairConfig(sources=("log", "teacher:prompted:smollm2-135m")))
"""

from __future__ import annotations

from pathlib import Path

from agents.checks import check_agent, check_language_model
from qr_env.common.errors import ConfigError
from runs.common.checks import check_file
from runs.pairs.args import PairConfig

TEACHER = "teacher:"
MADE_HERE = ("log", "graph", "engine")  # sources that need the shop alone


def check_pair_config(config: PairConfig) -> None:
    """Raise what is wrong with the sources, the agents and the filter of a configuration.

    Raises:
        QrError: of the kind that the part itself would raise: ConfigError, JudgeError, DownloadError, DataError.
    """
    for source in config.sources:
        if source.startswith(TEACHER):
            check_agent(source.removeprefix(TEACHER))
        elif source not in MADE_HERE and Path(source).suffix:
            check_file("sources", source)
        elif source not in MADE_HERE:
            raise ConfigError(f"sources={source!r}: choose log, graph, engine, teacher:AGENT, or a file of rewrites")
    for agent in config.agent:
        if agent != "log":
            check_agent(agent)
    kind, _, model = config.confirm.partition(":")
    if kind == "llm" and model:
        check_language_model(model)
    elif config.confirm not in ("none", "engine"):
        raise ConfigError(f"confirm={config.confirm!r}: choose engine, none, or llm:LM")
