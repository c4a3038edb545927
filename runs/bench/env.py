"""Speed of the environment: the vector path against the engine's own time, and against a loop over the scalar one.

    qr bench env --json bench_env.json          # runs/bench/job.py calls `bench`

What is timed, each round on queries and rewrites that no round had before, the three in turn, medians over rounds:

- vector: `step` of N environments, everything included: texts, one search, one judge call, feedback, reward, the next
  queries and their observations.
- engine: `retriever.search` alone, on exactly the texts and in exactly the batches that the vector path asked it for.
- loop: `reset` and `step` of the scalar environment for the first of the same episodes.

All three start without remembered vectors, and each remembers what it sees. `vector / engine` is at most 1.3 and
`loop / vector` at least 3 where the environment costs little beside its engine. For dense engines the engine's time is
that of embedding the rewrites: `embedding / engine` says how much of it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from judges.simple.labels import LabelsJudge
from qr_env.common.protocols import Retriever
from qr_env.common.types import Hits, Query, SearchText
from qr_env.environment.env import QueryRewriteEnv
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.retrieval.factory import make_retriever
from qr_env.shop.shop import Shop
from qr_env.traffic.stream import QueryStream
from runs.common.timing import seconds

K = 10
# N, group, steps, loop episodes: what two cores do in a few seconds a round.
SIZES = {"bm25": (1_024, 8, 6, 256), "dense": (128, 8, 2, 32), "hybrid": (128, 8, 2, 32)}


class Recorder:
    """A retriever that notes what it is asked."""

    def __init__(self, retriever: Retriever) -> None:
        self.retriever, self.name = retriever, retriever.name
        self.asked: list[list[SearchText]] = []

    def search(self, queries: Sequence[SearchText], k: int) -> Hits:
        """The inner retriever's hits."""
        self.asked.append(list(queries))
        return self.retriever.search(queries, k)

    def save(self, folder: Path) -> None:
        """Write the inner retriever."""
        self.retriever.save(folder)


def bench(
    shop: Shop,
    retrievers: Sequence[str] = ("bm25", "hybrid"),
    encoder: Any = None,
    cache_dir: Path | None = None,
    rounds: int = 5,
    sizes: dict[str, tuple[int, int, int, int]] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Ratios, seconds an episode and sizes for each retriever; `encoder` is needed for dense and hybrid.

    sizes: retriever → (environments, rewrites a query, steps a round, episodes of the loop a round).
    """
    report: dict[str, Any] = {"ratios": {}, "episodes_per_second": {}, "sizes": {"shop": repr(shop), "k": K}}
    for kind in retrievers:
        retriever = make_retriever(kind, shop, cache_dir, encoder=encoder)
        size = (sizes or SIZES)[kind]
        timed = _rounds(shop, retriever, encoder, size, rounds, seed)
        report["sizes"][kind] = dict(zip(("num_envs", "group_size", "steps", "loop_episodes"), size, strict=True))
        report["sizes"][kind]["rounds"] = rounds
        report["ratios"] |= _ratios(kind, timed)
        report["episodes_per_second"][kind] = {
            name: 1 / median(timed[name]) for name in ("vector", "engine", "loop") if median(timed[name])
        }
    return report


def _ratios(kind: str, timed: dict[str, list[float]]) -> dict[str, float]:
    """Median over rounds of the ratios within a round."""
    pairs = {"vector / engine": ("vector", "engine"), "loop / vector": ("loop", "vector")}
    if kind != "bm25":
        pairs["embedding / engine"] = ("embedding", "engine")
    return {
        f"{kind}: {name}": median(a / b for a, b in zip(timed[top], timed[bottom], strict=True))
        for name, (top, bottom) in pairs.items()
    }


def _rounds(
    shop: Shop, retriever: Retriever, encoder: Any, size: tuple[int, int, int, int], rounds: int, seed: int
) -> dict[str, list[float]]:
    """Seconds an episode of each path, one value a round; the first round warms up and is not counted."""
    timed: dict[str, list[float]] = {"vector": [], "engine": [], "loop": [], "embedding": []}
    stream = QueryStream(shop.split("train") or shop.all_queries, seed)
    generator = np.random.default_rng(seed)
    for number in range(rounds + 1):
        took = _round(shop, retriever, encoder, size, stream, generator)
        for name, value in took.items() if number else ():
            timed[name].append(value)
    return timed


def _round(
    shop: Shop,
    retriever: Retriever,
    encoder: Any,
    size: tuple[int, int, int, int],
    stream: QueryStream,
    generator: np.random.Generator,
) -> dict[str, float]:
    num_envs, group_size, steps, episodes = size
    recorder = Recorder(retriever)
    envs = QueryRewriteVectorEnv(
        shop, recorder, LabelsJudge(shop), num_envs=num_envs, group_size=group_size, stream=stream, k=K
    )
    actions_TN = [_rewrites(shop, num_envs, generator) for _ in range(steps)]
    _forget(encoder)
    _, infos = envs.reset()
    first: list[Query] = infos["query"]
    recorder.asked.clear()
    vector = _seconds(lambda: [envs.step(actions_N) for actions_N in actions_TN]) / (num_envs * steps)
    asked = list(recorder.asked)
    _warm(retriever, encoder, first)
    engine = _seconds(lambda: [retriever.search(texts, K) for texts in asked]) / (num_envs * steps)
    _forget(encoder)
    scalar = QueryRewriteEnv(shop, retriever, LabelsJudge(shop), k=K)
    pairs = list(zip(first, actions_TN[0], strict=True))[:episodes]
    loop = _seconds(lambda: [_episode(scalar, query, rewrite) for query, rewrite in pairs]) / len(pairs)
    return {"vector": vector, "engine": engine, "loop": loop, "embedding": _embedding(encoder, first, asked, vector)}


def _episode(env: QueryRewriteEnv, query: Query, rewrite: str) -> float:
    env.reset(options={"query": query})
    return env.step(rewrite)[1]


def _embedding(encoder: Any, first: list[Query], asked: list[list[SearchText]], default: float) -> float:
    """Seconds an episode that go into embedding the texts alone (nothing without an encoder)."""
    if encoder is None:
        return default
    _forget(encoder)
    encoder.encode([query.text for query in first])
    batches = [[t for query in texts for t in ([query] if isinstance(query, str) else [t for t, _ in query])]
               for texts in asked]  # fmt: skip
    return _seconds(lambda: [encoder.encode(texts) for texts in batches]) / (len(first) * len(asked))


def _warm(retriever: Retriever, encoder: Any, first: list[Query]) -> None:
    """The state that the vector path had after its reset: the first queries' vectors, and nothing else."""
    _forget(encoder)
    if encoder is not None:
        retriever.search([query.text for query in first], K)


def _forget(encoder: Any) -> None:
    """Every timing starts without remembered vectors."""
    seen = getattr(encoder, "_seen", None)
    if seen is not None:
        seen.clear()


def _rewrites(shop: Shop, count: int, generator: np.random.Generator) -> list[str]:
    """Two to four words of a random title each: real words, all different queries, none kept."""
    titles = [shop.titles[row].split() for row in generator.integers(len(shop.titles), size=count).tolist()]
    lengths = generator.integers(2, 5, size=count).tolist()
    return [" ".join(title[:length]) or "new" for title, length in zip(titles, lengths, strict=True)]


def _seconds(work: Callable[[], Any]) -> float:
    """Wall-clock seconds, the garbage collector off as in timeit: notes kept for the replay would set it off."""
    gc.collect()
    gc.disable()
    try:
        return seconds(work)
    finally:
        gc.enable()
