"""Grading methods of the LLM judge: functions that grade products of one query with one request, or a few.

    answer = METHODS["top"](requests, "red sofa", ["Lindholm sofa red"], PASSES["plain"])

Each takes texts prepared by `GradingRequests`, returns an `Answer` for M products, and raises Failure where the server
gives none. `judges/llm/judge.py` describes the methods.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from judges.llm.prompt import QUERY_BYTES, Labels, Prompt, clean, cut_bytes
from qr_env.llm import replies
from qr_env.llm.capabilities import Capabilities
from qr_env.llm.client import Client
from qr_env.llm.failures import Failure

# An unlisted letter that may change a verdict by more than this share is resolved by a second, constrained request.
UNLISTED_TOLERANCE = 0.01
REPLY_TOKENS = {"json": 24, "reason": 160}
CUT_TEXTS_KEPT = 1 << 18  # product texts whose cut form stays in memory
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one pass over M products gave."""

    probs_M4: Array
    """(M, 4) probability of each level; NaN where no label has any"""
    mass_M: Array
    """(M,) total probability of the labels among all answers, NaN where unknown"""
    text: str = ""
    """what the server generated"""


@dataclass
class GradingRequests:
    """Sends prompts to a server and prepares the texts in them; shared by the threads of a batch."""

    client: Client
    """where requests go"""
    server: Capabilities
    """what the servers support"""
    prompt: Prompt
    """the prompt that is filled"""
    max_product_tokens: int
    """length to which a product text is cut; bytes where the server does not tokenize"""
    min_mass: float
    """total label probability below which no second request is sent"""
    _cut_texts: dict[str, str] = field(default_factory=dict)
    """product text → its cleaned and cut form"""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """guards `_cut_texts`"""

    def generate(self, text: str, affinity: str, **options: Any) -> dict[str, Any]:
        """The reply to one user message; its tokens are counted."""
        path, request = self.server.request(text, **options)
        return self.send(path, request, affinity)

    def send(self, path: str, request: dict[str, Any], affinity: str) -> dict[str, Any]:
        """The reply to a request; its tokens are counted. affinity: requests of one key go to one server."""
        reply = self.client.post(path, request, affinity)
        self.client.tally.add(**replies.usage(reply))
        return reply

    def query_text(self, text: str) -> str:
        """The query as the prompt shows it."""
        return cut_bytes(clean(text), QUERY_BYTES)

    def product_text(self, text: str) -> str:
        """The product as the prompt shows it: cleaned, and cut to `max_product_tokens`. Raises Failure."""
        with self._lock:
            if (known := self._cut_texts.get(text)) is not None:
                return known
        cut = self._cut_to_tokens(clean(text))
        with self._lock:
            if len(self._cut_texts) >= CUT_TEXTS_KEPT:
                self._cut_texts.clear()
            self._cut_texts[text] = cut
        return cut

    def _cut_to_tokens(self, text: str) -> str:
        """The first tokens of a text. It has no more tokens than bytes, so a short text needs no request."""
        if len(text.encode()) <= self.max_product_tokens or not self.server.tokenize:
            return cut_bytes(text, self.max_product_tokens)
        model: dict[str, Any] = {"model": self.server.model}
        tokens = self.client.post("/tokenize", model | {"prompt": text, "add_special_tokens": False}).get("tokens")
        if not isinstance(tokens, list):
            raise Failure("bad_reply", f"/tokenize gave {tokens!r:.100}")
        if len(tokens) <= self.max_product_tokens:
            return text
        first = tokens[: self.max_product_tokens]
        cut = self.client.post("/detokenize", model | {"tokens": first}).get("prompt")
        if not isinstance(cut, str):
            raise Failure("bad_reply", f"/detokenize gave {cut!r:.100}")
        return clean(cut.replace("\ufffd", ""))

    def first_tokens(
        self, query: str, products: Sequence[str], labels: Labels, **options: Any
    ) -> list[replies.Position]:
        """The first token of the answer about each of M products; one request if the server takes several prompts."""
        texts = ["".join(self.prompt.render(query, [product], labels)) for product in products]
        options |= {"max_tokens": 1, "logprobs": True, "top_logprobs": self.server.top}
        if self.server.allowed_tokens:  # then every letter is listed, and no second request is needed
            options["logprob_token_ids"] = self.server.tokens_of(labels.letters)
        if not self.server.batches:
            return [_first_position(self.generate(text, query, **options)) for text in texts]
        before, after = self.server.template
        texts = [before + text + after for text in texts]
        if before:
            options["add_special_tokens"] = False
        dialect = replace(self.server.dialect, api="completions")
        path, request = dialect.request(self.server.model, texts, **options)
        parts = replies.split(self.send(path, request, query), len(texts))
        return [_first_position(reply) for reply in parts]


