"""Judges and shoppers by name.

    judge = open_judge("llm", shop, JudgeOptions(urls=("http://127.0.0.1:8000/v1",)))

auto                    labels where the shop knows the grade of every pair, else blend
labels                  the shop's human grades, or the generated shop's truth
blend                   standardised mean of embedding, coverage and, where the shop has purchases, purchases
blend:1,3[,A=2,…]       the same of embedding and coverage with these weights, and of further judges (`A`), if any
embedding               cosine similarity of query and product
purchases               similarity of a product to what was bought after the same query in the log
coverage                share of the query's words, repaired, that the product's title holds
fields                  how likely each text field of the product is to have written the query's words
llm                     a language model behind an OpenAI-compatible server (`qr judge serve` starts one)
cross-encoder[:MODEL]   folder of a distilled judge (default out/distill/student), or any one-logit model of the hub
replay[:FINGERPRINT]    verdicts of the verdict store only; no judge is asked
ensemble:A,B            mean of several of these
pessimistic:A,B         of several of these, for each pair, the verdict with the smallest expected gain
degraded:KAPPA[:SEED[:BIAS]]   the truth with a real judge's errors, as many as this κ allows: for experiments

A name that is not in this list is looked up among the entry points of group `qr_env.judges`, where another package may
register a builder `(shop, argument, options) -> Judge`. `argument` is what follows the first colon of the name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from judges.cross_encoder.judge import CrossEncoderJudge
from judges.llm.judge import LLMJudge
from judges.llm.prompt import GRADE
from judges.shoppers.llm import LLMShopper
from judges.shoppers.model import PROFILES, ModelShopper
from judges.simple.blend import BlendJudge, LevelScore, ScoringJudge
from judges.simple.coverage import CoverageJudge
from judges.simple.degraded import DegradedJudge, DegradedOptions
from judges.simple.embedding import EmbeddingJudge
from judges.simple.ensemble import EnsembleJudge
from judges.simple.fields import FieldsJudge
from judges.simple.labels import LabelsJudge
from judges.simple.pessimistic import PessimisticJudge
from judges.simple.purchases import PurchasesJudge
from judges.simple.reference_pairs import ReferencePairs
from judges.simple.thresholds import Thresholds
from judges.validation.samples import retrieved_sample
from judges.validation.sanitize import sanitized_shop
from judges.verdict_store.store import VerdictStore
from judges.verdict_store.stored import ReplayOnly, ShopJudge, replay
from qr_env.common.download import cache_root
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.plugins import load_plugin
from qr_env.common.protocols import Judge, Shopper, TextEncoder
from qr_env.llm.client import Client
from qr_env.models.hub import resolve
from qr_env.retrieval.encoder import product_vectors
from qr_env.retrieval.factory import default_encoder, make_retriever
from qr_env.shop.shop import Shop

KINDS = (
    "auto", "labels", "blend[:1,3][,A=2]", "embedding", "purchases", "coverage", "fields", "llm",
    "cross-encoder[:MODEL]",     "replay[:FINGERPRINT]", "ensemble:A,B", "pessimistic:A,B", "degraded:KAPPA",
)  # fmt: skip
WITHOUT_ARGUMENT = ("auto", "labels", "embedding", "purchases", "coverage", "fields", "llm")
COMPOSED = ("blend", "ensemble", "pessimistic")  # names that hold other judges' names, separated by commas
DISTILLED = Path("out/distill/student")  # where `qr judge distill` leaves its judge
# Of `purchases` in a blend, beside 1 for similarity and 1 for coverage. On 300 train queries of the generated shop it
# orders pairs of a query with AUC .99, the other two together with .86 (runs/results/judges.md).
PURCHASES_WEIGHT = 4.0
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
    seed: int = 0
    """degraded: of the errors, where its name holds no seed"""
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
    """The judge that `auto_judge` names."""
    refuse_argument("auto", argument)
    return open_judge(auto_judge(shop), shop, options)


def auto_judge(shop: Shop) -> str:
    """What "auto" stands for: labels where the shop knows the grade of every pair, else blend."""
    return "labels" if shop.qrels_complete else "blend"


def build_labels(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """The shop's own grades."""
    refuse_argument("labels", argument)
    return LabelsJudge(shop, (options or JudgeOptions()).split)


