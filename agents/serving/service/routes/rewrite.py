"""`POST /rewrite` and `POST /search`: a query's rewrite, and with the shop's engine its products.

    {"query": "navy couch", "session_id": "…", "client_id": "…", "query_id": "…", "k": 10}      # all but query optional

`/search` answers as `/rewrite`, with "products". `GET` with the same names in the address works too.
"""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from agents.serving.service.answer import Answer, as_json, original
from agents.serving.service.limits import count_of, json_response, read_object, text_of
from agents.serving.service.logs import log
from agents.serving.service.state import ServiceState, fresh_query_id, state_of
from qr_env.common.types import JsonDict

LONGEST_ID = 200  # characters of the ids of queries, sessions and clients
DEFAULT_K = 10


async def rewrite(request: Request) -> Response:
    """A query's rewrite."""
    state = state_of(request)
    values = await _values(request, state)
    query_id, session, client = _ids(values, state)
    answer = await state.answerer.answer(text_of(values, "query"), session)
    state.record(answer, query_id, session, client, [])
    return json_response(as_json(answer, query_id))


async def search(request: Request) -> Response:
    """A query's rewrite and its products."""
    state = state_of(request)
    values = await _values(request, state)
    query_id, session, client = _ids(values, state)
    k = count_of(values, "k", DEFAULT_K, state.settings.max_k)
    answer = await state.answerer.answer(text_of(values, "query"), session)
    answer, products = await searched(state, answer, k)
    state.record(answer, query_id, session, client, products)
    return json_response(as_json(answer, query_id) | {"products": products})


async def searched(state: ServiceState, answer: Answer, k: int) -> tuple[Answer, list[JsonDict]]:
    """An answer and its products. Where the search with the rewrite fails, the original's; HTTPException 503 where
    that fails too, or too many searches wait."""
    one, loaded = answer.rewritten, state.answerer.loaded
    if loaded is None:
        raise HTTPException(503, "nothing has been loaded yet")
    for rewrite in dict.fromkeys((one.rewrite, "")):
        found = state.searches.submit((loaded, one.query, rewrite, k))
        if found is None:
            state.metrics.fallbacks.labels("search_queue_full").inc()
            break
        try:
            products = await asyncio.shield(found)
        except Exception as error:
            state.metrics.fallbacks.labels("search_error").inc()
            log("fallback", reason="search_error", error=type(error).__name__, query=one.query)
            continue
        if rewrite == one.rewrite:
            return answer, products
        kept = Answer(
            original(one.query), answer.variant, answer.propensity, answer.version, "search_error", answer.assignment
        )
        return kept, products
    raise HTTPException(503, "the search engine does not answer", {"retry-after": "1"})


async def _values(request: Request, state: ServiceState) -> JsonDict:
    if request.method == "POST":
        return await read_object(request, state.settings)
    values: JsonDict = dict(request.query_params)
    if str(values.get("k", "")).isdecimal() and len(values["k"]) < 6:
        values["k"] = int(values["k"])
    return values


def _ids(values: JsonDict, state: ServiceState) -> tuple[str, str, str]:
    """Id of the query, and pseudonyms of session and client. A client without a session is its own session."""
    query_id = text_of(values, "query_id", "", LONGEST_ID) or fresh_query_id()
    session, client = (text_of(values, name, "", LONGEST_ID) for name in ("session_id", "client_id"))
    return query_id, state.identity(session or client), state.identity(client)
