"""`QueryStream`: endless, seeded, resumable query traffic in which popular queries come more often.

stream = QueryStream(shop.split("train"), seed=0)
queries = stream.take(64)
state = stream.state_dict()            # JSON; a new stream that loads it goes on exactly here
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from qr_env.errors import ConfigError, IndexMismatchError
from qr_env.types import Query


class QueryStream:
    """Draws queries with probability ∝ frequency ** temper, without repeats inside one `take`.

    temper 1 is the shop's own traffic, 0 is uniform, between them the tail is seen more often. Sampling without
    replacement is a race: every query arrives after an exponential time of its weight's rate, and the first n are
    taken; its logarithm is the Gumbel top-k trick (Kool et al. 2019, arXiv 1903.06059), with the same draws. A query
    of frequency 0 is drawn only after all others.

    Args:
        queries: what can be drawn, at least one.
        seed: of the stream's own generator; no global random state is touched.
        temper: exponent of the frequency, ≥ 0.

    Raises:
        ConfigError: no queries, a negative temper, or a frequency that is negative or not finite.
    """

    def __init__(self, queries: Sequence[Query], seed: int = 0, temper: float = 1.0) -> None:
        if not queries:
            raise ConfigError("the stream has no queries: does the split exist? `qr shop SOURCE` counts each split")
        if not 0 <= temper < np.inf:
            raise ConfigError(f"temper {temper}: must be ≥ 0 (0 is uniform, 1 is the shop's traffic)")
        self.queries = list(queries)
        self.temper = float(temper)
        self.taken = 0
        frequency_N = np.array([query.frequency for query in self.queries], dtype=np.float64)
        if not np.all(np.isfinite(frequency_N) & (frequency_N >= 0)):
            bad = next(query for query in self.queries if not 0 <= query.frequency < np.inf)
            raise ConfigError(f"query {bad.id!r} has frequency {bad.frequency}: must be finite and ≥ 0")
        log_weight_N = self.temper * np.log(np.maximum(frequency_N, 1e-300))
        self._wait_N = np.exp(np.minimum(log_weight_N.max() - log_weight_N, 690.0))  # 690: below float64's overflow
        self._generator = np.random.Generator(np.random.PCG64(seed))

    def __iter__(self) -> QueryStream:
        return self

    def __next__(self) -> Query:
        return self.take(1)[0]

    def take(self, n: int) -> list[Query]:
        """The next `n` queries. Distinct while n ≤ number of queries; beyond it, in rounds of all queries."""
        if n < 0:
            raise ConfigError(f"take({n}): n must be ≥ 0")
        rows: list[int] = []
        while len(rows) < n:
            rows += self._draw(min(n - len(rows), len(self.queries))).tolist()
        self.taken += n
        return [self.queries[row] for row in rows]

    def _draw(self, n: int) -> np.ndarray:
        """`n` distinct positions, in the order of a draw without replacement."""
        arrival_N = -np.log(1.0 - self._generator.random(len(self.queries))) * self._wait_N
        first = np.argpartition(arrival_N, n - 1)[:n] if n < len(arrival_N) else np.arange(n)
        return first[np.argsort(arrival_N[first], kind="stable")]

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what comes next, as JSON values."""
        return {
            "generator": self._generator.bit_generator.state,
            "taken": self.taken,
            "temper": self.temper,
            "queries": self._fingerprint(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            IndexMismatchError: the state belongs to other queries or another temper.
        """
        if state["queries"] != self._fingerprint() or state["temper"] != self.temper:
            raise IndexMismatchError(
                f"the stream's state was saved for other queries or temper ({state['temper']}, here {self.temper}): "
                "resume with the same shop, split and temper, or start a new run"
            )
        self._generator.bit_generator.state = state["generator"]
        self.taken = int(state["taken"])

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for query in self.queries:
            digest.update(f"{query.id}\0{query.text}\0{query.frequency!r}\n".encode())
        return digest.hexdigest()[:16]
