"""Judges and shoppers by name, for every verb.

    judge = open_judge("llm", shop, JudgeOptions(urls=("http://127.0.0.1:8000/v1",)))

labels                  the shop's own grades, or the generated shop's truth
embedding               similarity of query and product
llm                     a language model behind an OpenAI-compatible server (`qr judge serve` starts one)
cross-encoder[:MODEL]   a distilled judge's folder (default out/distill/student), or any one-logit model of the hub
replay[:FINGERPRINT]    only what the verdict store holds, no judge present
ensemble:A,B            the mean of several of these
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from judges.llm.prompt import GRADE
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Judge, Shopper
from qr_env.shop.shop import Shop

if TYPE_CHECKING:
    from judges.verdict_store.store import VerdictStore
    from qr_env.common.protocols import TextEncoder
    from qr_env.llm.client import Client

KINDS = ("labels", "embedding", "llm", "cross-encoder[:MODEL]", "replay[:FINGERPRINT]", "ensemble:A,B")
DISTILLED = Path("out/distill/student")  # where `qr judge distill` leaves its judge
TIMEOUT = 600.0  # seconds: a model on a busy CPU answers after minutes, and asked again it would only be slower


@dataclass(frozen=True)
class JudgeOptions:
    """What a judge may need besides its name. urls: base URLs of OpenAI-compatible servers; () reads QR_JUDGE_URL.
    model: the server's model name; None asks it. store: folder of the verdict store; None keeps none. split: labels of
    this split only. encoder: of the embedding judge; None takes MiniLM. defend: clean product texts first. prompt: of
    the LLM judge, a file of judges/llm/prompts/ by name, or a path. timeout: seconds that a server has for an answer."""

    urls: Sequence[str] = ()
    model: str | None = None
    store: Path | None = None
    split: str | None = None
    encoder: TextEncoder | None = None
    defend: bool = False
    prompt: str = GRADE
    timeout: float = TIMEOUT

    def client(self) -> Client:
        """To the servers; ConfigError where none is named."""
        from qr_env.llm.client import Client

        return Client(self.urls, timeout=self.timeout)


@dataclass
class JudgeArgs:
    """What every verb about judges is told: a shop, and where verdicts come from."""

    shop: str = "generated"
    """generated, icecat, esci, wands, or a folder of your own"""
    data: str | None = None
    """folder with the data of icecat, esci or wands (default: $QR_DATA, else download)"""
    url: tuple[str, ...] = ()
    """base URLs of the language model's servers (default: $QR_JUDGE_URL)"""
    model: str | None = None
    """its name there (default: $QR_JUDGE_MODEL, else the only one)"""
    prompt: str = GRADE
    """the llm judge's prompt, a file of judges/llm/prompts/ by name, or a path"""
    timeout: float = TIMEOUT
    """seconds that a server has for an answer"""
    store: Path | None = None
    """folder of the verdict store (default: none is used, every verdict is made anew)"""
    json: str | None = None
    """write the figures here as JSON ("-": standard output alone)"""
    seed: int = 0
    """of every draw, and of the bootstrap"""

    def options(self) -> JudgeOptions:
        """For `open_judge`."""
        return JudgeOptions(self.url, self.model, self.store, prompt=self.prompt, timeout=self.timeout)


def members(spec: str) -> list[str]:
    """The judges that a name stands for: an ensemble's, else the one."""
    kind, _, detail = spec.partition(":")
    names = detail.split(",") if kind == "ensemble" else [spec]
    return [name.strip() for name in names if name.strip()]


