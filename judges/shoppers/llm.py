"""The `llm` shopper (MiniELM, RewardRank): a language model that reads a profile, a query and the products shown.

    with Client(["http://127.0.0.1:8000/v1"]) as client:
        shopper = LLMShopper(shop, client, profiles=PROFILES)
        engagement = shopper.engage(queries, hits.rows_NK, grades)        # the grades are not read

Each profile visits each list once, at temperature 0. The reply names one action per product: "pass", "click", "cart" or
"buy". Each action includes the ones before it, so what is bought is in the cart, and what is in the cart was clicked. A
JSON schema constrains the server, and every reply is validated all the same. A reply with a product that was not shown,
without one that was, with one twice, or with another action is a failure and is not repaired.

Probabilities are shares of the profiles. Where one profile failed, the list is missing (NaN): a mean over the profiles
that answered would change with which of them did. Failures are counted by kind in `stats`; a batch with a share of more
than `max_missing` of them raises JudgeError, after what succeeded has been kept. Only the first `page` products are
shown; nothing happens below them.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from judges.llm.methods import GradingRequests
from judges.llm.prompt import FOLDER, Prompt, nonce
from judges.shoppers.model import AVERAGE, Profile
from judges.verdict_store.index import digests, pair_keys
from judges.verdict_store.store import VerdictStore
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.hashing import sha256_text
from qr_env.common.types import Engagement, Grades, Query, RowArray
from qr_env.llm.capabilities import Capabilities, probe_capabilities
from qr_env.llm.client import Client
from qr_env.llm.failures import Failure
from qr_env.llm.replies import read_choice
from qr_env.shop.shop import Shop

ACTIONS = ("pass", "click", "cart", "buy")  # each includes the ones before it
TOKENS_PER_PRODUCT, EXTRA_TOKENS = 16, 16  # length of a reply, including white space that a grammar allows
MIN_BATCH_FOR_LIMIT = 8  # visits: the share of failures of a smaller batch is not checked
VISITS_KEPT = 1 << 16  # in memory
Actions = npt.NDArray[np.int8]
Visit = tuple[int, str, tuple[int, ...]]  # index of the profile, query as typed, product rows shown


class LLMShopper:
    """A `qr_env.common.protocols.Shopper` that asks a language model. Nothing is sent before the first visit.

    Args:
        shop: whose products are shown.
        client: to servers of one model, which should support JSON schemas.
        model: the model's name at the servers; None reads QR_JUDGE_MODEL, then takes the only one that is served.
        profiles: the shoppers; their `about` goes into the prompt.
        habits: describe RewardRank's biases in the prompt: position, runs of a brand or colour, irrelevant products
            near the top.
        page: number of products shown.
        prompt: name of a file of `judges/llm/prompts/`.
        store: keeps visits on disk, so that none is requested twice; None keeps them in memory only.
        max_missing: share of a batch's visits that may fail.
        max_product_tokens: length to which a product text is cut (bytes where the server does not tokenize).
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
        self.prompt, habits_text = load_prompt(prompt)
        self.habits = habits_text if habits else ""
        self._texts = self.prompt.product_texts(shop)
        self._visits: dict[Visit, Actions] = {}

    @cached_property
    def server(self) -> Capabilities:
        """Features that all servers have. Raises JudgeError where one cannot be used, or their models differ."""
        found = [probe_capabilities(self.client, endpoint, self.model) for endpoint in self.client.endpoints]
        if len(models := {(server.model, server.root) for server in found}) > 1:
            raise JudgeError(f"the servers have different models: {sorted(models)}; name servers of one")
        return replace(found[0], json=all(s.json for s in found), tokenize=all(s.tokenize for s in found))

    @cached_property
    def _requests(self) -> GradingRequests:
        return GradingRequests(self.client, self.server, self.prompt, self.max_product_tokens, 0.0)

    def fingerprint(self, profile: Profile) -> str:
        """Key of a profile's visits in a store."""
        profile_hash = sha256_text(f"{profile.about}\0{self.habits}", 12)
        cut = f"{self.max_product_tokens}{'tokens' if self.server.tokenize else 'bytes'}"
        prompt = f"{self.prompt.name}:{self.prompt.hash}"
        return "|".join(["shopper", self.server.model, self.server.root, prompt, f"{profile.name}:{profile_hash}", cut])

    def engage(self, queries: Sequence[Query], rows_NK: RowArray, grades: Grades) -> Engagement:
        """Shares of the profiles that click, cart and buy. examine_NK is NaN: the model does not report it."""
        shown_N = [tuple(rows_K[rows_K >= 0][: self.page].tolist()) for rows_K in rows_NK]
        visits = [
            (r, query.text, shown)
            for r in range(len(self.profiles))
            for query, shown in zip(queries, shown_N, strict=True)
        ]
        actions = self._visit_all(visits)
        actions_RNK = np.zeros((len(self.profiles), *rows_NK.shape), np.float32)
        for m, visit in enumerate(visits):
            actions_K = actions.get(visit)
            actions_RNK.reshape(-1, rows_NK.shape[1])[m, : len(visit[2])] = np.nan if actions_K is None else actions_K
        return _shares(actions_RNK, rows_NK >= 0)

    def stats(self) -> dict[str, float]:
        """Counts since the client was made: visits, missing, missing/KIND; the client's requests, retries, tokens."""
        return {"visits": 0.0, "missing": 0.0} | self.client.tally.read()

    def _visit_all(self, visits: Sequence[Visit]) -> dict[Visit, Actions]:
        """Actions of each visit, from memory, the store or the server; failed visits are left out."""
        if len(self._visits) > VISITS_KEPT:
            self._visits.clear()
        wanted = [visit for visit in dict.fromkeys(visits) if visit not in self._visits and visit[2]]
        if self.store is not None:
            wanted = [visit for visit in wanted if not self._load_stored(self.store, visit)]
        # Sorted by profile and query, which make the prefix that a server computes once.
        failed = self._send(sorted(wanted, key=lambda visit: visit[:2]))
        if failed.total() > self.max_missing * len(wanted) and len(wanted) >= MIN_BATCH_FOR_LIMIT:
            counts = ", ".join(f"{kind} {count}" for kind, count in failed.most_common())
            raise JudgeError(
                f"{failed.total()} of {len(wanted)} visits failed (limit {self.max_missing:.0%}): {counts}; "
                "use a larger model, or repair the server and start again"
            )
        return {visit: self._visits[visit] for visit in visits if visit in self._visits}

    def _send(self, wanted: Sequence[Visit]) -> Counter[str]:
        """Ask the server for visits and keep the results. Returns the number of failures by kind."""
        failed = Counter[str]()
        if not wanted:
            return failed
        assert self._requests  # creates the object before threads share it
        for visit, result in self.client.run(self._visit, wanted):
            if isinstance(result, Failure):
                failed[result.kind] += 1
                self.client.tally.add(missing=1, **{f"missing__{result.kind}": 1})
                continue
            self._visits[visit] = result
            if self.store is not None:
                certain_K4 = np.eye(len(ACTIONS), dtype=np.float32)[result]
                self.store.put(self.fingerprint(self.profiles[visit[0]]), self._store_pairs(visit), certain_K4)
        self.client.tally.add(visits=len(wanted))
        return failed

    def _visit(self, visit: Visit) -> tuple[Visit, Actions | Failure]:
        """One request: the visit, and its actions or its failure."""
        profile, query, rows = visit
        options: dict[str, Any] = {"max_tokens": TOKENS_PER_PRODUCT * len(rows) + EXTRA_TOKENS}
        if self._requests.server.json:
            options["response_format"] = {"type": "json_schema", "json_schema": visit_schema(len(rows))}
        try:
            text = self.render(self.profiles[profile], query, rows)
            return visit, read_visit(self._requests.generate(text, f"{profile} {query}", **options), len(rows))
        except Failure as failure:
            return visit, failure

    def render(self, profile: Profile, query: str, rows: Sequence[int]) -> str:
        """The whole prompt. Products stand between delimiters that none of their texts contains. Raises Failure."""
        query = self._requests.query_text(query)
        products = [self._requests.product_text(self._texts[row]) for row in rows]
        if not query:
            raise Failure("blank", "a query without a visible character")
        delimiter = nonce(self.prompt.shared.template, self.prompt.own.template, query, *products)
        listed = "\n".join(f"{n} ({delimiter}) {product} (/{delimiter})" for n, product in enumerate(products, 1))
        facts = {
            "profile": profile.about,
            "habits": self.habits,
            "query": query,
            "nonce": delimiter,
            "products": listed,
        }
        facts["count"] = str(len(products))
        return self.prompt.shared.substitute(facts) + self.prompt.own.substitute(facts)

    def _store_pairs(self, visit: Visit) -> list[tuple[str, str]]:
        """Keys of a visit in the store: for each product, the query and the product's place in this very list."""
        listed = blake2b("\0".join(self._texts[row] for row in visit[2]).encode(), digest_size=16).hexdigest()
        return [(visit[1], f"list {listed}, product {n}") for n in range(1, len(visit[2]) + 1)]

    def _load_stored(self, store: VerdictStore, visit: Visit) -> bool:
        """Whether the store holds the visit; if so, it is in memory afterwards."""
        keys = (digests(texts) for texts in zip(*self._store_pairs(visit), strict=True))
        probs_K4 = store.get(self.fingerprint(self.profiles[visit[0]]), pair_keys(*keys))
        if known := not np.isnan(probs_K4).any():
            self._visits[visit] = probs_K4.argmax(axis=1).astype(np.int8)
        return known


