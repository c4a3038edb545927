"""`POST /retrieve`: the shop's search in the two dialects of Search-R1's retrieval servers.

    {"queries": ["navy couch"], "topk": 3, "return_scores": true}       # a list of queries, as Search-R1 asks
    {"query": "navy couch", "topk": 3, "return_scores": true}           # one query, as SkyRL's gym asks

    {"result": [[{"document": {"id": "p7", "contents": "title\\ntext"}, "score": 3.2}, …]]}

Without `return_scores` the inner items are the documents alone. Texts are searched as they are, since the callers'
models write their own rewrites; `"rewrite": true` has them rewritten first. Bad input is answered with 4xx, which the
clients do not retry.
"""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from agents.serving.service.answer import Answer, original
from agents.serving.service.limits import count_of, json_response, read_object
from agents.serving.service.routes.rewrite import searched
from agents.serving.service.state import ServiceState, state_of
from agents.serving.service.text import clean_query
from qr_env.common.types import JsonDict

MOST_QUERIES = 256
DEFAULT_K = 3
DESCRIPTION = 2000  # characters of a product's text


async def retrieve(request: Request) -> Response:
    """Products of one or several queries."""
    state = state_of(request)
    values = await read_object(request, state.settings)
    queries = _queries(values)
    k = count_of(values, "topk", DEFAULT_K, state.settings.max_k) if values.get("topk") is not None else DEFAULT_K
    flags = {name: values.get(name, False) for name in ("return_scores", "rewrite")}
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise HTTPException(422, "return_scores and rewrite must be true or false")
    turns = asyncio.Semaphore(max(state.settings.queue // 2, 1))
    lists = await asyncio.gather(
        *(_products(state, clean_query(query)[: state.settings.max_query], k, flags["rewrite"], turns)
          for query in queries)
    )  # fmt: skip
    result = [[_item(state, product, flags["return_scores"]) for product in products] for products in lists]
    return json_response({"result": result})


def _queries(values: JsonDict) -> list[str]:
    queries = values.get("queries", values.get("query"))
    queries = [queries] if isinstance(queries, str) else queries
    if not isinstance(queries, list) or not queries or not all(isinstance(query, str) for query in queries):
        raise HTTPException(422, "queries must be a list of texts, or query a text")
    if len(queries) > MOST_QUERIES:
        raise HTTPException(422, f"{len(queries)} queries: at most {MOST_QUERIES} a request")
    return queries


async def _products(
    state: ServiceState, query: str, k: int, rewrites: bool, turns: asyncio.Semaphore
) -> list[JsonDict]:
    async with turns:
        answer = await state.answerer.answer(query) if rewrites else Answer(original(query), "", 1.0, "")
        return (await searched(state, answer, k))[1]


def _item(state: ServiceState, product: JsonDict, with_score: bool) -> JsonDict:
    loaded = state.answerer.loaded
    assert loaded is not None  # `searched` has refused where nothing is loaded
    text = loaded.description(product["product_id"])[:DESCRIPTION]
    document = {"id": product["product_id"], "contents": f"{product['title']}\n{text}"}
    return {"document": document, "score": product["score"]} if with_score else document
