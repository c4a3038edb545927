"""From a name on the command line to a rewriter.

    agent = make_agent("best-of-8:out/quickstart/checkpoints/best", shop, AgentOptions(retriever, judge=…))

identity, oracle        the query itself; the best rewrite that the generated shop knows
spell, rm3              corrected words; words of what the query finds
synonyms[:FILE]         words of a dictionary (agents/baselines/synonyms.py)
cle-qr                  the nearest known query (agents/baselines/cle_qr.py)
prompted:LM             a language model, told to rewrite; LM: a name of qr_env.models.hub, a folder, or a server's URL
few-shot:LM             the same with examples from the shop's log
query2doc:LM            its passage on a product that the query may mean
best-of-N:AGENT         the best of an agent's proposals and the original, by a judge; N searches a query
FOLDER                  a student's checkpoint
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.baselines.classic import RM3, Identity, Oracle, Spell
from qr_env.common.atomic_io import current_version
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Agent
from qr_env.retrieval.combine import ORIGINAL_WEIGHT
from qr_env.shop.shop import Shop

if TYPE_CHECKING:
    from agents.prompted.generation import Asked, Writer
    from qr_env.common.protocols import Judge, Retriever, TextEncoder

KINDS = "identity, spell, rm3, oracle, synonyms[:FILE], cle-qr, prompted:LM, few-shot:LM, query2doc:LM, best-of-N:AGENT"
BEST_OF = re.compile(r"best-of-(\d+):(.+)")
PROMPTS = {"prompted": "rewrite_v1", "few-shot": "rewrite_few_v1", "query2doc": "query2doc_v1"}
# Longest answers, in tokens and words: a query, or a passage of the length that query2doc asks for (64 words).
SIZES = {"rewrite": (40, 12), "document": (96, 64)}


@dataclass(frozen=True)
class AgentOptions:
    """What an agent may need besides its name and the shop; what makes something heavy is called when it is needed.

    retriever: what RM3, cle-qr and best-of search. combine, weight: how rewrites meet their originals. encoder: of
    cle-qr. judge: who selects in best-of. server: (base URL, whether to chat) → a writer behind it. store: where
    generated texts are kept, a folder or file; None keeps none. seed: of training and of drawn examples.
    """

    retriever: Retriever
    combine: str = "expand"
    weight: float = ORIGINAL_WEIGHT
    encoder: Callable[[], TextEncoder] | None = None
    judge: Callable[[], Judge] | None = None
    server: Callable[[str, bool], Writer] | None = None
    store: Path | None = None
    seed: int = 0


def make_agent(spec: str, shop: Shop, options: AgentOptions) -> Agent:
    """The agent that `spec` names; names: module docstring.

    Raises:
        ConfigError: neither a known name nor a checkpoint folder; or what it needs is not there.
    """
    if best := BEST_OF.fullmatch(spec):
        return _best_of(int(best[1]), best[2], shop, options)
    kind, _, detail = spec.partition(":")
    if kind in PROMPTS and detail:
        return _written(kind, detail, shop, options)
    makers: dict[str, Callable[[], Agent]] = {
        "identity": Identity,
        "spell": lambda: Spell(shop),
        "rm3": lambda: RM3(shop, options.retriever),
        "oracle": lambda: Oracle(shop),
        "cle-qr": lambda: _cle_qr(shop, options),
    }
    if spec in makers:
        return makers[spec]()
    if kind == "synonyms":
        from agents.baselines.synonyms import Synonyms

        return Synonyms(shop, detail or None)
    return _student(spec)


def reads_log(spec: str) -> bool:
    """Whether the agent, or best-of's base, is made from what was bought for train queries."""
    return _base(spec).partition(":")[0] in ("cle-qr", "few-shot", "query2doc")


def checkpoint_of(spec: str) -> Path | None:
    """The checkpoint folder that `spec` names, best-of's base included; None where it names none."""
    folder = Path(_base(spec))
    return folder if (current_version(folder) / "student.json").is_file() else None


def _base(spec: str) -> str:
    """What best-of draws from; any other agent itself."""
    while best := BEST_OF.fullmatch(spec):
        spec = best[2]
    return spec


def _student(spec: str) -> Agent:
    if not current_version(Path(spec)).is_dir():
        raise ConfigError(f"--agent {spec!r}: neither one of {KINDS} nor a checkpoint folder")
    from agents.policy.student import Student

    return Student.load(spec)


def _needed(what: Callable[..., Any] | None, name: str, spec: str) -> Callable[..., Any]:
    if what is None:
        raise ConfigError(f"agent {spec!r} needs a {name}, and none was given: AgentOptions({name}=…)")
    return what


def _cle_qr(shop: Shop, options: AgentOptions) -> Agent:
    from agents.baselines.cle_qr import CleQR

    encoder = _needed(options.encoder, "encoder", "cle-qr")()
    return CleQR(shop, options.retriever, encoder, options.combine, options.weight, seed=options.seed)


def _best_of(n: int, base: str, shop: Shop, options: AgentOptions) -> Agent:
    from agents.baselines.best_of import BestOf

    judge = _needed(options.judge, "judge", f"best-of-{n}")()
    proposer = make_agent(base, shop, options)
    return BestOf(proposer, n, shop, options.retriever, judge, options.combine, options.weight)


def _written(kind: str, model: str, shop: Shop, options: AgentOptions) -> Agent:
    asked = _asked(kind, model, shop, options)
    if kind != "query2doc":
        from agents.prompted.agent import Prompted

        return Prompted(asked, options.combine, f"{kind}:{asked.writer.name}")
    from agents.prompted.query2doc import REPEATS, Query2Doc

    repeats = 1 if options.retriever.name == "dense" else REPEATS
    return Query2Doc(asked, options.combine, f"{kind}:{asked.writer.name}", repeats)


def _asked(kind: str, model: str, shop: Shop, options: AgentOptions) -> Asked:
    """The model, local or behind a server, with its prompt, its examples and the store."""
    from agents.prompted.generation import Asked, LocalWriter
    from agents.prompted.prompt_file import PromptFile
    from agents.prompted.text_store import TextStore
    from agents.query_log.purchase_log import document_examples, rewrite_examples

    prompt = PromptFile.load(PROMPTS[kind])
    behind_server = model.startswith(("http://", "https://"))
    writer: Writer = (
        _needed(options.server, "server", model)(model, not prompt.examples)
        if behind_server
        else LocalWriter(model, chat=not prompt.examples)
    )
    tokens, words = SIZES[prompt.kind]
    examples: list[tuple[str, str]] = []
    if prompt.kind == "document":
        examples = document_examples(shop, prompt.examples, options.seed)
    elif prompt.examples:
        examples = rewrite_examples(shop, options.retriever, prompt.examples, options.seed)
    store = TextStore(options.store) if options.store else None
    return replace(Asked(writer, prompt, examples), tokens=tokens, words=words, store=store)