def grade_top(requests: GradingRequests, query: str, products: Sequence[str], labels: Labels) -> Answer:
    """Method "top": one unconstrained token for each of M products."""
    positions = requests.first_tokens(query, products, labels)
    read = [replies.label_masses(position, labels.letters) for position in positions]
    masses_M4, bound_M = np.array([masses for masses, _ in read]), np.array([bound for _, bound in read])
    mass_M, unlisted_M4 = np.nansum(masses_M4, axis=1), np.isnan(masses_M4)
    probs_M4 = _normalised(np.where(unlisted_M4, bound_M[:, None] / 2, masses_M4))
    unresolved_M = unlisted_M4.sum(axis=1) * bound_M > UNLISTED_TOLERANCE * mass_M
    unresolved_M &= mass_M >= requests.min_mass
    if requests.server.choice and unresolved_M.any():
        again = np.flatnonzero(unresolved_M).tolist()
        probs_M4[again] = grade_choice(requests, query, [products[n] for n in again], labels).probs_M4
    return Answer(probs_M4, mass_M, " ".join(position.token for position in positions))


def grade_choice(requests: GradingRequests, query: str, products: Sequence[str], labels: Labels) -> Answer:
    """Method "choice": one token for each of M products, constrained to the letters."""
    constraint = {"choice": list(labels.letters)}
    positions = requests.first_tokens(query, products, labels, structured_outputs=constraint)
    replies.letter_positions(positions, labels.letters, len(products))
    masses_M4 = np.nan_to_num([replies.label_masses(position, labels.letters)[0] for position in positions])
    mass_M = np.full(len(products), np.nan) if requests.server.masked else masses_M4.sum(axis=1)
    return Answer(_normalised(masses_M4), mass_M, " ".join(position.token for position in positions))


def grade_list(requests: GradingRequests, query: str, products: Sequence[str], labels: Labels) -> Answer:
    """Method "list": M products, one letter each, in one reply."""
    text = "".join(requests.prompt.render(query, products, labels))
    letter, count, server = f"[{labels.letters}]", len(products), requests.server
    options: dict[str, Any] = {"max_tokens": 2 * count, "logprobs": True, "top_logprobs": server.top}
    if server.allowed_tokens:  # one token a product; under a grammar the model also writes the spaces between
        ids = server.tokens_of(labels.letters)
        options |= {"max_tokens": count, "min_tokens": count, "allowed_token_ids": ids, "logprob_token_ids": ids}
    elif server.choice:
        options["structured_outputs"] = {"regex": f"{letter}( {letter}){{{count - 1}}}"}
    reply = requests.generate(text, query, **options)
    found = replies.letter_positions(replies.read_positions(reply), labels.letters, count)
    masses_M4 = np.nan_to_num([replies.label_masses(position, labels.letters)[0] for position in found])
    mass_known = server.allowed_tokens or not (server.choice and server.masked)
    mass_M = masses_M4.sum(axis=1) if mass_known else np.full(count, np.nan)
    return Answer(_normalised(masses_M4), mass_M, replies.read_choice(reply)[0])


def grade_stated(requests: GradingRequests, query: str, products: Sequence[str], labels: Labels) -> Answer:
    """Methods "json" and "reason": one product, the grade that a JSON reply states, after a reason or without one."""
    text = "".join(requests.prompt.render(query, products, labels))
    reason = requests.prompt.kind == "reason"
    options: dict[str, Any] = {"max_tokens": REPLY_TOKENS[requests.prompt.kind]}
    if requests.server.json:
        schema = {"name": "grade", "strict": True, "schema": replies.grade_schema(labels.letters, reason)}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    reply = requests.generate(text, query, **options)
    stated_4 = replies.read_grade(reply, labels.letters, reason)
    return Answer(stated_4[None], np.array([np.nan]), replies.read_choice(reply)[0])


Method = Callable[[GradingRequests, str, Sequence[str], Labels], Answer]
METHODS: dict[str, Method] = {
    "top": grade_top,
    "choice": grade_choice,
    "list": grade_list,
    "json": grade_stated,
    "reason": grade_stated,
}


def takes_several(method: str, server: Capabilities) -> bool:
    """Whether one request can hold several products of a query."""
    return method == "list" or (method in ("top", "choice") and server.batches)


def _first_position(reply: Mapping[str, Any]) -> replies.Position:
    positions = replies.read_positions(reply)
    if not positions:
        raise Failure("no_logprobs", "an answer without a token")
    return positions[0]


def _normalised(masses_M4: Array) -> Array:
    """Probabilities; NaN where no label has any mass."""
    total_M1 = masses_M4.sum(axis=1, keepdims=True)
    return np.divide(masses_M4, total_M1, out=np.full_like(masses_M4, np.nan), where=total_M1 > 0)