def build_embedding(shop: Shop, argument: str, options: JudgeOptions | None = None) -> EmbeddingJudge:
    """Similarity of query and product; its thresholds are fitted on training purchases where the shop has any."""
    refuse_argument("embedding", argument)
    options = options or JudgeOptions()
    encoder = options.encoder or default_encoder()
    has_cache = getattr(encoder, "cache_dir", None) is not None
    vectors_CD = product_vectors(shop, encoder) if has_cache and len(shop.products) <= EMBED_ALL_LIMIT else None
    judge = EmbeddingJudge(shop, encoder, options.thresholds, vectors_CD)
    if options.thresholds is None and len(shop.purchase_rows(split="train")[0]):
        judge.fit_purchases()
    return judge


def build_coverage(shop: Shop, argument: str, options: JudgeOptions | None = None) -> CoverageJudge:
    """Share of the query's words that a title holds."""
    refuse_argument("coverage", argument)
    return CoverageJudge(shop)


def build_fields(shop: Shop, argument: str, options: JudgeOptions | None = None) -> FieldsJudge:
    """Likelihood of the query's words in every text field."""
    refuse_argument("fields", argument)
    return FieldsJudge(shop)


def build_purchases(shop: Shop, argument: str, options: JudgeOptions | None = None) -> PurchasesJudge:
    """Similarity to the products that were bought after the same query."""
    refuse_argument("purchases", argument)
    if not len(shop.purchase_rows(split="train")[0]):
        raise JudgeError(f"{shop!r} has no purchases for train queries: add purchases.csv, or take judge 'blend'")
    return PurchasesJudge(shop, build_embedding(shop, "", options))


def build_blend(shop: Shop, argument: str, options: JudgeOptions | None = None) -> BlendJudge:
    """Standardised mean of embedding, coverage and the further judges of `argument` (`blend_members`).

    Where the shop has purchases for train queries, its thresholds are fitted to them, and without an argument
    `purchases` is one of the judges.
    """
    weights = blend_members(argument)
    has_purchases = len(shop.purchase_rows(split="train")[0]) > 0
    if has_purchases and not argument:
        weights["purchases"] = PURCHASES_WEIGHT
    embedding = build_embedding(shop, "", options)
    judges: list[ScoringJudge] = [embedding, build_coverage(shop, "", options)]
    judges += [_scoring_judge(name, shop, embedding, options) for name in list(weights)[len(judges) :]]
    reference = ReferencePairs.draw(shop, make_retriever("bm25", shop, cache_root()))
    blend = BlendJudge.calibrated(judges, list(weights.values()), reference)
    if has_purchases:
        blend.fit(shop, *embedding.purchase_pairs())
    return blend


def _scoring_judge(name: str, shop: Shop, embedding: EmbeddingJudge, options: JudgeOptions | None) -> ScoringJudge:
    """A further judge of a blend; `purchases` shares the product vectors of the blend's `embedding`."""
    return PurchasesJudge(shop, embedding) if name == "purchases" else LevelScore(open_judge(name, shop, options))


