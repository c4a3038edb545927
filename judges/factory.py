"""Judges and shoppers by name.

    judge = open_judge("llm", shop, JudgeOptions(urls=("http://127.0.0.1:8000/v1",)))

auto                    labels where the shop knows the grade of every pair, else embedding
labels                  the shop's human grades, or the generated shop's truth
embedding               cosine similarity of query and product
llm                     a language model behind an OpenAI-compatible server (`qr judge serve` starts one)
cross-encoder[:MODEL]   folder of a distilled judge (default out/distill/student), or any one-logit model of the hub
replay[:FINGERPRINT]    verdicts of the verdict store only; no judge is asked
ensemble:A,B            mean of several of these

A name that is not in this list is looked up among the entry points of group `qr_env.judges`, where another package may
register a builder `(shop, argument, options) -> Judge`. `argument` is what follows the first colon of the name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from judges.cross_encoder.judge import CrossEncoderJudge
from judges.llm.judge import LLMJudge
from judges.llm.prompt import GRADE
from judges.shoppers.llm import LLMShopper
from judges.shoppers.model import PROFILES, ModelShopper
from judges.simple.embedding import EmbeddingJudge, Thresholds
from judges.simple.ensemble import EnsembleJudge
from judges.simple.labels import LabelsJudge
from judges.validation.sanitize import sanitized_shop
from judges.verdict_store.store import VerdictStore
from judges.verdict_store.stored import ReplayOnly, ShopJudge, replay
from qr_env.common.errors import ConfigError
from qr_env.common.plugins import load_plugin
from qr_env.common.protocols import Judge, Shopper, TextEncoder
from qr_env.llm.client import Client
from qr_env.models.hub import resolve
from qr_env.retrieval.encoder import product_vectors
from qr_env.retrieval.factory import default_encoder
from qr_env.shop.shop import Shop

KINDS = ("auto", "labels", "embedding", "llm", "cross-encoder[:MODEL]", "replay[:FINGERPRINT]", "ensemble:A,B")
DISTILLED = Path("out/distill/student")  # where `qr judge distill` leaves its judge
TIMEOUT = 600.0  # seconds: a model on a busy CPU answers after minutes, and a retry would only slow it down
# With a disk cache, a catalogue of up to this many products is embedded at once: minutes the first time, and dense
# retrieval shares the vectors. Above, or without a cache, a product is embedded when it is first graded.
EMBED_ALL_LIMIT = 100_000


@dataclass(frozen=True)
class JudgeOptions:
    """What a judge may need besides its name."""

    urls: Sequence[str] = ()
    """base URLs of OpenAI-compatible servers; () reads QR_JUDGE_URL"""
    model: str | None = None
    """the model's name at the server; None asks the server"""
    store: Path | None = None
    """folder of the verdict store; None keeps no verdict"""
    split: str | None = None
    """labels: grade queries of this split only, so that held-out labels cannot leak; None grades all"""
    encoder: TextEncoder | None = None
    """embedding: text encoder; None takes MiniLM"""
    sanitize: bool = False
    """remove text that is written for a judge from product texts before the judge reads them"""
    prompt: str = GRADE
    """llm: name of a file of judges/llm/prompts/, or a path"""
    timeout: float = TIMEOUT
    """seconds that a server has for an answer"""
    thresholds: Thresholds | None = None
    """embedding: cuts and temperature; None fits them on the training purchases, or takes defaults if there are none"""

    def client(self) -> Client:
        """A client of the servers. Raises ConfigError where none is named."""
        return Client(self.urls, timeout=self.timeout)


def open_judge(spec: str, shop: Shop, options: JudgeOptions | None = None) -> Judge:
    """The judge called `spec` (see the module docstring), ready to grade the shop's products.

    Raises ConfigError for an unknown name, JudgeError for a judge that cannot be used.
    """
    options = options or JudgeOptions()
    if options.sanitize:
        shop, options = sanitized_shop(shop), replace(options, sanitize=False)
    kind, _, argument = spec.partition(":")
    judge: Judge = load_plugin("qr_env.judges", kind, BUILDERS)(shop, argument, options)
    return judge


