"""The `llm` shopper (MiniELM, RewardRank): a language model that is given a profile, a query and the products shown.

    with Client(["http://127.0.0.1:8000/v1"]) as client:
        shopper = LLMShopper(shop, client, profiles=PROFILES)
        engagement = shopper.engage(queries, hits.rows_NK, grades)        # the grades are not read

Each profile visits each list once, without randomness. The reply names one action a product, of "pass", "click", "cart"
and "buy", so what is bought is in the cart, and what is in the cart was clicked, by construction; a JSON schema holds
the server to it, and every reply is checked all the same. A reply with a product that was not shown, without one that
was, with one twice, or with another action is refused, not repaired: a repaired reply is the repairer's opinion.

Chances are shares of the profiles. Where one of them failed the list is missing (NaN): a mean over whoever answered
would change with who did. Failures are counted by kind in `stats`; a batch with more than `max_missing` of them raises
JudgeError after what succeeded has been kept. The shopper sees the first `page` products and does nothing below them.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b, sha256
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import yaml

from judges.llm.methods import Asker
from judges.llm.prompt import FOLDER, Prompt, nonce
from judges.shoppers.model import AVERAGE, Profile
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.types import Engagement, Grades, Query, RowArray
from qr_env.llm.capabilities import Capabilities, prove
from qr_env.llm.client import Client, Failure
from qr_env.llm.replies import read_choice
from qr_env.shop.shop import Shop

if TYPE_CHECKING:
    from judges.verdict_store.store import VerdictStore

ACTIONS = ("pass", "click", "cart", "buy")  # each includes the ones before it
TOKENS_A_PRODUCT, TOKENS_MORE = 16, 16  # of a reply, white space that a grammar allows included
FEW = 8  # smaller batches say too little about a share of failures
REMEMBER = 1 << 16  # visits kept in memory
Actions = npt.NDArray[np.int8]
Visit = tuple[int, str, tuple[int, ...]]  # place of the profile, query as typed, product rows shown


class LLMShopper:
    """A shopper (qr_env/common/types.py) that asks a language model. Nothing is sent before the first visit.

    Args:
        shop: whose products are shown.
        client: to servers of one model, which must have proven to hold a JSON schema, or be good at it.
        model: the name that the servers know; None reads QR_JUDGE_MODEL, then takes the only one that they serve.
        profiles: who shops; their `about` is what the model is told.
        habits: tell it of RewardRank's habits too: decay by position, runs of a brand or colour, rubbish near the top.
        page: products shown.
        prompt: file of `judges/llm/prompts/` by name.
        store: where visits are kept, so that none is paid for twice; None keeps them in memory.
        max_missing: share of a batch's visits that may fail.
        max_product_tokens: a product text is cut to so many (so many bytes where the server does not tokenize).
    """

    name = "llm"

    def __init__(
        self,
        shop: Shop,
        client: Client,
        model: str | None = None,
        *,
        profiles: Sequence[Profile] = (AVERAGE,),
        habits: bool = True,
        page: int = 10,
        prompt: str = "shopper_v1",
        store: VerdictStore | None = None,
        max_missing: float = 0.5,
        max_product_tokens: int = 128,
    ) -> None:
        if not profiles or page < 1 or max_product_tokens < 1 or not 0 <= max_missing <= 1:
            raise ConfigError(f"{len(profiles)} profiles, {page=}, {max_product_tokens=}, {max_missing=}: impossible")
        self.model = model or os.environ.get("QR_JUDGE_MODEL") or None
        self.client, self.profiles, self.page = client, tuple(profiles), page
        self.store, self.max_missing, self.max_product_tokens = store, max_missing, max_product_tokens
        self.prompt, said = load_prompt(prompt)
        self.habits = said if habits else ""
        self._texts = self.prompt.product_texts(shop)
        self._visits: dict[Visit, Actions] = {}

    @cached_property
    def server(self) -> Capabilities:
        """What every server was proven to do. Raises JudgeError where one cannot be used, or their models differ."""
        found = [prove(self.client, endpoint.url, self.model) for endpoint in self.client.endpoints]
        if len(models := {(server.model, server.root) for server in found}) > 1:
            raise JudgeError(f"the servers have different models: {sorted(models)}; name servers of one")
        return replace(found[0], json=all(s.json for s in found), tokenize=all(s.tokenize for s in found))

    @cached_property
    def _asker(self) -> Asker:
        return Asker(self.client, self.server, self.prompt, self.max_product_tokens, 0.0)

    def fingerprint(self, profile: Profile) -> str:
        """Key of a profile's visits in a store."""
        who = sha256(f"{profile.about}\0{self.habits}".encode()).hexdigest()[:12]
        cut = f"{self.max_product_tokens}{'tokens' if self.server.tokenize else 'bytes'}"
        prompt = f"{self.prompt.name}:{self.prompt.hash}"
        return "|".join(["shopper", self.server.model, self.server.root, prompt, f"{profile.name}:{who}", cut])

    def engage(self, queries: Sequence[Query], rows_NK: RowArray, grades: Grades) -> Engagement:
        """Shares of the profiles that click, cart and buy. examine_NK is NaN: the model does not say."""
        shown_N = [tuple(rows_K[rows_K >= 0][: self.page].tolist()) for rows_K in rows_NK]
        visits = [
            (r, query.text, shown)
            for r in range(len(self.profiles))
            for query, shown in zip(queries, shown_N, strict=True)
        ]
        done = self._done(visits)
        actions_RNK = np.zeros((len(self.profiles), *rows_NK.shape), np.float32)
        for m, visit in enumerate(visits):
            actions_K = done.get(visit)
            actions_RNK.reshape(-1, rows_NK.shape[1])[m, : len(visit[2])] = np.nan if actions_K is None else actions_K
        return _shares(actions_RNK, rows_NK >= 0)

    def stats(self) -> dict[str, float]:
        """Since the client was made: visits, missing, missing/KIND, and the client's requests, retries, tokens."""
        return {"visits": 0.0, "missing": 0.0} | self.client.tally.read()

    def _done(self, visits: Sequence[Visit]) -> dict[Visit, Actions]:
        """What each visit brought, by memory, store or server; failed ones are left out."""
        if len(self._visits) > REMEMBER:
            self._visits.clear()
        wanted = [visit for visit in dict.fromkeys(visits) if visit not in self._visits and visit[2]]
        wanted = [visit for visit in wanted if not self._recall(visit)] if self.store is not None else wanted
        # Profile and query make the prefix that a server computes once.
        failed = self._ask(sorted(wanted, key=lambda visit: visit[:2]))
        if failed.total() > self.max_missing * len(wanted) and len(wanted) >= FEW:
            counts = ", ".join(f"{kind} {count}" for kind, count in failed.most_common())
            raise JudgeError(
                f"{failed.total()} of {len(wanted)} visits came to nothing (limit {self.max_missing:.0%}): {counts}; "
                "use a larger model, or see to the server and start again"
            )
        return {visit: self._visits[visit] for visit in visits if visit in self._visits}

    def _ask(self, wanted: Sequence[Visit]) -> Counter[str]:
        """Send visits, keep what they bring, count what fails by kind."""
        failed = Counter[str]()
        if not wanted:
            return failed
        assert self._asker  # made before threads share it
        for visit, result in self.client.run(self._visit, wanted):
            if isinstance(result, Failure):
                failed[result.kind] += 1
                self.client.tally.add(missing=1, **{f"missing__{result.kind}": 1})
            else:
                self._visits[visit] = result
                self._keep(visit, result)
        self.client.tally.add(visits=len(wanted))
        return failed

    def _visit(self, visit: Visit) -> tuple[Visit, Actions | Failure]:
        """One request: (visit, its actions, or why there are none)."""
        profile, query, rows = visit
        options: dict[str, Any] = {"max_tokens": TOKENS_A_PRODUCT * len(rows) + TOKENS_MORE}
        if self._asker.server.json:
            options["response_format"] = {"type": "json_schema", "json_schema": visit_schema(len(rows))}
        try:
            text = self.render(self.profiles[profile], query, rows)
            return visit, read_visit(self._asker.generate(text, f"{profile} {query}", **options), len(rows))
        except Failure as failure:
            return visit, failure

    def render(self, profile: Profile, query: str, rows: Sequence[int]) -> str:
        """The whole prompt. Products stand between marks that none of their texts holds. Raises Failure."""
        query, products = self._asker.query(query), [self._asker.product(self._texts[row]) for row in rows]
        if not query:
            raise Failure("blank", "a query without a visible character")
        mark = nonce(self.prompt.shared.template, self.prompt.own.template, query, *products)
        listed = "\n".join(f"{n} ({mark}) {product} (/{mark})" for n, product in enumerate(products, 1))
        facts = {"profile": profile.about, "habits": self.habits, "query": query, "nonce": mark, "products": listed}
        facts["count"] = str(len(products))
        return self.prompt.shared.substitute(facts) + self.prompt.own.substitute(facts)

    def _places(self, visit: Visit) -> list[tuple[str, str]]:
        """A visit as pairs of a store: the query, and each place of this very list."""
        listed = blake2b("\0".join(self._texts[row] for row in visit[2]).encode(), digest_size=16).hexdigest()
        return [(visit[1], f"list {listed}, product {n}") for n in range(1, len(visit[2]) + 1)]

    def _recall(self, visit: Visit) -> bool:
        """Whether the store knows the visit; it is in memory then."""
        from judges.verdict_store.index import digests, pair_keys

        assert self.store is not None
        keys = (digests(texts) for texts in zip(*self._places(visit), strict=True))
        probs_K4 = self.store.get(self.fingerprint(self.profiles[visit[0]]), pair_keys(*keys))
        if known := not np.isnan(probs_K4).any():
            self._visits[visit] = probs_K4.argmax(axis=1).astype(np.int8)
        return known

    def _keep(self, visit: Visit, actions_K: Actions) -> None:
        if self.store is not None:
            certain_K4 = np.eye(len(ACTIONS), dtype=np.float32)[actions_K]
            self.store.put(self.fingerprint(self.profiles[visit[0]]), self._places(visit), certain_K4)


