"""`POST /reload`: load table and model again. Asked with the token, or from this machine where there is none."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from agents.serving.service.limits import json_response
from agents.serving.service.state import state_of


async def reload(request: Request) -> Response:
    """Load, try and switch; 409 where the new version is refused, and the old one stays. Why is in the log."""
    try:
        return json_response(await state_of(request).reloader.reload())
    except Exception as error:
        raise HTTPException(409, "the new version was refused, the old one stays; the server's log says why") from error