def build_auto(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """Labels where the shop knows the grade of every pair, else the embedding judge."""
    build = build_labels if shop.qrels_complete else build_embedding
    return build(shop, argument, options)


def build_labels(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """The shop's own grades."""
    _refuse_argument("labels", argument)
    return LabelsJudge(shop, (options or JudgeOptions()).split)


def build_embedding(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """Similarity of query and product; its thresholds are fitted on training purchases where the shop has any."""
    _refuse_argument("embedding", argument)
    options = options or JudgeOptions()
    encoder = options.encoder or default_encoder()
    has_cache = getattr(encoder, "cache_dir", None) is not None
    vectors_CD = product_vectors(shop, encoder) if has_cache and len(shop.products) <= EMBED_ALL_LIMIT else None
    judge = EmbeddingJudge(shop, encoder, options.thresholds, vectors_CD)
    if options.thresholds is None and len(shop.purchase_rows(split="train")[0]):
        judge.fit_purchases()
    return judge


def build_llm(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """A language model behind a server, with the verdict store."""
    _refuse_argument("llm", argument)
    options = options or JudgeOptions()
    return ShopJudge(shop, LLMJudge(options.client(), options.model, prompt=options.prompt), open_store(options))


def build_cross_encoder(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """A cross-encoder from a folder or hub name (default: the distilled judge), with the verdict store."""
    if not argument and not DISTILLED.is_dir():
        raise ConfigError(f"judge 'cross-encoder': no {DISTILLED}: run qr judge distill, or name a folder")
    model = CrossEncoderJudge.load(resolve(argument or str(DISTILLED)))
    return ShopJudge(shop, model, open_store(options or JudgeOptions()))


def build_replay(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """The verdicts that the store holds; argument: beginning of the judge's fingerprint, "" for the only one."""
    store = options.store if options else None
    if store is None:
        raise ConfigError("judge 'replay' answers from a verdict store: name its folder")
    return replay(shop, VerdictStore(store, read_only=True), argument or None)


def build_ensemble(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """Mean of the judges that `argument` names, separated by commas."""
    return EnsembleJudge([open_judge(name, shop, options) for name in _split_names(argument)])


BUILDERS: dict[str, Callable[[Shop, str, JudgeOptions | None], Judge]] = {
    "auto": build_auto,
    "labels": build_labels,
    "embedding": build_embedding,
    "llm": build_llm,
    "cross-encoder": build_cross_encoder,
    "replay": build_replay,
    "ensemble": build_ensemble,
}


def _refuse_argument(kind: str, argument: str) -> None:
    if argument:
        raise ConfigError(f"judge {kind!r} takes no argument, got {argument!r}; choose one of {', '.join(KINDS)}")


def judge_names(spec: str) -> list[str]:
    """Names of the judges that a spec stands for: the members of an ensemble, else the one."""
    kind, _, argument = spec.partition(":")
    return _split_names(argument if kind == "ensemble" else "") or [spec.strip()]


def _split_names(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def uses_language_model(judge: Judge) -> bool:
    """Whether a language model grades: by itself, in an ensemble, or in the run that is replayed.

    The judge of a replayed run is known from the fingerprint in the store, so that a replay is treated as its run was.
    """
    if isinstance(judge, EnsembleJudge):
        return any(map(uses_language_model, judge.judges))
    if not isinstance(judge, ShopJudge):
        return False
    pair_judge = judge.pair_judge
    # The fingerprint is read of a replay only: to know its own, the LLM judge has to ask its server.
    name = pair_judge.fingerprint.split("|")[0] if isinstance(pair_judge, ReplayOnly) else pair_judge.name
    return name == "llm"


def open_store(options: JudgeOptions) -> VerdictStore | None:
    """The verdict store of the options; None where they name none."""
    return VerdictStore(options.store) if options.store else None


def open_shopper(kind: str, shop: Shop, options: JudgeOptions) -> Shopper | None:
    """A simulated shopper with five profiles: "none", "model" (computed from grades) or "llm" (asks the server)."""
    if kind == "none":
        return None
    if kind == "model":
        return ModelShopper(shop, PROFILES)
    if kind == "llm":
        return LLMShopper(shop, options.client(), options.model, profiles=PROFILES, store=open_store(options))
    raise ConfigError(f"no shopper {kind!r}; choose one of none, model, llm")