def open_judge(spec: str, shop: Shop, options: JudgeOptions = JudgeOptions()) -> Judge:
    """The judge called `spec`, ready to grade the shop's products.

    Raises ConfigError for a name that is none, JudgeError for a judge that cannot be used.
    """
    kind, _, detail = spec.partition(":")
    if options.defend:
        from judges.validation.sanitize import defended

        return open_judge(spec, defended(shop), replace(options, defend=False))
    if kind == "ensemble":
        from judges.simple.ensemble import EnsembleJudge

        return EnsembleJudge([open_judge(name, shop, options) for name in members(spec)])
    if kind in ("labels", "embedding") and not detail:
        return _shop_judge(kind, shop, options)
    if kind == "replay":
        return _replay(shop, detail, options)
    return _text_judge(kind, detail, shop, options)


def _shop_judge(kind: str, shop: Shop, options: JudgeOptions) -> Judge:
    from judges.factory import make_judge

    return make_judge(
        kind, shop, (options.encoder or default_encoder()) if kind == "embedding" else None, options.split
    )


def default_encoder() -> TextEncoder:
    """MiniLM, its product vectors kept in the cache folder."""
    from qr_env.common.download import cache_root
    from qr_env.models.hub import resolve
    from qr_env.retrieval.encoder import Encoder

    return Encoder(resolve("minilm-l6"), cache_dir=cache_root())


def _replay(shop: Shop, fingerprint: str, options: JudgeOptions) -> Judge:
    from judges.verdict_store.store import VerdictStore
    from judges.verdict_store.stored import replay

    if options.store is None:
        raise ConfigError("judge 'replay' answers from a verdict store: name its folder")
    return replay(shop, VerdictStore(options.store, read_only=True), fingerprint or None)


def _text_judge(kind: str, detail: str, shop: Shop, options: JudgeOptions) -> Judge:
    """A judge that reads texts, with the store in front of it."""
    from judges.verdict_store.stored import ShopJudge

    if kind == "llm" and not detail:
        from judges.llm.judge import LLMJudge

        return ShopJudge(shop, LLMJudge(options.client(), options.model, prompt=options.prompt), open_store(options))
    if kind == "cross-encoder":
        from judges.cross_encoder.judge import CrossEncoderJudge
        from qr_env.models.hub import resolve

        if not detail and not DISTILLED.is_dir():
            raise ConfigError(f"judge 'cross-encoder': no {DISTILLED}: run qr judge distill, or name a folder")
        return ShopJudge(shop, CrossEncoderJudge.load(resolve(detail or str(DISTILLED))), open_store(options))
    raise ConfigError(f"no judge {kind + (':' + detail if detail else '')!r}; choose one of {', '.join(KINDS)}")


def asks_llm(judge: Judge) -> bool:
    """Whether a language model grades: by itself, in an ensemble, or in the run that is replayed.

    What is replayed is told by the fingerprint that the store keeps, so that a replay does what its run did.
    """
    from judges.simple.ensemble import EnsembleJudge
    from judges.verdict_store.stored import ReplayOnly, ShopJudge

    if isinstance(judge, EnsembleJudge):
        return any(map(asks_llm, judge.judges))
    if not isinstance(judge, ShopJudge):
        return False
    reader = judge.pair_judge
    # Asked only of a replay: the language model's own fingerprint needs its server.
    name = reader.fingerprint.split("|")[0] if isinstance(reader, ReplayOnly) else reader.name
    return name == "llm"


def open_store(options: JudgeOptions) -> VerdictStore | None:
    """The verdict store that the options name."""
    from judges.verdict_store.store import VerdictStore

    return VerdictStore(options.store) if options.store else None


def open_shopper(kind: str, shop: Shop, options: JudgeOptions) -> Shopper | None:
    """ "none", "model" (computed from the judge's grades) or "llm" (asked of the judge's server); five profiles."""
    if kind == "none":
        return None
    from judges.shoppers.model import PROFILES, ModelShopper

    if kind == "model":
        return ModelShopper(shop, PROFILES)
    if kind != "llm":
        raise ConfigError(f"no shopper {kind!r}; choose one of none, model, llm")
    from judges.shoppers.llm import LLMShopper

    return LLMShopper(shop, options.client(), options.model, profiles=PROFILES, store=open_store(options))