def load_prompt(name: str) -> tuple[Prompt, str]:
    """(prompt, what it says of habits). Raises ConfigError where the file cannot be used."""
    path = FOLDER / f"{name}.md"
    try:
        text = path.read_text(encoding="utf-8")
        _, head, body = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
        shared, own = re.split(r"^===\n", body, flags=re.MULTILINE)
        facts = yaml.safe_load(head)
        fields, habits = tuple(facts["fields"]), str(facts["habits"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error!r}; see judges/llm/prompts/shopper_v1.md for the form") from error
    digest = sha256(text.encode()).hexdigest()[:12]
    return Prompt(name, digest, "shopper", fields, (), Template(shared), Template(own.rstrip("\n"))), habits


def visit_schema(count: int) -> dict[str, Any]:
    """JSON schema of a reply about `count` products: each once, each with an action."""
    fields = [str(n) for n in range(1, count + 1)]
    schema = {"type": "object", "properties": {n: {"type": "string", "enum": list(ACTIONS)} for n in fields}}
    return {"name": "visit", "schema": schema | {"required": fields, "additionalProperties": False}}


def read_visit(reply: Mapping[str, Any], count: int) -> Actions:
    """(count,) int8 place in `ACTIONS` of each product. Raises Failure: truncated, bad_schema, repeated (a product
    twice), outside (one that was not shown), incomplete (one is left out), bad_action."""
    text, finish = read_choice(reply)
    if finish == "length":
        raise Failure("truncated", f"the reply was cut: {text!r:.100}")
    try:
        stated = json.loads(text, object_pairs_hook=_once)
    except ValueError as error:
        raise Failure("bad_schema", f"no JSON: {text!r:.100}") from error
    if not isinstance(stated, dict):
        raise Failure("bad_schema", f"no JSON object: {text!r:.100}")
    wanted = [str(n) for n in range(1, count + 1)]
    if strange := set(stated) - set(wanted):
        raise Failure("outside", f"{sorted(map(str, strange))} of {count} products")
    if len(stated) < count:
        raise Failure("incomplete", f"{len(stated)} of {count} products")
    if strange := {str(action) for action in stated.values() if action not in ACTIONS}:
        raise Failure("bad_action", f"{sorted(strange)} are none of {', '.join(ACTIONS)}")
    return np.array([ACTIONS.index(stated[n]) for n in wanted], np.int8)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, where no key may come twice: Python would take the last."""
    if len(stated := dict(pairs)) < len(pairs):
        raise Failure("repeated", f"a product twice in {pairs!r:.100}")
    return stated


def _shares(actions_RNK: npt.NDArray[np.float32], found_NK: npt.NDArray[np.bool_]) -> Engagement:
    """Shares of R profiles; NaN where one of them is missing, and on padding."""
    missing_N1 = np.isnan(actions_RNK.sum(axis=(0, 2)))[:, None]
    depths = range(1, len(ACTIONS))
    share_3NK = [(actions_RNK >= depth).mean(axis=0, dtype=np.float32) for depth in depths]
    some_N3 = np.stack([(actions_RNK >= depth).any(axis=2).mean(axis=0, dtype=np.float32) for depth in depths], axis=1)
    click_NK, cart_NK, buy_NK = (np.where(missing_N1 | ~found_NK, np.float32(np.nan), share) for share in share_3NK)
    some_N3 = np.where(missing_N1, np.float32(np.nan), some_N3)
    return Engagement(np.full_like(click_NK, np.nan), click_NK, cart_NK, buy_NK, some_N3)
