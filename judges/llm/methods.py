"""The ways in which the LLM judge asks: one request, or a few, that grade products of one query in one pass.

    answer = METHODS["top"](asker, "red sofa", ["Lindholm sofa red"], PASSES["plain"])

Each takes cleaned texts, returns an `Answer` for M products, and raises Failure where the server gives none. What
each does is described in `judges/llm/judge.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from judges.llm.prompt import QUERY_BYTES, Labels, Prompt, clean, cut_bytes
from qr_env.llm import replies
from qr_env.llm.capabilities import Capabilities, body
from qr_env.llm.client import Client, Failure

SETTLED = 0.01  # a letter that is not listed may change a verdict by this much before the server is asked again
REPLY_TOKENS = {"json": 24, "reason": 160}
REMEMBER = 1 << 18  # product texts whose cut form is kept
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answer:
    """probs_M4: probability of each level. mass_M: what the labels have of all answers, NaN where not known. text: what
    the server wrote, "" where nothing was generated."""

    probs_M4: Array
    mass_M: Array
    text: str = ""


@dataclass
class Asker:
    """Where and with what to ask. most: tokens that a product text is cut to. min_mass: below it nothing is asked
    further."""

    client: Client
    server: Capabilities
    prompt: Prompt
    most: int
    min_mass: float
    _fitted: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def generate(self, text: str, affinity: str, **options: Any) -> dict[str, Any]:
        """Reply to a message, its tokens counted."""
        path, request = body(self.server.api, bool(self.server.version), self.server.model, text, **options)
        return self.send(path, request, affinity)

    def send(self, path: str, request: dict[str, Any], affinity: str) -> dict[str, Any]:
        """A reply, its tokens counted."""
        reply = self.client.post(path, request, affinity)
        self.client.tally.add(**replies.usage(reply))
        return reply

    def query(self, text: str) -> str:
        """The query as the prompt shows it."""
        return cut_bytes(clean(text), QUERY_BYTES)

    def product(self, text: str) -> str:
        """The product as the prompt shows it: cleaned, and cut to `most` tokens. Raises Failure."""
        with self._lock:
            if (known := self._fitted.get(text)) is not None:
                return known
        fitted = self._fit(clean(text))
        with self._lock:
            if len(self._fitted) >= REMEMBER:
                self._fitted.clear()
            self._fitted[text] = fitted
        return fitted

    def _fit(self, text: str) -> str:
        """A text has no more tokens than bytes, so a short one need not be counted."""
        if len(text.encode()) <= self.most or not self.server.tokenize:
            return cut_bytes(text, self.most)
        model: dict[str, Any] = {"model": self.server.model}
        asked = model | {"prompt": text, "add_special_tokens": False}
        tokens = self.client.post("/tokenize", asked).get("tokens")
        if not isinstance(tokens, list):
            raise Failure("bad_reply", f"/tokenize gave {tokens!r:.100}")
        if len(tokens) <= self.most:
            return text
        cut = self.client.post("/detokenize", model | {"tokens": tokens[: self.most]}).get("prompt")
        if not isinstance(cut, str):
            raise Failure("bad_reply", f"/detokenize gave {cut!r:.100}")
        return clean(cut.replace("\ufffd", ""))


def ask_top(asker: Asker, query: str, products: Sequence[str], labels: Labels) -> Answer:
    """One token for each of M products, unconstrained."""
    positions = _first_tokens(asker, query, products, labels)
    read = [replies.label_masses(position, labels.letters) for position in positions]
    masses_M4, most_M = np.array([masses for masses, _ in read]), np.array([most for _, most in read])
    mass_M, unseen_M4 = np.nansum(masses_M4, axis=1), np.isnan(masses_M4)
    probs_M4 = _normalised(np.where(unseen_M4, most_M[:, None] / 2, masses_M4))
    unsettled_M = (unseen_M4.sum(axis=1) * most_M > SETTLED * mass_M) & (mass_M >= asker.min_mass)
    if asker.server.choice and unsettled_M.any():
        again = np.flatnonzero(unsettled_M).tolist()
        probs_M4[again] = ask_choice(asker, query, [products[n] for n in again], labels).probs_M4
    return Answer(probs_M4, mass_M, " ".join(position.token for position in positions))


def ask_choice(asker: Asker, query: str, products: Sequence[str], labels: Labels) -> Answer:
    """One token for each of M products, constrained to the letters."""
    only = {"choice": list(labels.letters)}
    positions = _first_tokens(asker, query, products, labels, structured_outputs=only)
    replies.letter_positions(positions, labels.letters, len(products))
    masses_M4 = np.nan_to_num([replies.label_masses(position, labels.letters)[0] for position in positions])
    mass_M = np.full(len(products), np.nan) if asker.server.masked else masses_M4.sum(axis=1)
    return Answer(_normalised(masses_M4), mass_M, " ".join(position.token for position in positions))


def ask_list(asker: Asker, query: str, products: Sequence[str], labels: Labels) -> Answer:
    """M products, one letter each, in one reply."""
    text = "".join(asker.prompt.render(query, products, labels))
    letter, count, server = f"[{labels.letters}]", len(products), asker.server
    options: dict[str, Any] = {"max_tokens": 2 * count, "logprobs": True, "top_logprobs": server.top}
    if server.held:  # a token a product; a grammar would have the model write the spaces between
        ids = server.tokens_of(labels.letters)
        options |= {"max_tokens": count, "min_tokens": count, "allowed_token_ids": ids, "logprob_token_ids": ids}
    elif server.choice:
        options["structured_outputs"] = {"regex": f"{letter}( {letter}){{{count - 1}}}"}
    reply = asker.generate(text, query, **options)
    found = replies.letter_positions(replies.read_positions(reply), labels.letters, count)
    masses_M4 = np.nan_to_num([replies.label_masses(position, labels.letters)[0] for position in found])
    known = server.held or not (server.choice and server.masked)
    mass_M = masses_M4.sum(axis=1) if known else np.full(count, np.nan)
    return Answer(_normalised(masses_M4), mass_M, replies.read_choice(reply)[0])


def ask_stated(asker: Asker, query: str, products: Sequence[str], labels: Labels) -> Answer:
    """One product, the grade that a JSON reply states, with or without a reason before it."""
    text = "".join(asker.prompt.render(query, products, labels))
    reason = asker.prompt.kind == "reason"
    options: dict[str, Any] = {"max_tokens": REPLY_TOKENS[asker.prompt.kind]}
    if asker.server.json:
        schema = {"name": "grade", "strict": True, "schema": replies.grade_schema(labels.letters, reason)}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    reply = asker.generate(text, query, **options)
    stated_4 = replies.read_grade(reply, labels.letters, reason)
    return Answer(stated_4[None], np.array([np.nan]), replies.read_choice(reply)[0])


def ask_scoring(asker: Asker, query: str, products: Sequence[str], labels: Labels) -> Answer:
    """M products, nothing generated; four requests, since one tells the probability of its first label only."""
    parts = [asker.prompt.render(query, [product], labels) for product in products]
    before, after = asker.server.template
    items = [own + after for _, own in parts]
    request: dict[str, Any] = {"model": asker.server.model, "query": before + parts[0][0], "items": items}
    request |= {"apply_softmax": False, "add_special_tokens": False}
    ids = dict(asker.server.label_tokens)
    masses = []
    for letter in labels.letters:
        reply = asker.send("/generative_scoring", request | {"label_token_ids": [ids[letter]]}, query)
        masses.append(replies.read_scores(reply, len(products)))
    masses_M4 = np.stack(masses, axis=1)
    return Answer(_normalised(masses_M4), masses_M4.sum(axis=1))


Method = Callable[[Asker, str, Sequence[str], Labels], Answer]
METHODS: dict[str, Method] = {
    "top": ask_top,
    "choice": ask_choice,
    "scoring": ask_scoring,
    "list": ask_list,
    "json": ask_stated,
    "reason": ask_stated,
}


def takes_several(method: str, server: Capabilities) -> bool:
    """Whether one request can hold several products of a query."""
    return method in ("scoring", "list") or (method in ("top", "choice") and server.batches)


def _first_tokens(
    asker: Asker, query: str, products: Sequence[str], labels: Labels, **options: Any
) -> list[replies.Position]:
    """The first token of the answer about each of M products, in one request."""
    texts = ["".join(asker.prompt.render(query, [product], labels)) for product in products]
    options |= {"max_tokens": 1, "logprobs": True, "top_logprobs": asker.server.top}
    if asker.server.held:  # then no letter is missing among the likeliest, and none has to be settled
        options["logprob_token_ids"] = asker.server.tokens_of(labels.letters)
    if not asker.server.batches:
        return [_first(asker.generate(text, query, **options)) for text in texts]
    before, after = asker.server.template
    texts = [before + text + after for text in texts]
    if before:
        options["add_special_tokens"] = False
    path, request = body("completions", True, asker.server.model, texts, **options)
    return [_first(reply) for reply in replies.split(asker.send(path, request, query), len(texts))]


def _first(reply: Mapping[str, Any]) -> replies.Position:
    positions = replies.read_positions(reply)
    if not positions:
        raise Failure("no_logprobs", "an answer without a token")
    return positions[0]


def _normalised(masses_M4: Array) -> Array:
    """Probabilities; NaN where no label has any mass."""
    total_M1 = masses_M4.sum(axis=1, keepdims=True)
    return np.divide(masses_M4, total_M1, out=np.full_like(masses_M4, np.nan), where=total_M1 > 0)
