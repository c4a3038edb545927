"""`POST /ml_inference`: for OpenSearch's search request processor `ml_inference`, through a connector to this service.

The connector's `request_body` decides what arrives. The text is taken from the first of `NAMES` that the object, or an
object `parameters` in it, holds; a list of texts gives a list of answers.

    {"query": "navy couch"}  →  {"response": "navy couch sofa", "query_string": "navy couch sofa^0.5", …}

`response` is the text for a `match` query, without weights; `query_string` holds them as boosts, for a `query_string`
query. Any failure gives the original's text with status 200, so that the search goes on. A recipe for the connector and
the pipeline is in runs/guides/serve.md.
"""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from agents.serving.service.limits import json_response, read_object
from agents.serving.service.state import ServiceState, fresh_query_id, state_of
from agents.serving.service.text import search_text
from qr_env.common.types import JsonDict
from qr_env.query_text.lucene import lucene_query

NAMES = ("query", "query_text", "queryText", "input", "inputs", "text", "text_docs", "prompt")
MOST_TEXTS = 32


async def ml_inference(request: Request) -> Response:
    """Search texts of one query or several."""
    state = state_of(request)
    values = await read_object(request, state.settings)
    given = _given(values)
    session = values.get("session_id", "")
    session = state.identity(session[:200]) if isinstance(session, str) else ""
    if isinstance(given, str):
        return json_response(await _answered(state, given, session))
    return json_response({"results": await asyncio.gather(*(_answered(state, text, session) for text in given))})


def _given(values: JsonDict) -> str | list[str]:
    inner = values.get("parameters")
    for place in (values, inner if isinstance(inner, dict) else {}):
        for name in NAMES:
            given = place.get(name)
            if isinstance(given, str):
                return given
            if isinstance(given, list) and given and all(isinstance(text, str) for text in given):
                if len(given) > MOST_TEXTS:
                    raise HTTPException(422, f"{len(given)} texts: at most {MOST_TEXTS} a request")
                return given
    raise HTTPException(422, f"the body must hold a text as one of: {', '.join(NAMES)}")


async def _answered(state: ServiceState, text: str, session: str) -> JsonDict:
    answer = await state.answerer.answer(text, session)
    query_id, one, loaded = fresh_query_id(), answer.rewritten, state.answerer.loaded
    state.record(answer, query_id, session, "", [])
    combine, weight = (loaded.combine, loaded.weight) if loaded is not None else ("expand", 1.0)
    return {
        "response": search_text(one.query, one.rewrite, combine),
        "query_string": lucene_query(one.query, one.rewrite, weight, "replace" if combine == "replace" else "expand"),
        "rewrite": one.rewrite,
        "source": one.source,
        "query_id": query_id,
    }
