"""The LLM judge: grades as probabilities, read from a server's log-probabilities of the label letters.

    judge = LLMJudge("http://127.0.0.1:8000/v1")             # or a Client; or QR_JUDGE_URL (comma separated), _KEY
    judge.grade_pairs([("red sofa", "Lindholm sofa red")])   # (1, 4), NaN where missing
    judge.capabilities[0].as_dict()                          # what the server was proven to do

Any server with OpenAI's HTTP API serves; vLLM serves best. With p(l) the probability of the letter of level l as the
first token of the answer, the mass m = Σ p(l) tells whether the model understood what is asked; a verdict with
m < min_mass is missing, otherwise it is p / m. How p is read (`method`):

- "top": one token, unconstrained, from the likeliest 20. Where a letter is not among them and could change the verdict
  by more than 1 %, a second, constrained request settles the proportions (its prompt is in the server's cache by then);
  on a server without constrained decoding the letter gets half of the most that it can have.
- "choice": constrained to the letters. Exact proportions; on vLLM the mass is not known then.
- "scoring": vLLM's /generative_scoring, nothing generated, true p of every letter. It tells one label a request, so
  four are sent for up to `batch` products of a query.

A prompt of another kind has its own way: "list" grades up to `batch` products of a query in one reply (a verdict then
depends on its neighbours too), "json" and "reason" take the grade that the reply states, as probability 1: the usual
practice, for comparison and for audit.

A failure is never a grade. It is NaN, counted under its kind in `stats`; a batch with more than `max_missing` of them
raises JudgeError after what succeeded has been handed out.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import numpy as np

from judges.llm.methods import METHODS, Array, Asker, Method, takes_several
from judges.llm.prompt import GRADE, PASSES, Prompt
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.types import FloatArray
from qr_env.llm.capabilities import Capabilities, prove
from qr_env.llm.client import Client, Failure
from qr_env.shop.shop import Shop

LABEL_METHODS = ("auto", "top", "choice", "scoring")
HOPELESS = ("connect", "timeout", "breaker", "stopped")  # with these, asking again one by one only takes longer
BATCH = {"list": 20}  # products a request by kind of prompt: of a list they share what stands around it
FEW = 8  # smaller batches say too little about a share of missing verdicts
HINTS = {
    "low_mass": "the model does not answer with a label: use a larger one, another prompt, or a lower min_mass",
    "http_404": "the server does not know the model or the path: compare with its /v1/models",
    "http_429": "the server is too busy: lower the client's concurrency, or name more servers",
    "timeout": "raise --timeout (the client's timeout), lower its concurrency, or name more servers",
}
Job = tuple[str, list[str], list[list[int]]]  # query, products, for each product the pairs that are this one


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What one job brought, for M pairs. pairs_M: their places in the batch. probs_M4: by level, NaN where missing.
    mass_M: what the labels had of all answers, the least over the passes, NaN where not known. kinds_M: why,
    "" where it is not missing. text: what the server wrote, for audit, one line a pass."""

    pairs_M: list[int]
    probs_M4: FloatArray
    mass_M: FloatArray
    kinds_M: list[str]
    text: str = ""


