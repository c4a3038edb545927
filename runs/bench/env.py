"""`qr bench env`: the vector environment against its retriever's own time, and against a loop over the scalar one.

What is timed, each round on queries and rewrites that no round had before, the three in turn, medians over rounds:

- vector: `step` of N environments with everything in it: texts, one search, one judge call, feedback, reward, the next
  queries and their observations.
- engine: `retriever.search` alone, on exactly the texts and batches that the vector environment searched for.
- loop: `reset` and `step` of the scalar environment for the first of the same episodes.

All three start with an empty cache of vectors, and each fills it. `vector / engine` should be at most 2.0 and
`loop / vector` at least 3. For dense retrievers the engine's time is mostly that of embedding the rewrites:
`embedding / engine` is its share.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tqdm import tqdm

from judges.simple.labels import LabelsJudge
from qr_env.common.download import cache_root
from qr_env.common.protocols import Retriever, TextEncoder
from qr_env.common.types import Hits, Query, SearchText
from qr_env.environment.env import QueryRewriteEnv
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.models.hub import resolve
from qr_env.retrieval.encoder import Encoder
from qr_env.retrieval.factory import make_retriever
from qr_env.shop import load_shop
from qr_env.shop.shop import Shop
from qr_env.traffic.stream import QueryStream
from runs.bench.args import EnvArgs
from runs.bench.output import named_values, publish, ratio_lines
from runs.common.timing import seconds

K = 10  # products of a result list
PATHS = ("vector", "engine", "loop", "embedding")


@dataclass(frozen=True)
class Size:
    """How much a round does."""

    num_envs: int
    """environments of the vector environment"""
    group_size: int
    """rewrites a query"""
    steps: int
    """steps of the vector environment"""
    loop_episodes: int
    """episodes of the loop over the scalar environment"""


# A few seconds a round on two cores.
SIZES = {"bm25": Size(1_024, 8, 6, 256), "dense": Size(128, 8, 2, 32), "hybrid": Size(128, 8, 2, 32)}


def main(args: EnvArgs) -> None:
    """Measure, print, write."""
    shop = load_shop(args.shop, args.data, options=args.read_options())
    kinds = tuple(kind for kind in args.retriever if args.encoder or kind == "bm25")
    encoder = Encoder(resolve(args.encoder)) if args.encoder and kinds != ("bm25",) else None
    measured = bench(shop, kinds, encoder, cache_root(), args.rounds)
    lines = ratio_lines(measured)
    for kind, rates in measured["episodes_per_second"].items():
        lines.append(f"{kind}: episodes/s  {named_values(rates, ',.0f')}")
    publish(measured, lines, args.json)


class RecordingRetriever:
    """A retriever that records the batches of texts it is given."""

    def __init__(self, retriever: Retriever) -> None:
        self.retriever, self.name = retriever, retriever.name
        self.batches: list[list[SearchText]] = []

    def search(self, queries: Sequence[SearchText], k: int) -> Hits:
        """The inner retriever's hits."""
        self.batches.append(list(queries))
        return self.retriever.search(queries, k)

    def save(self, folder: Path) -> None:
        """Write the inner retriever."""
        self.retriever.save(folder)


