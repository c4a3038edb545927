"""Finds out where a server's API is, which model it serves and how it wants to be asked; `capabilities` builds on it.

    prober = Prober(client, client.endpoints[0])
    card = find_model(prober, None)          # sets the endpoint's base URL, the model and the dialect

The bases of `qr_env.llm.address.Address` are tried in order: the first that lists models, else the first that answers a
question. A refusal is read for what it asks: another field's name, a temperature left out, a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from qr_env.common.errors import JudgeError
from qr_env.llm.client import Client, Endpoint
from qr_env.llm.dialect import PLAIN, Dialect, adapted, guesses, notes
from qr_env.llm.failures import Failure, way_out, with_way_out
from qr_env.llm.replies import read_choice

TRIES = 3
QUESTION = "Answer with one capital letter of the alphabet, nothing else."
GONE = ("connect", "timeout", "proxy")  # tried again, then the end
STARTING = (502, 503, 504)  # of a server that loads its model, or a gateway without one: tried again, then the end
HOPELESS = ("no_host", "tls", "quota", "http_402", "http_407")
ADAPTS = (400, 415, 422, 500, 501)  # statuses of a refusal that may name a field
NAMES_SHOWN = 10
GIVE_BASE = "give the URL that stands before /chat/completions, such as http://127.0.0.1:8000/v1"
NAME_IT = "with QR_JUDGE_MODEL=NAME (in Python model=)"


class Prober:
    """Sends probing requests to one server; a refused request returns None."""

    def __init__(self, client: Client, endpoint: Endpoint) -> None:
        self.client, self.endpoint = client, endpoint
        self.model, self.dialect = "", PLAIN
        self.version: str | None = None
        self.refusal: Failure | None = None
        self.notes: list[str] = []

    def ask(self, path: str, request: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The reply, or None if the server refuses (`refusal`). Raises JudgeError if it does not answer."""
        attempt = 0
        while True:
            try:
                self.refusal = None
                return self.client.ask(self.endpoint, path, request)
            except Failure as failure:
                self.refusal = failure
            attempt += 1
            if self.refusal.kind in HOPELESS:
                raise JudgeError(with_way_out(self.refusal)) from self.refusal
            busy = self.refusal.status == 429
            gone = self.refusal.kind in GONE or self.refusal.status in STARTING
            if attempt <= (self.client.retries if busy else TRIES - 1) and self.refusal.transient:
                self.client.wait(self.refusal, attempt)
            elif busy or gone:
                raise JudgeError(with_way_out(self.refusal)) from self.refusal
            else:
                return None

    def generate(self, text: str, **options: object) -> dict[str, Any] | None:
        """Reply to one user message."""
        return self.ask(*self.dialect.request(self.model, text, **options))

    def generated_text(self, text: str, **options: object) -> str:
        """Text of the reply to one user message; "" without one."""
        reply = self.generate(text, **options)
        try:
            return read_choice(reply or {})[0]
        except Failure:
            return ""

    def refuses(self) -> Failure | None:
        """Why the server generates nothing with this dialect; None if it does."""
        reply = self.generate(QUESTION, max_tokens=1)
        if reply is None:
            return self.refusal
        try:
            read_choice(reply)
        except Failure as failure:
            return Failure(failure.kind, f"{self.endpoint.url}: {failure.detail}")
        self.model = self.model or str(reply.get("model") or self.endpoint.address.host)
        return None


def find_model(prober: Prober, model: str | None) -> dict[str, Any]:
    """The server's description of the model that is named, or of its only one. Raises JudgeError without one."""
    refusals: list[Failure] = []
    for base in prober.endpoint.address.bases:
        prober.endpoint.base = base
        listed = _listed(prober.ask("/models"))
        if listed is not None:
            return _chosen(prober, {str(card["id"]): card for card in listed}, model)
        refusals.append(prober.refusal or Failure("bad_json", f"{prober.endpoint.url}/models: no list of models"))
    for base in prober.endpoint.address.bases:
        prober.endpoint.base = base
        prober.model = model or ""
        refusal = settle(prober)
        if refusal is None:
            if model is None:
                prober.notes.append(f"lists no models: its verdicts are kept under the name {prober.model!r}")
            return {"id": prober.model}
        refusals.append(refusal)
    raise JudgeError(_found_nothing(prober, model, refusals))


