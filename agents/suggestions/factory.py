"""Sources of suggestions by name.

    make_sources(["repair", "titles:splade", "type", "log"], SourceOptions(shop, encoder=open_encoder))

repair            corrected words, split and joined compounds (repair.py)
titles[:ENGINE]   words of the titles that an engine finds (titles.py)
type[:ENGINE]     the product type of those titles (product_type.py)
log               words of bought titles and of other queries, from the train split (query_log.py)
teacher:LM        words that a language model names (teacher.py); LM: as for `--agent prompted:LM`

ENGINE is a name of `qr_env.retrieval.factory` (dense, splade, hybrid:MODEL …) or own, the engine that the rewrites are
for; without one it is `SourceOptions.engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agents.suggestions import product_type, query_log, titles
from agents.suggestions.base import SuggestionSource
from agents.suggestions.cache import CachedSource, suggestion_key
from agents.suggestions.product_type import TypeSource
from agents.suggestions.query_log import LogSource
from agents.suggestions.repair import RepairSource
from agents.suggestions.teacher import TeacherSource, TextGenerator
from agents.suggestions.title_words import TitleStems
from agents.suggestions.titles import TitleSource
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Retriever, TextEncoder
from qr_env.common.text_store import TextStore
from qr_env.query_text.repair import Repair
from qr_env.retrieval.dense import Dense
from qr_env.retrieval.factory import make_retriever, retriever_uses_encoder
from qr_env.retrieval.splade import Splade
from qr_env.shop.shop import Shop

NAMES = "repair, titles[:ENGINE], type[:ENGINE], log, teacher:LM"
OWN = "own"  # the engine that the rewrites are for
FILE_NAME = "suggestions.sqlite"
TEACHER_PROMPT = "words_v1"  # of agents/prompted/prompts


@dataclass(frozen=True)
class SourceOptions:
    """What sources are built from, besides their names."""

    shop: Shop
    """Its products and, for log, its train queries and their purchases."""
    engine: str = "dense"
    """Engine of titles and type where their names have none."""
    own: Retriever | None = None
    """The engine that the rewrites are for; searched by sources whose engine is "own"."""
    titles: int = titles.TITLES
    """Number of nearest titles of titles."""
    encoder: Callable[[], TextEncoder] | None = None
    """Opens the sentence encoder of dense and hybrid engines; None opens the one that the engine names."""
    teacher: Callable[[str], TextGenerator] | None = None
    """Opens the language model of teacher by its name, with a prompt for words."""
    cache_dir: Path | None = None
    """Where indexes and suggestions are kept between runs; None keeps them in memory."""
    keep_queries: bool = True
    """Whether suggestions are stored there by the text of their query."""


def make_sources(names: Sequence[str], options: SourceOptions) -> list[SuggestionSource]:
    """The sources of these names, in order. What they share (repair, engines, title words) is built once.

    Suggestions of titles, type and log are cached (`cache.py`); a teacher's answers are kept by its model.

    Raises:
        ConfigError: an unknown name, an argument where none is taken, or something that `options` lacks.
    """
    parts = _Parts(options)
    return [_source(name, parts) for name in names]


def _source(name: str, parts: _Parts) -> SuggestionSource:
    check_source(name)
    kind, _, argument = name.partition(":")
    return BUILDERS[kind](argument, parts)


def check_source(name: str) -> None:
    """Raise ConfigError unless `name` is that of a source of suggestions, with an argument where one is needed."""
    kind, _, argument = name.partition(":")
    if kind not in BUILDERS:
        raise ConfigError(f"no source of suggestions {name!r}: choose from {NAMES}")
    if argument and kind in WITHOUT_ARGUMENT:
        raise ConfigError(f"source {name!r}: {kind} takes no argument; write {kind!r}")
    if kind == "teacher" and not argument:
        raise ConfigError("source 'teacher': name a language model: teacher:LM")


class _Parts:
    """What several sources of one shop share, built when first used."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options
        self._engines: dict[str, Retriever] = {}

    @cached_property
    def repair(self) -> Repair:
        """Of the shop."""
        return Repair.of(self.options.shop)

    @cached_property
    def stems(self) -> TitleStems:
        """Of the shop's titles."""
        return TitleStems(self.options.shop.titles, self.options.shop.tokenizer)

    @cached_property
    def store(self) -> TextStore | None:
        """Keeps suggestions on disk."""
        folder = self.options.cache_dir if self.options.keep_queries else None
        return None if folder is None else TextStore(folder / "suggestions" / FILE_NAME)

    def engine(self, spec: str) -> Retriever:
        """The engine of this name."""
        if spec == OWN:
            if self.options.own is None:
                raise ConfigError("the engine 'own' is the one that the rewrites are for: SourceOptions(own=…)")
            return self.options.own
        if spec not in self._engines:
            given = self.options.encoder if retriever_uses_encoder(spec) else None
            encoder = None if given is None else given()
            self._engines[spec] = make_retriever(spec, self.options.shop, self.options.cache_dir, encoder)
        return self._engines[spec]

    def cached(self, source: SuggestionSource, shop_hash: str, **settings: object) -> CachedSource:
        """The source with its suggestions kept; settings: what they depend on besides the shop.

        Those of the engine "own" are kept in memory alone: its name does not tell what it depends on.
        """
        store = None if settings.get("engine") == OWN else self.store
        return CachedSource(source, suggestion_key(source.name, shop_hash, settings), store)


def _repair(argument: str, parts: _Parts) -> SuggestionSource:
    return RepairSource(parts.repair)


def _titles(argument: str, parts: _Parts) -> SuggestionSource:
    spec, options = argument or parts.options.engine, parts.options
    engine = parts.engine(spec)
    source = TitleSource(engine, options.shop, parts.repair, options.titles)
    counts = [options.titles, titles.AT_MOST]
    return parts.cached(source, options.shop.products_hash, engine=spec, model=_model(engine), counts=counts)


def _type(argument: str, parts: _Parts) -> SuggestionSource:
    spec, options = argument or parts.options.engine, parts.options
    engine = parts.engine(spec)
    source = TypeSource(engine, options.shop, parts.repair)
    counts = [product_type.TITLES, product_type.MIN_SHARE, product_type.AT_MOST]
    return parts.cached(source, options.shop.products_hash, engine=spec, model=_model(engine), counts=counts)


def _log(argument: str, parts: _Parts) -> SuggestionSource:
    shop = parts.options.shop
    counts = [query_log.MIN_PURCHASES, query_log.MIN_QUERIES, query_log.MIN_WEIGHT, query_log.AT_MOST]
    return parts.cached(LogSource(shop, parts.stems), shop.hash, counts=counts)


def _teacher(argument: str, parts: _Parts) -> SuggestionSource:
    if parts.options.teacher is None:
        raise ConfigError("source 'teacher' needs a language model: SourceOptions(teacher=…) opens one by name")
    return TeacherSource(parts.options.teacher(argument), parts.stems)


def _model(engine: Retriever) -> str:
    """The weights that an engine embeds with; "" for one without."""
    parts = getattr(engine, "retrievers", (engine,))  # of a hybrid engine
    return "+".join(part.encoder.name for part in parts if isinstance(part, Dense | Splade))


BUILDERS: dict[str, Callable[[str, _Parts], SuggestionSource]] = {
    "repair": _repair,
    "titles": _titles,
    "type": _type,
    "log": _log,
    "teacher": _teacher,
}
WITHOUT_ARGUMENT = ("repair", "log")