def load_prompt(name: str) -> tuple[Prompt, str]:
    """(prompt, its description of habits). Raises ConfigError where the file cannot be used."""
    path = FOLDER / f"{name}.md"
    try:
        text = path.read_text(encoding="utf-8")
        _, head, body = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
        shared, own = re.split(r"^===\n", body, flags=re.MULTILINE)
        facts = yaml.safe_load(head)
        fields, habits = tuple(facts["fields"]), str(facts["habits"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error!r}; see judges/llm/prompts/shopper_v1.md for the form") from error
    digest = sha256_text(text, 12)
    return Prompt(name, digest, "shopper", fields, (), Template(shared), Template(own.rstrip("\n"))), habits


def visit_schema(count: int) -> dict[str, Any]:
    """JSON schema of a reply about `count` products: each once, each with an action."""
    fields = [str(n) for n in range(1, count + 1)]
    schema = {"type": "object", "properties": {n: {"type": "string", "enum": list(ACTIONS)} for n in fields}}
    return {"name": "visit", "schema": schema | {"required": fields, "additionalProperties": False}}


def read_visit(reply: Mapping[str, Any], count: int) -> Actions:
    """(count,) int8 index in `ACTIONS` of each product.

    Raises Failure of kind truncated, bad_schema, repeated (a product twice), outside (a product that was not shown),
    incomplete (a product is left out) or bad_action.
    """
    text, finish = read_choice(reply)
    if finish == "length":
        raise Failure("truncated", f"the reply was cut: {text!r:.100}")
    try:
        stated = json.loads(text, object_pairs_hook=_refuse_duplicates)
    except ValueError as error:
        raise Failure("bad_schema", f"no JSON: {text!r:.100}") from error
    if not isinstance(stated, dict):
        raise Failure("bad_schema", f"no JSON object: {text!r:.100}")
    wanted = [str(n) for n in range(1, count + 1)]
    if unknown := set(stated) - set(wanted):
        raise Failure("outside", f"{sorted(map(str, unknown))} of {count} products")
    if len(stated) < count:
        raise Failure("incomplete", f"{len(stated)} of {count} products")
    if unknown := {str(action) for action in stated.values() if action not in ACTIONS}:
        raise Failure("bad_action", f"{sorted(unknown)} are none of {', '.join(ACTIONS)}")
    return np.array([ACTIONS.index(stated[n]) for n in wanted], np.int8)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys are distinct; Python by itself would take the last of equal keys."""
    if len(stated := dict(pairs)) < len(pairs):
        raise Failure("repeated", f"a product twice in {pairs!r:.100}")
    return stated


def _shares(actions_RNK: npt.NDArray[np.float32], found_NK: npt.NDArray[np.bool_]) -> Engagement:
    """Shares of R profiles by action; NaN where a profile is missing, and on padding."""
    missing_N1 = np.isnan(actions_RNK.sum(axis=(0, 2)))[:, None]
    depths = range(1, len(ACTIONS))
    share_3NK = [(actions_RNK >= depth).mean(axis=0, dtype=np.float32) for depth in depths]
    some_N3 = np.stack([(actions_RNK >= depth).any(axis=2).mean(axis=0, dtype=np.float32) for depth in depths], axis=1)
    click_NK, cart_NK, buy_NK = (np.where(missing_N1 | ~found_NK, np.float32(np.nan), share) for share in share_3NK)
    some_N3 = np.where(missing_N1, np.float32(np.nan), some_N3)
    return Engagement(np.full_like(click_NK, np.nan), click_NK, cart_NK, buy_NK, some_N3)
