"""Refuse a judge or a shopper that cannot work before anything is read or built: name, server, weights, packages.

    check_judge("ensemble:embedding,llm", JudgeOptions(urls=["http://127.0.0.1:8000/v1"]))   # asks the server once
    check_shopper("llm", options)

What depends on the shop is refused by `judges.factory.open_judge`.
"""

from __future__ import annotations

from collections.abc import Callable

from judges.cross_encoder.judge import CrossEncoderJudge
from judges.factory import (
    BUILDERS,
    COMPOSED,
    WITHOUT_ARGUMENT,
    JudgeOptions,
    cross_encoder_folder,
    judge_names,
    refuse_argument,
)
from judges.llm.judge import LLMJudge
from judges.simple.degraded import DegradedOptions
from judges.verdict_store.store import VerdictStore
from qr_env.common.errors import ConfigError
from qr_env.common.plugins import load_plugin
from qr_env.retrieval.factory import default_encoder


def check_judge(spec: str, options: JudgeOptions) -> None:
    """Raise what would keep the judge called `spec` from being opened.

    Raises:
        ConfigError: an unknown name, an argument that cannot be, a missing package, no server's URL, no such prompt.
        JudgeError: the server does not answer, does not serve the model or cannot grade; a folder holds no judge.
        DownloadError: weights are neither on disk nor to be had. StoreError: there is no store to replay.
    """
    for name in judge_names(spec):
        kind, _, argument = name.partition(":")
        load_plugin("qr_env.judges", kind, BUILDERS)
        if kind in COMPOSED:
            raise ConfigError(f"judge {spec!r}: name its members, {kind}:A,B")
        if kind in WITHOUT_ARGUMENT:
            refuse_argument(kind, argument)
        if kind in CHECKS:
            CHECKS[kind](argument, options)


def check_shopper(kind: str, options: JudgeOptions) -> None:
    """Raise ConfigError or JudgeError if the shopper is to be played by a server that cannot be used."""
    if kind == "llm":
        with LLMJudge(options.client(), options.model) as model:
            _ = model.capabilities


def _check_llm(argument: str, options: JudgeOptions) -> None:
    with LLMJudge(options.client(), options.model, prompt=options.prompt) as judge:
        _ = judge.method


def _check_embedding(argument: str, options: JudgeOptions) -> None:
    if options.encoder is None:
        default_encoder()


def _check_cross_encoder(argument: str, options: JudgeOptions) -> None:
    CrossEncoderJudge.load(cross_encoder_folder(argument))


def _check_replay(argument: str, options: JudgeOptions) -> None:
    if options.store is None:
        raise ConfigError("judge 'replay' answers from a verdict store: name its folder")
    VerdictStore(options.store, read_only=True).close()


def _check_degraded(argument: str, options: JudgeOptions) -> None:
    DegradedOptions.parse(argument, options.seed)


CHECKS: dict[str, Callable[[str, JudgeOptions], None]] = {
    "llm": _check_llm,
    "embedding": _check_embedding,
    "purchases": _check_embedding,
    "cross-encoder": _check_cross_encoder,
    "replay": _check_replay,
    "degraded": _check_degraded,
}
