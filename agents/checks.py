"""Refuse a rewriter that cannot work before anything is read or built: name, files, weights, servers, packages.

    check_agent("best-of-8:prompted:http://127.0.0.1:8000/v1")      # asks the server once
    check_sources(["titles", "teacher:smollm2-135m"])

What depends on the shop is refused by `agents.factory.make_agent`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from agents.baselines.from_file import RewritesFromFile
from agents.baselines.synonyms import dictionary_file
from agents.factory import BEST_OF, check_name, checkpoint_folder
from agents.prompted.language_model import is_url
from agents.prompted.server_model import ServerModel
from agents.suggestions.factory import check_source
from agents.suggestions.settings import SuggestSettings
from qr_env.common.errors import ConfigError
from qr_env.common.packages import require
from qr_env.models.checks import check_causal_lm
from qr_env.shop.readers.options import ReadOptions


def is_best_of(spec: str) -> bool:
    """Whether the agent needs a judge that selects."""
    return BEST_OF.fullmatch(spec) is not None


def check_agent(spec: str, reading: ReadOptions | None = None) -> None:
    """Raise what would keep the agent called `spec` from being made.

    Args:
        reading: how a file of rewrites is read.

    Raises:
        ConfigError: an unknown name, an argument that cannot be, a file that cannot be read, a missing package.
        JudgeError: a server does not answer. DownloadError: weights are neither on disk nor to be had.
        DataError: a file of rewrites cannot be read.
    """
    if best_of := BEST_OF.fullmatch(spec):
        check_agent(best_of[2], reading)
        return
    if checkpoint_folder(spec) is not None:
        require("torch", "transformers", what=f"the student {spec}")
        return
    check_name(spec)
    name, _, argument = spec.partition(":")
    if name == "rewrites":
        RewritesFromFile(argument, reading)
    if name in CHECKS:
        CHECKS[name](argument)


def check_sources(names: Iterable[str]) -> None:
    """Raise ConfigError for a source of suggestions that does not exist, and what a teacher's model lacks."""
    for name in names:
        check_source(name)
        kind, _, argument = name.partition(":")
        if kind == "teacher":
            check_language_model(argument)


def check_language_model(model: str) -> None:
    """Raise what keeps a language model (a name, a folder, or a server's URL) from answering."""
    if is_url(model):
        served = ServerModel(model)
        try:
            _ = served.server
        finally:
            served.client.close()
    else:
        check_causal_lm(model)


def _check_suggest(argument: str) -> None:
    if argument:
        SuggestSettings.read(Path(argument))


def _check_suggest_with(argument: str) -> None:
    check_sources(argument.split("+"))


def _check_words(argument: str) -> None:
    if not Path(argument).is_dir():
        raise ConfigError(f"agent 'words:{argument}': no such folder; qr headroom SHOP --out {argument} trains one")


def _check_synonyms(argument: str) -> None:
    dictionary_file(argument or None)


def _check_cle_qr(argument: str) -> None:
    require("torch", "faiss", "sentence_transformers", what="cle-qr")


CHECKS: dict[str, Callable[[str], None]] = {
    "suggest": _check_suggest,
    "suggest-with": _check_suggest_with,
    "words": _check_words,
    "synonyms": _check_synonyms,
    "cle-qr": _check_cle_qr,
    "prompted": check_language_model,
    "few-shot": check_language_model,
    "query2doc": check_language_model,
}