def settle(prober: Prober) -> Failure | None:
    """Find how the server wants to be asked: chat, else plain completion. Returns why it generates nothing, if so."""
    if prober.version is None:
        prober.version = str((prober.ask("/version") or {}).get("version") or "")
    refusals = []
    for api in ("chat", "completions"):
        start = Dialect(api, no_thinking=api == "chat" and bool(prober.version), names_model=bool(prober.model))
        refusal = _settle_api(prober, start)
        if refusal is None:
            prober.notes += notes(prober.dialect)
            return None
        refusals.append(refusal)
    return next((refusal for refusal in refusals if refusal.status != 404), refusals[0])


def _settle_api(prober: Prober, start: Dialect) -> Failure | None:
    """Find how one API wants to be asked."""
    prober.dialect = start
    refusal = prober.refuses()
    while refusal is not None and refusal.status in ADAPTS:
        better = adapted(prober.dialect, refusal.words)
        if better is None:
            break
        prober.dialect = better
        refusal = prober.refuses()
    if refusal is not None and refusal.status in (400, 422):
        for guess in guesses(start):
            prober.dialect = guess
            if prober.refuses() is None:
                return None
    return refusal


def _listed(reply: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """Descriptions of models, each with an id: OpenAI's list, or Ollama's and GitHub's; None if it is no such list."""
    lists = [reply[name] for name in ("data", "models") if isinstance(reply.get(name), list)] if reply else []
    if not lists or not all(isinstance(card, dict | str) for card in lists[0]):
        return None
    cards = lists[0]
    named = [card if isinstance(card, dict) else {"id": card} for card in cards]
    ids = [card.get("id") or card.get("model") or card.get("name") for card in named]
    return [card | {"id": str(one)} for card, one in zip(named, ids, strict=True) if one]


def _chosen(prober: Prober, cards: Mapping[str, dict[str, Any]], model: str | None) -> dict[str, Any]:
    """The description of the model; one that is not in the list counts if the server answers to it."""
    url = prober.endpoint.url
    if model is None and len(cards) != 1:
        what = f"{len(cards)} models, {_names(cards)}" if cards else "no models: load one, or, if it hides them,"
        raise JudgeError(f"{url} lists {what}: name one {NAME_IT}".replace(",:", ","))
    prober.model = next(iter(cards)) if model is None else model
    refusal = settle(prober)
    if refusal is None:
        if model is not None and model not in cards and cards:
            prober.notes.append(f"answers to the model {model!r}, which is not in its list ({_names(cards)})")
        return dict(cards.get(prober.model, {"id": prober.model}))
    if model is not None and model not in cards and cards and refusal.status not in (401, 403):
        near = get_close_matches(model, cards, 1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        raise JudgeError(f"{url} has no model {model!r}; it serves {_names(cards)}{hint} ({refusal})")
    raise JudgeError(f"{url} generates nothing with {prober.model!r}: {with_way_out(refusal)}")


def _names(cards: Mapping[str, object]) -> str:
    """The first names, and how many there are more."""
    more = f" and {len(cards) - NAMES_SHOWN} more" if len(cards) > NAMES_SHOWN else ""
    return ", ".join(list(cards)[:NAMES_SHOWN]) + more


def _found_nothing(prober: Prober, model: str | None, refusals: list[Failure]) -> str:
    """The message where no base URL lists models or generates."""
    telling = next((refusal for refusal in refusals if refusal.status != 404), refusals[0])
    kinds: dict[str, list[Failure]] = {}
    for refusal in (telling, *refusals):
        kinds.setdefault(refusal.kind, []).append(refusal)
    told = "; ".join(_told_once(same) for same in kinds.values())
    advice = GIVE_BASE if telling.status == 404 else way_out(telling) or GIVE_BASE
    name_it = f"; or, if it lists no models, name one {NAME_IT}" if model is None else ""
    origin = prober.endpoint.address.origin
    return f"{origin}: no OpenAI-compatible API that answers. {told}. What to do: {advice}{name_it}"


def _told_once(same: list[Failure]) -> str:
    """The first of several failures of a kind, and the addresses of the others."""
    first, *others = dict.fromkeys(failure.detail for failure in same)
    also = [detail.partition(": ")[0] for detail in others]
    return f"{same[0].kind}: {first}" + (f" (the same at {', '.join(dict.fromkeys(also))})" if also else "")
