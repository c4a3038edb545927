"""The LLM judge: grades as probabilities, read from a server's log-probabilities of the label letters.

    judge = LLMJudge("http://127.0.0.1:8000/v1")             # or a Client; default QR_JUDGE_URL, QR_JUDGE_KEY
    judge.grade_pairs([("red sofa", "Lindholm sofa red")])   # (1, 4), NaN where missing
    judge.capabilities[0].as_dict()                          # features of the server, each proven by a request

Any server with OpenAI's HTTP API works; vLLM supports every method. With p(l) the probability of the letter of level l
as the first token of the answer, the mass m = Σ p(l) shows whether the model understood the question: a verdict with
m < min_mass is missing, otherwise it is p / m. Two ways to read p (`method`; a prompt of kind "label"):

- "top": one unconstrained token, from its 20 likeliest. Where a letter is not among them and could change the verdict
  by more than 1 %, a second, constrained request gives the proportions (its prompt is in the server's cache by then);
  on a server without constrained decoding the letter gets half of its upper bound.
- "choice": constrained to the letters. Exact proportions; on vLLM the mass is unknown then.

A prompt of another kind has its own method. "list" grades up to `batch` products of a query in one reply, so a verdict
also depends on its neighbours. "json" and "reason" take the grade that the reply states, with probability 1: the usual
practice, for comparison and for audit; "json" is also what a server without log-probabilities is asked, with a note.

A failure is never a grade. It is NaN, counted under its kind in `stats`; a batch with a share of more than
`max_missing` of them raises JudgeError, after every verdict that succeeded has been yielded.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Self

import numpy as np

from judges.llm.jobs import Job, Verdicts, concatenated, jobs_of
from judges.llm.methods import METHODS, Array, GradingRequests, Method, takes_several
from judges.llm.prompt import GRADE, PASSES, Prompt
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.messages import print_message
from qr_env.common.types import FloatArray
from qr_env.llm.capabilities import LEAST_TOP, Capabilities, probe_capabilities
from qr_env.llm.client import Client
from qr_env.llm.failures import WAY_OUT, Failure
from qr_env.shop.shop import Shop

STATED = "json_v2"  # prompt for servers without log-probabilities; it shows the same fields of a product as `GRADE`
LABEL_METHODS = ("auto", "top", "choice")
OUTAGES = ("connect", "timeout", "breaker", "stopped")  # failures that asking product by product would only repeat
BATCH = {"list": 20}  # products a request by kind of prompt: those of a list share the rubric
MIN_BATCH_FOR_LIMIT = 8  # pairs: the share of missing verdicts of a smaller batch is not checked
ADVICE = WAY_OUT | {
    "low_mass": "the model does not answer with a label: use a larger one, another prompt, or a lower min_mass",
    "truncated": "the model writes too much, perhaps because it thinks first: serve it without that, or another",
}


class LLMJudge:
    """A `PairJudge` that asks a language model. Nothing is sent before the first question.

    Args:
        client: to servers of one model, which share the load; or their base URLs, None for those of QR_JUDGE_URL. Its
            `concurrency` is how many products are graded at once: a GPU server takes several hundred.
        model: the model's name at the server; None reads QR_JUDGE_MODEL, then takes the only one that is served.
        prompt: name of a file of `judges/llm/prompts/`, or a path.
        method: for a prompt of kind "label", see above; "auto" takes the first of top and choice that works.
        passes: names of `judges.llm.prompt.PASSES`; their probabilities are averaged, each costs as much as one.
        min_mass: total probability that the labels must have.
        max_missing: share of a batch that may be missing.
        max_product_tokens: length to which a product text is cut (bytes where the server does not tokenize).
        batch: products of a query in one request, where method and server take several; None: 20 of a list, else 8.
        price: dollars per million prompt tokens and per million generated ones.
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
        self._prompt = Prompt.load(prompt)
        self.client = client if isinstance(client, Client) else Client(client)
        self.model = model or os.environ.get("QR_JUDGE_MODEL") or None
        self.passes, self.min_mass, self.max_missing = tuple(passes), min_mass, max_missing
        self.max_product_tokens, self.price = max_product_tokens, price
        self.batch = batch if batch is not None else BATCH.get(self._prompt.kind, 8)
        self._method = method
        self._details: dict[str, str] = {}
        self._probe_lock = threading.RLock()
        _check_settings(self, method)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next question opens new ones."""
        self.client.close()

    @cached_property
    def capabilities(self) -> tuple[Capabilities, ...]:
        """Features of each server, probed once. Raises JudgeError where one cannot be used, or they differ."""
        with self._probe_lock:
            servers = self.client.endpoints
            found = tuple(probe_capabilities(self.client, server, self.model) for server in servers)
        alike = {(server.model, server.root, server.api, server.version, server.template) for server in found}
        if len(alike) > 1:
            raise JudgeError(
                f"the servers differ in model, root, API, version or template: {sorted(alike)}; name equal servers"
            )
        return found

    @cached_property
    def server(self) -> Capabilities:
        """Features that all servers have."""
        every = self.capabilities
        flags: dict[str, Any] = {
            flag: min(getattr(server, flag) for server in every)
            for flag in ("top", "choice", "json", "tokenize", "batches", "allowed_tokens")
        }
        return replace(every[0], **flags)

    @property
    def prompt(self) -> Prompt:
        """The prompt that is asked: the given one, or `STATED` where the servers send no log-probabilities."""
        return self._plan[0]

    @property
    def method(self) -> str:
        """The grading method, a name of `judges.llm.methods.METHODS`. Raises JudgeError where the servers lack it."""
        return self._plan[1]

    @cached_property
    def _plan(self) -> tuple[Prompt, str]:
        """Prompt and method that the servers support."""
        server, kind = self.server, self._prompt.kind
        if kind in ("json", "reason") or (kind == "list" and server.top):
            return self._prompt, kind
        supported = {"top": server.top > 0, "choice": server.choice and server.top > 0}
        wanted = ["top", "choice"] if self._method == "auto" else [self._method]
        if kind == "label" and (method := next((name for name in wanted if supported[name]), None)):
            return self._prompt, method
        lacks = f"{server.url} sends no log-probabilities of {LEAST_TOP} tokens or more"
        if self._method == "auto" and self._prompt.name == GRADE:
            print_message(
                f"{lacks}: the judge asks for an answer in JSON instead (prompt {STATED}), whose grades are certain or "
                "missing; vLLM gives probabilities"
            )
            return Prompt.load(STATED), "json"
        wants = f"prompt {self._prompt.name!r}, method {' or '.join(wanted if kind == 'label' else [kind])}, needs"
        raise JudgeError(f"{lacks}, which {wants}: serve the model with vLLM, or ask with prompt={STATED!r}")

    @property
    def fingerprint(self) -> str:
        """Key of its verdicts in a store: model, revision where the server reports one, prompt, method and options."""
        prompt, server = self.prompt, self.server
        cut = f"{self.max_product_tokens}{'tokens' if server.tokenize else 'bytes'}"
        parts = [self.name, server.model, server.root, f"{prompt.name}:{prompt.hash}", self.method]
        settled = "settled" if self.method == "top" and server.choice else ""
        # Stored verdicts have this key: "held" stands for `Capabilities.allowed_tokens`.
        batch = f"batch{self.batch}{'held' if server.allowed_tokens else ''}" if self.method == "list" else ""
        return "|".join([*parts, settled, batch, "+".join(self.passes), f"mass{self.min_mass:g}", cut])

    def product_texts(self, shop: Shop) -> list[str]:
        """The text of each of the shop's products in the prompt, by row."""
        return self._prompt.product_texts(shop)

    def grade_pairs(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """(M, 4) float32 probabilities over `LEVELS` of M (query, product text) pairs, NaN where missing.

        Raises JudgeError where no server can be used, or more than `max_missing` of the batch are missing: then
        `grade_stream` yields what succeeded before it raises.
        """
        probs_M4 = np.full((len(pairs), 4), np.nan, np.float32)
        for places, probs in self.grade_stream(pairs):
            probs_M4[places] = probs
        return probs_M4

    def grade_stream(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[list[int], FloatArray]]:
        """(indices into `pairs`, their (n, 4) probabilities) as they arrive, every pair once. Raises as `grade_pairs`
        does, after the last verdict."""
        for verdicts in self.stream(pairs):
            yield verdicts.pairs_M, verdicts.probs_M4

    def stream(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Verdicts]:
        """As `grade_stream`, with masses, kinds of failure and generated texts."""
        if not pairs:
            return
        requests = GradingRequests(self.client, self.server, self.prompt, self.max_product_tokens, self.min_mass)
        method, missing, start = METHODS[self.method], Counter[str](), time.monotonic()
        limit = self.max_missing * len(pairs) if len(pairs) >= MIN_BATCH_FOR_LIMIT else float("inf")
        size = self.batch if takes_several(self.method, self.server) else 1
        threads = -(-self.client.concurrency // size)
        jobs = jobs_of(pairs, size, missing, limit)
        results = self.client.run(partial(self._grade_job, requests, method), jobs, threads)
        try:
            for verdicts in results:
                missing.update(kind for kind in verdicts.kinds_M if kind)
                yield verdicts
        finally:
            results.close()
            self.client.tally.add(seconds=time.monotonic() - start)
        if missing.total() > limit:
            raise JudgeError(self._too_many_missing(missing, len(pairs)))

    def stats(self) -> dict[str, float]:
        """Counts since the judge was made.

        asked, missing, missing/KIND; requests, retries, retries/KIND; tokens/prompt, tokens/completion, tokens/cached
        (as far as the server reports: of several prompts in one request, vLLM 0.32 reports one's); seconds (waiting
        for batches), request_seconds (summed over requests); cost (dollars); mass (mean, where known).
        """
        counts = self.client.tally.read()
        known, mass = counts.pop("mass_known", 0.0), counts.pop("mass", 0.0)
        prompt, completion = (counts.get(f"tokens/{kind}", 0.0) for kind in ("prompt", "completion"))
        counts["cost"] = (prompt * self.price[0] + completion * self.price[1]) / 1e6
        return {"asked": 0.0, "missing": 0.0} | counts | ({"mass": mass / known} if known else {})

    def _grade_job(self, requests: GradingRequests, method: Method, job: Job) -> Verdicts:
        """The average of all passes over the products of one job.

        Where a request for several products fails, each is graded alone, so that one bad reply costs one verdict.
        """
        try:
            query = requests.query_text(job.query)
            products = [requests.product_text(text) for text in job.products]
            if not query or not all(products):
                raise Failure("blank", f"no text in the query {job.query!r:.50} or a product")
            answers = [method(requests, query, products, PASSES[name]) for name in self.passes]
        except Failure as failure:
            if len(job.products) > 1 and failure.kind not in OUTAGES:
                each = zip(job.products, job.places, strict=True)
                alone = [self._grade_job(requests, method, Job(job.query, [text], [same])) for text, same in each]
                return concatenated(alone)
            self._details[failure.kind] = str(failure)
            nothing = np.full((len(job.products), 4), np.nan)
            return self._count(job, nothing, nothing[:, 0], [failure.kind] * len(job.products), failure.detail)
        mass_M = np.min([answer.mass_M for answer in answers], axis=0)
        probs_M4 = np.mean([answer.probs_M4 for answer in answers], axis=0)
        low_M = (mass_M < self.min_mass) | np.isnan(probs_M4).any(axis=1)
        probs_M4[low_M] = np.nan
        kinds = ["low_mass" if low else "" for low in low_M]
        return self._count(job, probs_M4, mass_M, kinds, "\n".join(answer.text for answer in answers))

    def _count(self, job: Job, probs_M4: Array, mass_M: Array, kinds: list[str], text: str) -> Verdicts:
        """Verdicts of the job's products, counted, and repeated for equal pairs."""
        product_of = [n for n, same in enumerate(job.places) for _ in same]
        pair_kinds = [kinds[n] for n in product_of]
        missing = Counter(kind for kind in pair_kinds if kind)
        known_M = ~np.isnan(mass_M)
        self.client.tally.add(asked=len(product_of), mass=float(mass_M[known_M].sum()), mass_known=int(known_M.sum()))
        self.client.tally.add(missing=missing.total(), **{f"missing__{kind}": n for kind, n in missing.items()})
        pairs = [place for same in job.places for place in same]
        probs, mass = probs_M4[product_of].astype(np.float32), mass_M[product_of].astype(np.float32)
        return Verdicts(pairs, probs, mass, pair_kinds, text)

    def _too_many_missing(self, missing: Counter[str], asked: int) -> str:
        """The error message: how many are missing, why, and what to do."""
        counts = ", ".join(f"{kind} {count}" for kind, count in missing.most_common())
        common = missing.most_common(1)[0][0]
        advice = ADVICE.get(common, "repair the server, then start again: stored verdicts are not asked twice")
        return (
            f"{missing.total()} of {asked} verdicts are missing (limit {self.max_missing:.0%}): {counts}. Last "
            f"{common}: {self._details.get(common, 'the labels had too little probability')}. What to do: {advice}"
        )


def _check_settings(judge: LLMJudge, method: str) -> None:
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