def blend_members(argument: str) -> dict[str, float]:
    """Judge → weight of the blend with this argument.

    argument: "" or two numbers, the weights of embedding and coverage, then names of further judges, each with its
    weight after "=" unless that is 1: "", "1,3", "cross-encoder:FOLDER=2", "1,3,cross-encoder:FOLDER". Raises
    ConfigError for anything else.
    """
    parts = _split_names(argument)
    numbers = [float(part) for part in parts if _is_number(part)]
    if len(numbers) not in (0, 2) or not all(map(_is_number, parts[: len(numbers)])):
        raise ConfigError(f"judge 'blend:{argument}': give no weight or two, of embedding and coverage: blend:1,3")
    weights = dict(zip(("embedding", "coverage"), numbers or (1.0, 1.0), strict=True))
    for part in parts[len(numbers) :]:
        name, _, weight = part.rpartition("=") if _is_number(part.rpartition("=")[2]) else (part, "", "1")
        if name in weights:
            raise ConfigError(f"judge 'blend:{argument}': {name} is in it already; its weight is set by blend:1,3")
        weights[name] = float(weight)
    return weights


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def build_llm(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """A language model behind a server, with the verdict store."""
    refuse_argument("llm", argument)
    options = options or JudgeOptions()
    return ShopJudge(shop, LLMJudge(options.client(), options.model, prompt=options.prompt), open_store(options))


def build_cross_encoder(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """A cross-encoder from a folder or hub name (default: the distilled judge), with the verdict store."""
    model = CrossEncoderJudge.load(cross_encoder_folder(argument))
    return ShopJudge(shop, model, open_store(options or JudgeOptions()))


def cross_encoder_folder(argument: str) -> Path:
    """The folder of the cross-encoder with this argument, fetched from the hub if it is not on disk."""
    if not argument and not DISTILLED.is_dir():
        raise ConfigError(f"judge 'cross-encoder': no {DISTILLED}: run qr judge distill, or name a folder")
    return resolve(argument or str(DISTILLED))


def build_replay(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """The verdicts that the store holds; argument: beginning of the judge's fingerprint, "" for the only one."""
    store = options.store if options else None
    if store is None:
        raise ConfigError("judge 'replay' answers from a verdict store: name its folder")
    return replay(shop, VerdictStore(store, read_only=True), argument or None)


def build_ensemble(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """Mean of the judges that `argument` names, separated by commas."""
    return EnsembleJudge([open_judge(name, shop, options) for name in _split_names(argument)])


def build_pessimistic(shop: Shop, argument: str, options: JudgeOptions | None = None) -> Judge:
    """The least of the judges that `argument` names, separated by commas."""
    return PessimisticJudge([open_judge(name, shop, options) for name in _split_names(argument)])


def build_degraded(shop: Shop, argument: str, options: JudgeOptions | None = None) -> DegradedJudge:
    """The truth with as many errors as κ allows on what BM25 finds; argument: "KAPPA[:SEED[:BIAS]]"."""
    options = options or JudgeOptions()
    degraded = DegradedOptions.parse(argument, options.seed)
    sample = retrieved_sample(shop, options.split or "train", make_retriever("bm25", shop, cache_root()))
    return DegradedJudge.calibrated(shop, degraded, sample, options.split)


BUILDERS: dict[str, Callable[[Shop, str, JudgeOptions | None], Judge]] = {
    "auto": build_auto,
    "labels": build_labels,
    "blend": build_blend,
    "embedding": build_embedding,
    "purchases": build_purchases,
    "coverage": build_coverage,
    "fields": build_fields,
    "llm": build_llm,
    "cross-encoder": build_cross_encoder,
    "replay": build_replay,
    "ensemble": build_ensemble,
    "pessimistic": build_pessimistic,
    "degraded": build_degraded,
}


def refuse_argument(kind: str, argument: str) -> None:
    """Raise ConfigError if a judge that takes no argument is given one."""
    if argument:
        raise ConfigError(f"judge {kind!r} takes no argument, got {argument!r}; choose one of {', '.join(KINDS)}")


def judge_kind(spec: str) -> str:
    """What stands before the first colon of a judge's name."""
    return spec.strip().partition(":")[0]


def judge_names(spec: str) -> list[str]:
    """Names of the judges that a spec stands for: the members of a blend, an ensemble or a minimum, else the one."""
    kind, _, argument = spec.strip().partition(":")
    if kind == "blend":
        return [name for member in blend_members(argument) for name in judge_names(member)]
    if kind in COMPOSED:
        return [name for member in _split_names(argument) for name in judge_names(member)] or [spec.strip()]
    return [spec.strip()]


def needs_encoder(spec: str) -> bool:
    """Whether the judge called `spec` compares text vectors."""
    return bool({"embedding", "purchases"} & set(judge_names(spec)))


def _split_names(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def uses_language_model(judge: Judge) -> bool:
    """Whether a language model grades: by itself, in an ensemble, or in the run that is replayed.

    The judge of a replayed run is known from the fingerprint in the store, so that a replay is treated as its run was.
    """
    if isinstance(judge, LevelScore):
        return uses_language_model(judge.judge)
    if isinstance(judge, BlendJudge):
        return any(uses_language_model(member.judge) for member in judge.members)
    if isinstance(judge, EnsembleJudge | PessimisticJudge):
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