def bench(
    shop: Shop,
    retrievers: Sequence[str] = ("bm25", "hybrid"),
    encoder: TextEncoder | None = None,
    cache_dir: Path | None = None,
    rounds: int = 5,
    sizes: dict[str, Size] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Ratios, episodes a second and sizes for each retriever; dense and hybrid need `encoder`."""
    measured: dict[str, Any] = {"ratios": {}, "episodes_per_second": {}, "sizes": {"shop": repr(shop), "k": K}}
    for kind in retrievers:
        retriever = make_retriever(kind, shop, cache_dir, encoder=encoder)
        size = (sizes or SIZES)[kind]
        timed = _timed_rounds(shop, retriever, encoder, size, rounds, seed)
        measured["sizes"][kind] = asdict(size) | {"rounds": rounds}
        measured["ratios"] |= _ratios(kind, timed)
        measured["episodes_per_second"][kind] = {
            name: 1 / median(timed[name]) for name in ("vector", "engine", "loop") if median(timed[name])
        }
    return measured


def _ratios(kind: str, timed: dict[str, list[float]]) -> dict[str, float]:
    """Median over rounds of the ratios within a round."""
    pairs = {"vector / engine": ("vector", "engine"), "loop / vector": ("loop", "vector")}
    if kind != "bm25":
        pairs["embedding / engine"] = ("embedding", "engine")
    return {
        f"{kind}: {name}": median(a / b for a, b in zip(timed[top], timed[bottom], strict=True))
        for name, (top, bottom) in pairs.items()
    }


def _timed_rounds(
    shop: Shop, retriever: Retriever, encoder: TextEncoder | None, size: Size, rounds: int, seed: int
) -> dict[str, list[float]]:
    """Seconds an episode of each path, one value a round; the first round warms up and is not counted."""
    timed: dict[str, list[float]] = {path: [] for path in PATHS}
    stream = QueryStream(shop.split("train") or shop.all_queries, seed)
    generator = np.random.default_rng(seed)
    for number in tqdm(range(rounds + 1), desc=retriever.name, unit="round"):
        for path, value in _timed_round(shop, retriever, encoder, size, stream, generator).items():
            if number:
                timed[path].append(value)
    return timed


def _timed_round(
    shop: Shop,
    retriever: Retriever,
    encoder: TextEncoder | None,
    size: Size,
    stream: QueryStream,
    generator: np.random.Generator,
) -> dict[str, float]:
    """Seconds an episode of each path, on new queries and rewrites."""
    recorder = RecordingRetriever(retriever)
    envs = QueryRewriteVectorEnv(
        shop, recorder, LabelsJudge(shop), num_envs=size.num_envs, group_size=size.group_size, stream=stream, k=K
    )
    episodes = size.num_envs * size.steps
    actions = [_rewrites(shop, size.num_envs, generator) for _ in range(size.steps)]
    _clear_cache(encoder)
    _, infos = envs.reset()
    first: list[Query] = infos["query"]
    recorder.batches.clear()
    vector = _seconds(lambda: [envs.step(actions_N) for actions_N in actions]) / episodes
    batches = list(recorder.batches)
    # The engine starts as the vector environment did after its reset: with the first queries' vectors alone.
    _clear_cache(encoder)
    if encoder is not None:
        retriever.search([query.text for query in first], K)
    engine = _seconds(lambda: [retriever.search(texts, K) for texts in batches]) / episodes
    _clear_cache(encoder)
    scalar = QueryRewriteEnv(shop, retriever, LabelsJudge(shop), k=K)
    pairs = list(zip(first, actions[0], strict=True))[: size.loop_episodes]
    loop = _seconds(lambda: [_episode(scalar, query, rewrite) for query, rewrite in pairs]) / len(pairs)
    embedding = vector if encoder is None else _embedding_seconds(encoder, first, batches)
    return {"vector": vector, "engine": engine, "loop": loop, "embedding": embedding}


def _episode(env: QueryRewriteEnv, query: Query, rewrite: str) -> float:
    env.reset(options={"query": query})
    return env.step(rewrite)[1]


def _embedding_seconds(encoder: TextEncoder, first: list[Query], batches: list[list[SearchText]]) -> float:
    """Seconds an episode for embedding the texts alone."""
    _clear_cache(encoder)
    encoder.encode([query.text for query in first])
    texts = [
        [text for query in batch for text in ([query] if isinstance(query, str) else [text for text, _ in query])]
        for batch in batches
    ]
    return _seconds(lambda: [encoder.encode(batch) for batch in texts]) / (len(first) * len(batches))


def _clear_cache(encoder: TextEncoder | None) -> None:
    """Forget the vectors of earlier texts."""
    if isinstance(encoder, Encoder):  # other encoders, such as those of tests, keep none
        encoder.clear_cache()


def _rewrites(shop: Shop, count: int, generator: np.random.Generator) -> list[str]:
    """Two to four words of a random title each: real words, all different from the queries."""
    titles = [shop.titles[row].split() for row in generator.integers(len(shop.titles), size=count).tolist()]
    lengths = generator.integers(2, 5, size=count).tolist()
    return [" ".join(title[:length]) or "new" for title, length in zip(titles, lengths, strict=True)]


def _seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds, with the garbage collector off as in timeit: the recorded batches would trigger it."""
    gc.collect()
    gc.disable()
    try:
        return seconds(work)
    finally:
        gc.enable()
