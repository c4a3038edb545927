"""Loading table and model again beside those in use: tried first, then switched, so that no request is lost.

reloader = Reloader(open_loaded, answerer, metrics)
await reloader.reload()                        # raises what is wrong with the new version; the old one stays
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from agents.serving.service.answer import Answerer
from agents.serving.service.logs import log
from agents.serving.service.metrics import Metrics
from agents.serving.service.parts import Loaded
from qr_env.common.errors import ConfigError
from qr_env.common.types import JsonDict

SPARE_SECONDS = 5.0  # after which no request can still use the version before

Opener = Callable[[Loaded | None], Loaded]


class Reloader:
    """Loads versions, one at a time.

    Args:
        opener: opens the current files; is given the version in use, whose parts it may take over. Runs in a thread.
        answerer: what is switched.
    """

    def __init__(self, opener: Opener, answerer: Answerer, metrics: Metrics) -> None:
        self._opener, self._answerer, self._metrics = opener, answerer, metrics
        self._lock = asyncio.Lock()

    async def reload(self) -> JsonDict:
        """Load, try, switch. Returns the versions; raises what loading or trying raised."""
        async with self._lock:
            started, before = time.perf_counter(), self._answerer.loaded
            try:
                loaded = await asyncio.to_thread(_opened, self._opener, before)
            except BaseException as error:
                self._metrics.reloads.labels("refused").inc()
                log("reload", outcome="refused", error=type(error).__name__)
                raise
            self._answerer.use(loaded)
            self._metrics.loaded.info({"model": loaded.version, "table": loaded.table_version})
            self._metrics.reloads.labels("loaded").inc()
            self._metrics.ready.set(1)
            versions = {"version": loaded.version, "table": loaded.table_version}
            log("reload", outcome="loaded", seconds=round(time.perf_counter() - started, 2), **versions)
            if before is not None and before.table is not None and before.table is not loaded.table:
                asyncio.get_running_loop().call_later(SPARE_SECONDS, before.table.close)
            return versions


def _opened(opener: Opener, before: Loaded | None) -> Loaded:
    """Open a version and answer one query with every part of it that is not in use already by the worker's thread."""
    loaded = opener(before)
    query, used = loaded.trial_query, before.rewriters if before is not None else {}
    for name, rewriter in loaded.rewriters.items():
        if used.get(name) is rewriter:
            continue
        answers = rewriter([query])
        if len(answers) != 1 or not isinstance(answers[0].rewrite, str):
            raise ConfigError(f"the rewriter of variant {name!r} gave {len(answers)} answers to one query")
    if loaded.rules is not None:
        loaded.rules.override(query)
    if loaded.table is not None:
        loaded.table.look_up([query])
    if before is None or before.retriever is not loaded.retriever:
        loaded.products([query], [""], 1)
    return loaded
