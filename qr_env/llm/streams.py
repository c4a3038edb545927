"""Replies that arrive as a stream (server-sent events), joined into the reply that the server would have sent at once.

is_stream(text, "text/event-stream"), joined(text)
"""

from __future__ import annotations

import json
import re
from typing import Any


def is_stream(text: str, content_type: str) -> bool:
    """Whether a body is a stream of events."""
    return "text/event-stream" in content_type or re.match(r"\s*(data|event|id|retry)?:", text) is not None


def joined(text: str) -> dict[str, Any]:
    """One reply from the events of a stream. Raises ValueError where an event is no JSON object, or none is there."""
    lines = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    events = [json.loads(line) for line in lines if line and line != "[DONE]"]
    if not events or not all(isinstance(event, dict) for event in events):
        raise ValueError("no event with a JSON object")
    if failed := next((event for event in events if "error" in event and not event.get("choices")), None):
        return dict(failed)
    reply: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for event in events:
        reply |= {name: value for name, value in event.items() if name != "choices" and value is not None}
        for part in event.get("choices") or []:
            _add(choices.setdefault(int(part.get("index") or 0), {}), part)
    return reply | {"choices": [{"index": n, **choice} for n, choice in sorted(choices.items())]}


def _add(choice: dict[str, Any], part: dict[str, Any]) -> None:
    """Add one event's part to a choice: its text, log-probabilities and reason to end."""
    delta = part.get("delta", part.get("message"))
    if delta is not None:
        message = choice.setdefault("message", {"role": "assistant", "content": ""})
        message["content"] += delta.get("content") or ""
    elif "text" in part:
        choice["text"] = choice.get("text", "") + (part["text"] or "")
    if part.get("finish_reason"):
        choice["finish_reason"] = part["finish_reason"]
    for name, values in (part.get("logprobs") or {}).items():
        if isinstance(values, list):
            logprobs = choice.get("logprobs") or {}
            logprobs[name] = [*logprobs.get(name, []), *values]
            choice["logprobs"] = logprobs
