"""The service's own log: one JSON object a line on standard error, texts masked.

log("fallback", reason="deadline", query="navy couch")
{"time": "2026-11-27T18:20:00.120Z", "event": "fallback", "reason": "deadline", "query": "navy couch"}
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime

from qr_env.common.privacy import mask_text

MAX_TEXT = 300
MAX_A_SECOND = 50  # lines of one event; a failure at every request does not fill the disk


class _Rate:
    """Counts the lines of each event in the current second."""

    def __init__(self) -> None:
        self.second = 0
        self.lines: dict[str, int] = {}

    def allows(self, event: str) -> bool:
        """Whether one more line of this event may be written now."""
        if (now := int(time.monotonic())) != self.second:
            self.second, self.lines = now, {}
        self.lines[event] = self.lines.get(event, 0) + 1
        return self.lines[event] <= MAX_A_SECOND


_RATE = _Rate()


def log(event: str, **fields: object) -> None:
    """Write one line; texts are masked and cut to `MAX_TEXT` characters. At most `MAX_A_SECOND` lines an event."""
    if not _RATE.allows(event):
        return
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    texts = {name: mask_text(value)[:MAX_TEXT] if isinstance(value, str) else value for name, value in fields.items()}
    line = json.dumps({"time": moment, "event": event, **texts}, ensure_ascii=True, default=str)
    print(line, file=sys.stderr, flush=True)