class LLMJudge:
    """A `PairJudge` that asks a language model. Nothing is sent before the first question.

    Args:
        client: to servers of one model, sharing the load; or their base URLs, None for those of QR_JUDGE_URL. Its
            `concurrency` is how many products are graded at once: a GPU server takes several hundred.
        model: the name that the server knows; None reads QR_JUDGE_MODEL, then takes the only one that it serves.
        prompt: a file of `judges/llm/prompts/` by name, or a path.
        method: of a prompt of kind "label", see above; "auto" takes the first of top, choice, scoring that works.
        passes: of `judges.llm.prompt.PASSES`; their probabilities are averaged, each costs as much as one.
        min_mass: probability that the labels must have together.
        max_missing: share of a batch that may be missing.
        max_product_tokens: a product text is cut to so many (so many bytes where the server does not tokenize).
        batch: products of a query in one request, where method and server take several; None: 20 of a list, else 8.
        price: dollars for a million prompt tokens and a million generated ones.
    """

    name = "llm"

    def __init__(
        self,
        client: Client | str | Sequence[str] | None = None,
        model: str | None = None,
        *,
        prompt: str = GRADE,
        method: str = "auto",
        passes: Sequence[str] = ("plain",),
        min_mass: float = 0.05,
        max_missing: float = 0.5,
        max_product_tokens: int = 256,
        batch: int | None = None,
        price: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.prompt = Prompt.load(prompt)
        self.client = client if isinstance(client, Client) else Client(client)
        self.model = model or os.environ.get("QR_JUDGE_MODEL") or None
        self.passes, self.min_mass, self.max_missing = tuple(passes), min_mass, max_missing
        self.max_product_tokens, self.price = max_product_tokens, price
        self.batch = batch if batch is not None else BATCH.get(self.prompt.kind, 8)
        self._method = method
        self._details: dict[str, str] = {}
        self._starting = threading.RLock()
        _check(self, method)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next question opens new ones."""
        self.client.close()

    @cached_property
    def capabilities(self) -> tuple[Capabilities, ...]:
        """What was proven of each server, once. Raises JudgeError where one cannot be used, or they differ."""
        with self._starting:
            found = tuple(prove(self.client, endpoint.url, self.model) for endpoint in self.client.endpoints)
        alike = {(server.model, server.root, server.api, server.version, server.template) for server in found}
        if len(alike) > 1:
            raise JudgeError(
                f"the servers differ in model, root, API, version or template: {sorted(alike)}; name equal"
            )
        return found

    @cached_property
    def server(self) -> Capabilities:
        """What all servers can do."""
        every = self.capabilities
        flags: dict[str, Any] = {
            flag: min(getattr(server, flag) for server in every)
            for flag in ("top", "choice", "json", "tokenize", "batches", "held", "scoring")
        }
        return replace(every[0], **flags)

    @cached_property
    def method(self) -> str:
        """How it asks, of `judges.llm.methods.METHODS`. Raises JudgeError where the servers cannot do it."""
        server, kind = self.server, self.prompt.kind
        can = {"top": server.top > 0, "choice": server.choice and server.top > 0, "scoring": server.scoring}
        wanted = ["top", "choice", "scoring"] if self._method == "auto" else [self._method]
        if kind != "label":
            wanted, can = [kind], {"list": server.top > 0, "json": True, "reason": True}
        method = next((name for name in wanted if can[name]), None)
        if method is None:
            raise JudgeError(
                f"{server.url} was not proven to do {' or '.join(wanted)} ({server}): use vLLM, or prompt='json_v2'"
            )
        return method

    @property
    def fingerprint(self) -> str:
        """Key of its verdicts in a store: model, revision where the server tells one, prompt, and how it is asked."""
        prompt, server = self.prompt, self.server
        cut = f"{self.max_product_tokens}{'tokens' if server.tokenize else 'bytes'}"
        parts = [self.name, server.model, server.root, f"{prompt.name}:{prompt.hash}", self.method]
        settled = "settled" if self.method == "top" and server.choice else ""
        batch = f"batch{self.batch}{'held' if server.held else ''}" if self.method == "list" else ""
        return "|".join([*parts, settled, batch, "+".join(self.passes), f"mass{self.min_mass:g}", cut])

    def product_texts(self, shop: Shop) -> list[str]:
        """What the prompt names of each of the shop's products, by row."""
        return self.prompt.product_texts(shop)

    def grade_pairs(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """(M, 4) float32 probabilities over `LEVELS` of M (query, product text) pairs, NaN where missing.

        Raises JudgeError where no server can be used, or more than `max_missing` of the batch are missing: then
        `grade_stream` hands out what succeeded before it raises.
        """
        probs_M4 = np.full((len(pairs), 4), np.nan, np.float32)
        for places, probs in self.grade_stream(pairs):
            probs_M4[places] = probs
        return probs_M4

    def grade_stream(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[list[int], FloatArray]]:
        """(places in `pairs`, their (n, 4) probabilities) as they come, every pair once. Raises as `grade_pairs` does,
        after the last that could be had."""
        for verdicts in self.stream(pairs):
            yield verdicts.pairs_M, verdicts.probs_M4

    def stream(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Verdicts]:
        """As `grade_stream`, with masses, reasons and the server's words."""
        if not pairs:
            return
        asker = Asker(self.client, self.server, self.prompt, self.max_product_tokens, self.min_mass)
        method, missing, start = METHODS[self.method], Counter[str](), time.monotonic()
        most = self.max_missing * len(pairs) if len(pairs) >= FEW else float("inf")
        size = self.batch if takes_several(self.method, self.server) else 1
        threads = -(-self.client.concurrency // size)
        jobs = _jobs(pairs, size)
        # Past the limit nothing new is asked, but what is on its way, and will be paid for, is handed out.
        allowed = itertools.takewhile(lambda _: missing.total() <= most, jobs)
        results = self.client.run(lambda job: self._answer(asker, method, job), allowed, threads)
        try:
            for verdicts in results:
                missing.update(kind for kind in verdicts.kinds_M if kind)
                yield verdicts
        finally:
            results.close()
            self.client.tally.add(seconds=time.monotonic() - start)
        if missing.total() > most:
            raise JudgeError(self._too_many(missing, len(pairs)))

    def stats(self) -> dict[str, float]:
        """Since it was made: asked, missing, missing/KIND, requests, retries, retries/KIND, tokens/prompt,
        tokens/completion, tokens/cached (as far as the server tells: of several prompts in one request, vLLM 0.32 tells
        one's), seconds (of waiting for batches), request_seconds (summed over requests), cost (dollars), mass (mean,
        where known)."""
        counts = self.client.tally.read()
        known, mass = counts.pop("mass_known", 0.0), counts.pop("mass", 0.0)
        prompt, completion = (counts.get(f"tokens/{kind}", 0.0) for kind in ("prompt", "completion"))
        counts["cost"] = (prompt * self.price[0] + completion * self.price[1]) / 1e6
        return {"asked": 0.0, "missing": 0.0} | counts | ({"mass": mass / known} if known else {})

    def _answer(self, asker: Asker, method: Method, job: Job) -> Verdicts:
        """All passes over the products of one job, averaged. Where that comes to nothing for several products, each is
        asked about alone, so that one bad reply costs one verdict; where it does for one, it is missing."""
        query, products, places = job
        try:
            shown, cut = asker.query(query), [asker.product(text) for text in products]
            if not shown or not all(cut):
                raise Failure("blank", f"no text in the query {query!r:.50} or a product")
            answers = [method(asker, shown, cut, PASSES[name]) for name in self.passes]
        except Failure as failure:
            if len(products) > 1 and failure.kind not in HOPELESS:
                alone = zip(products, places, strict=True)
                return _joined([self._answer(asker, method, (query, [text], [equal])) for text, equal in alone])
            self._details[failure.kind] = str(failure)
            nothing = np.full((len(products), 4), np.nan)
            return self._verdicts(places, nothing, nothing[:, 0], [failure.kind] * len(products), failure.detail)
        mass_M = np.min([answer.mass_M for answer in answers], axis=0)
        probs_M4 = np.mean([answer.probs_M4 for answer in answers], axis=0)
        low_M = (mass_M < self.min_mass) | np.isnan(probs_M4).any(axis=1)
        probs_M4[low_M] = np.nan
        kinds = ["low_mass" if low else "" for low in low_M]
        return self._verdicts(places, probs_M4, mass_M, kinds, "\n".join(answer.text for answer in answers))

    def _verdicts(
        self, places: list[list[int]], probs_M4: Array, mass_M: Array, kinds: list[str], text: str
    ) -> Verdicts:
        """Counted, and spread over the pairs that were equal."""
        index = [n for n, equal in enumerate(places) for _ in equal]
        spread = [kinds[n] for n in index]
        missing = Counter(kind for kind in spread if kind)
        known_M = ~np.isnan(mass_M)
        self.client.tally.add(asked=len(index), mass=float(mass_M[known_M].sum()), mass_known=int(known_M.sum()))
        self.client.tally.add(missing=missing.total(), **{f"missing__{kind}": n for kind, n in missing.items()})
        pairs = [place for equal in places for place in equal]
        return Verdicts(pairs, probs_M4[index].astype(np.float32), mass_M[index].astype(np.float32), spread, text)

    def _too_many(self, missing: Counter[str], asked: int) -> str:
        counts = ", ".join(f"{kind} {count}" for kind, count in missing.most_common())
        common = missing.most_common(1)[0][0]
        hint = HINTS.get(
            common, "see to the server, then start again: verdicts that are in the store are not asked twice"
        )
        return (
            f"{missing.total()} of {asked} verdicts are missing (limit {self.max_missing:.0%}): {counts}. Last "
            f"{common}: {self._details.get(common, 'the labels had too little probability')}. The way out: {hint}"
        )


def _joined(parts: list[Verdicts]) -> Verdicts:
    return Verdicts(
        [place for part in parts for place in part.pairs_M],
        np.concatenate([part.probs_M4 for part in parts]),
        np.concatenate([part.mass_M for part in parts]),
        [kind for part in parts for kind in part.kinds_M],
        "\n".join(part.text for part in parts),
    )


def _jobs(pairs: Sequence[tuple[str, str]], size: int) -> Iterator[Job]:
    """Equal pairs once, those of one query together, `size` products a job."""
    queries: dict[str, dict[str, list[int]]] = {}
    for place, (query, product) in enumerate(pairs):
        queries.setdefault(query, {}).setdefault(product, []).append(place)
    for query, products in queries.items():
        texts = list(products)
        for start in range(0, len(texts), size):
            part = texts[start : start + size]
            yield query, part, [products[text] for text in part]


def _check(judge: LLMJudge, method: str) -> None:
    if method not in LABEL_METHODS:
        raise ConfigError(f"method={method!r}: choose one of {', '.join(LABEL_METHODS)}")
    if not judge.passes or set(judge.passes) - set(PASSES):
        raise ConfigError(f"passes={judge.passes}: choose from {', '.join(PASSES)}")
    for name in ("min_mass", "max_missing"):
        if not 0 <= (share := getattr(judge, name)) <= 1:
            raise ConfigError(f"{name}={share}: must be in 0 … 1")
    for name in ("batch", "max_product_tokens"):
        if (count := getattr(judge, name)) < 1:
            raise ConfigError(f"{name}={count}: must be at least 1")
