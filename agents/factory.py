"""Query rewriters by name, for `--agent` and for code.

    agent = make_agent("best-of-8:out/quickstart/checkpoints/best", AgentOptions(shop, retriever, judge=…))

identity, oracle        the query itself; the best rewrite that the generated shop knows
spell, rm3              spelling correction; pseudo-relevance feedback
repair                  corrected words, split and joined compounds, added (qr_env/query_text/repair.py)
suggest[:FILE]          repair, and words of a second engine's titles where few results hold the whole query; FILE: the
                        settings that `qr suggest SHOP` chose (agents/suggestions/rewriter.py)
suggest-with:SOURCES    the same with the words of other sources, joined by "+": titles:splade+type+log+teacher:LM
                        (names: agents/suggestions/factory.py); repair needs no mention
words:FOLDER            a policy that weighs the same words, of `qr headroom --out` (agents/policy/word_policy.py)
synonyms[:FILE]         words of a dictionary (agents/baselines/synonyms.py)
cle-qr                  the nearest known query (agents/baselines/cle_qr.py)
prompted:LM             a prompted language model; LM: a name of qr_env.models.hub, a folder, or a server's URL
few-shot:LM             the same with examples from the shop's query log
rewrites:FILE           rewrites of a file with columns query and rewrite (agents/baselines/from_file.py)
query2doc:LM            a passage about a product that the query may mean, written by the language model
best-of-N:AGENT         the best of an agent's rewrites and the original, selected by a judge; N searches a query
FOLDER                  a trained student's checkpoint, or one that `qr models export` converted
NAME[:ARGUMENT]         a rewriter that another package registers in the entry-point group `qr_env.agents`

A builder is `(argument: str, options: AgentOptions) -> Agent`; `argument` is what follows the first colon, "" for none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agents.baselines.best_of import BestOf
from agents.baselines.classic import RM3, Identity, Oracle, Spell
from agents.baselines.cle_qr import CleQR
from agents.baselines.from_file import RewritesFromFile
from agents.baselines.synonyms import Synonyms
from agents.policy.fast.facts import is_exported
from agents.policy.fast.student import FastStudent
from agents.policy.saved_settings import offer_settings, saved_settings
from agents.prompted.agent import PromptedAgent
from agents.prompted.generation import PromptedModel
from agents.prompted.language_model import LanguageModel, open_language_model
from agents.prompted.prompt_file import PromptFile
from agents.prompted.query2doc import REPEATS, Query2Doc
from agents.query_log.purchase_log import document_examples, rewrite_examples
from agents.suggestions.factory import NAMES, OWN, TEACHER_PROMPT, SourceOptions, make_sources
from agents.suggestions.merged import MergedSource
from agents.suggestions.rewriter import Repaired, Suggest
from agents.suggestions.settings import SuggestSettings
from agents.suggestions.suggester import OfferSettings, Suggester
from agents.suggestions.teacher import MAX_WORDS
from qr_env.common.atomic_io import current_version
from qr_env.common.errors import ConfigError
from qr_env.common.plugins import load_plugin, plugin_names
from qr_env.common.protocols import Agent, Judge, Retriever, TextEncoder
from qr_env.common.text_store import TextStore
from qr_env.query_text.repair import Repair
from qr_env.retrieval.combine import ORIGINAL_WEIGHT
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop

KINDS = (
    "identity, spell, repair, suggest[:FILE], suggest-with:SOURCES, words:FOLDER, rm3, oracle, synonyms[:FILE], "
    "cle-qr, prompted:LM, few-shot:LM, query2doc:LM, rewrites:FILE, best-of-N:AGENT"
)
BEST_OF = re.compile(r"best-of-(\d+):(.+)")
READ_QUERY_LOG = ("cle-qr", "few-shot", "query2doc")
# Longest answer by kind of prompt, (tokens, words): a query, or a passage as long as query2doc asks for.
ANSWER_LENGTHS = {"rewrite": (40, 12), "document": (96, 64), "words": (40, MAX_WORDS)}


@dataclass(frozen=True)
class AgentOptions:
    """What a rewriter may be built from, besides its name. Encoder and judge are opened only by agents that use one."""

    shop: Shop
    """Its catalogue and, for agents that read a query log, its train queries and their purchases."""
    retriever: Retriever
    """Searched by suggest, rm3, cle-qr, few-shot and best-of."""
    combine: str = "expand"
    """How rewrites are searched together with their original: "replace", "expand" or "union"."""
    weight: float = ORIGINAL_WEIGHT
    """Weight of the original's words in "expand"."""
    encoder: Callable[[], TextEncoder] | None = None
    """Opens the sentence encoder of cle-qr, and of suggest's second engine where the retriever is bm25."""
    judge: Callable[[], Judge] | None = None
    """Opens the judge that selects in best-of."""
    language_model: Callable[[str, bool], LanguageModel] = open_language_model
    """Opens a language model by (name, whether to use its chat template)."""
    store: Path | None = None
    """Folder or file that keeps generated texts; None keeps none."""
    cache_dir: Path | None = None
    """Folder that keeps the second engines and the suggested words; None keeps them in memory."""
    keep_queries: bool = True
    """Whether suggestions are stored there by the text of their query; a service of shoppers' queries stores none."""
    seed: int = 0
    """Of training and of drawn few-shot examples."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """How the files of rewrites:FILE and synonyms:FILE are read."""


AgentBuilder = Callable[[str, AgentOptions], Agent]


def make_agent(spec: str, options: AgentOptions) -> Agent:
    """The rewriter that `spec` names (names: module docstring).

    Raises:
        ConfigError: unknown name and no checkpoint folder; or the agent needs something that `options` lacks.
    """
    if best_of := BEST_OF.fullmatch(spec):
        return _best_of(int(best_of[1]), best_of[2], options)
    name, _, argument = spec.partition(":")
    if current_version(Path(spec)).is_dir() and name not in BUILDERS:
        settings = offer_settings(saved_settings(spec))
        suggester = make_suggester(options, settings) if settings else None
        if is_exported(current_version(Path(spec))):
            return FastStudent.load(spec, suggester)
        # torch takes seconds to import, and the other agents do not need it.
        from agents.policy.student import Student  # noqa: PLC0415

        return Student.load(spec, suggester=suggester)
    check_name(spec)
    return load_plugin("qr_env.agents", name, BUILDERS)(argument, options)


def check_name(spec: str) -> None:
    """Raise ConfigError unless `spec` is the name of a rewriter, with an argument where one is needed."""
    name, _, argument = spec.partition(":")
    if name not in plugin_names("qr_env.agents", BUILDERS):
        raise ConfigError(
            f"agent={spec!r}: neither one of {KINDS} nor a checkpoint folder; another package can register more as "
            "entry points of the group 'qr_env.agents'"
        )
    if name in WITHOUT_ARGUMENT and argument:
        raise ConfigError(f"agent={spec!r}: {name} takes no argument; write {name!r}")
    if not argument and (way_out := NEED_ARGUMENT.get(name)):
        raise ConfigError(f"agent={spec!r}: {way_out}")


def reads_query_log(spec: str) -> bool:
    """Whether the agent, or the agent inside best-of, uses the purchases of train queries."""
    return _without_best_of(spec).partition(":")[0] in READ_QUERY_LOG


def checkpoint_folder(spec: str) -> Path | None:
    """The checkpoint folder that `spec` names, alone or inside best-of; None for every other agent."""
    folder = Path(_without_best_of(spec))
    return folder if (current_version(folder) / "student.json").is_file() else None


def _without_best_of(spec: str) -> str:
    """The agent that best-of samples from; any other agent itself."""
    while best_of := BEST_OF.fullmatch(spec):
        spec = best_of[2]
    return spec


def _best_of(n: int, base: str, options: AgentOptions) -> Agent:
    if options.judge is None:
        raise _lacks(f"best-of-{n}", "judge")
    judge, proposer = options.judge(), make_agent(base, options)
    return BestOf(proposer, n, options.shop, options.retriever, judge, options.combine, options.weight)


def _lacks(agent: str, option: str) -> ConfigError:
    return ConfigError(f"agent {agent!r} needs a {option}, and none was given: AgentOptions({option}=…)")


def _identity(argument: str, options: AgentOptions) -> Agent:
    return Identity()


def _spell(argument: str, options: AgentOptions) -> Agent:
    return Spell(options.shop)


def _rm3(argument: str, options: AgentOptions) -> Agent:
    return RM3(options.shop, options.retriever)


def _repair(argument: str, options: AgentOptions) -> Agent:
    return Repaired(Repair.of(options.shop), options.combine, options.weight)


def _suggest(argument: str, options: AgentOptions) -> Agent:
    settings = SuggestSettings.read(Path(argument)) if argument else SuggestSettings()
    return make_suggest(options, settings)


def make_suggest(options: AgentOptions, settings: SuggestSettings, sources: Sequence[str] = ("titles",)) -> Suggest:
    """`suggest` with the words of these sources, which search the engine that `settings` names (`second_engine`)."""
    engine = OWN if settings.engine == "own" else second_engine(options.retriever.name)
    if engine == "dense" and options.encoder is None:
        raise _lacks("suggest", "encoder")
    found = make_sources(
        sources,
        SourceOptions(
            options.shop,
            engine,
            options.retriever,
            settings.titles,
            encoder=options.encoder,
            teacher=partial(_prompted_model, TEACHER_PROMPT, options=options),
            cache_dir=options.cache_dir,
            keep_queries=options.keep_queries,
        ),
    )
    source = found[0] if len(found) == 1 else MergedSource(found, options.shop.tokenizer)
    repair = Repair.of(options.shop)
    return Suggest(options.shop, options.retriever, source, repair, settings, options.combine, options.weight)


def second_engine(name: str) -> str:
    """The engine whose titles give words: dense beside bm25, bm25 beside dense; any other engine gives its own."""
    return {"bm25": "dense", "dense": "bm25"}.get(name, OWN)


def make_suggester(options: AgentOptions, settings: OfferSettings) -> Suggester:
    """What a student chooses from: repaired words, and those of the sources that the settings name."""
    finder = make_suggest(options, settings.suggest, settings.sources)
    return Suggester(finder, settings, options.combine, options.weight)


def _suggest_with(argument: str, options: AgentOptions) -> Agent:
    suggest = make_suggest(options, SuggestSettings(), argument.split("+"))
    suggest.name = f"suggest-with:{argument}"
    return suggest


def _words(argument: str, options: AgentOptions) -> Agent:
    # torch takes seconds to import, and the other agents do not need it.
    from agents.policy.word_policy import WordPolicy  # noqa: PLC0415

    return WordPolicy.load(Path(argument), make_suggest(options, SuggestSettings()))


def _oracle(argument: str, options: AgentOptions) -> Agent:
    return Oracle(options.shop)


def _rewrites(argument: str, options: AgentOptions) -> Agent:
    return RewritesFromFile(argument, options.reading, options.shop)


def _synonyms(argument: str, options: AgentOptions) -> Agent:
    return Synonyms(options.shop, argument or None, options=options.reading)


def _cle_qr(argument: str, options: AgentOptions) -> Agent:
    if options.encoder is None:
        raise _lacks("cle-qr", "encoder")
    encoder = options.encoder()
    return CleQR(options.shop, options.retriever, encoder, options.combine, options.weight, seed=options.seed)


def _prompted(argument: str, options: AgentOptions) -> Agent:
    model = _prompted_model("rewrite_v1", argument, options)
    return PromptedAgent(model, options.combine, f"prompted:{model.model.name}", options.shop.tokenizer)


def _few_shot(argument: str, options: AgentOptions) -> Agent:
    model = _prompted_model("rewrite_few_v1", argument, options)
    return PromptedAgent(model, options.combine, f"few-shot:{model.model.name}", options.shop.tokenizer)


def _query2doc(argument: str, options: AgentOptions) -> Agent:
    model = _prompted_model("query2doc_v1", argument, options)
    repeats = 1 if options.retriever.name == "dense" else REPEATS
    return Query2Doc(model, options.combine, f"query2doc:{model.model.name}", repeats)


def _prompted_model(prompt_name: str, language_model: str, options: AgentOptions) -> PromptedModel:
    """The language model with its prompt, few-shot examples of the query log, and text store."""
    prompt = PromptFile.load(prompt_name)
    model = options.language_model(language_model, not prompt.examples)
    examples: list[tuple[str, str]] = []
    if prompt.kind == "document":
        examples = document_examples(options.shop, prompt.examples, options.seed)
    elif prompt.examples:
        examples = rewrite_examples(options.shop, options.retriever, prompt.examples, options.seed)
    store = TextStore(options.store) if options.store else None
    max_tokens, max_words = ANSWER_LENGTHS[prompt.kind]
    return PromptedModel(model, prompt, examples, max_tokens, max_words, store)


BUILDERS: dict[str, AgentBuilder] = {
    "identity": _identity,
    "spell": _spell,
    "repair": _repair,
    "suggest": _suggest,
    "suggest-with": _suggest_with,
    "words": _words,
    "rm3": _rm3,
    "oracle": _oracle,
    "synonyms": _synonyms,
    "cle-qr": _cle_qr,
    "prompted": _prompted,
    "few-shot": _few_shot,
    "query2doc": _query2doc,
    "rewrites": _rewrites,
}
WITHOUT_ARGUMENT = ("identity", "spell", "repair", "rm3", "oracle", "cle-qr")
NEED_ARGUMENT = {  # name → what its argument is
    "suggest-with": f"name sources, joined by '+', from {NAMES}",
    "words": "name the folder of a word policy, words:FOLDER (qr headroom SHOP --out FOLDER writes it)",
    "rewrites": "name a file with columns query and rewrite, rewrites:FILE",
    "prompted": "name a language model, prompted:LM",
    "few-shot": "name a language model, few-shot:LM",
    "query2doc": "name a language model, query2doc:LM",
}
