"""ShopJudge: grades each pair once, stores verdicts as they arrive, however the run ends; replay without the judge."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from judges.verdict_store import stored
from judges.verdict_store.index import digest
from judges.verdict_store.store import VerdictStore
from judges.verdict_store.stored import ReplayOnly, ShopJudge, replay
from qr_env.common.errors import JudgeError
from qr_env.common.types import EXACT, IRRELEVANT, FloatArray, Query
from qr_env.environment.simulator import Simulator
from qr_env.reward.reward import Reward
from qr_env.shop.shop import Shop
from tests.helpers.fakes import WordRetriever, tiny_shop, words

SHOP = tiny_shop()
QUERIES = SHOP.all_queries
Pairs = Sequence[tuple[str, str]]


class WordsJudge:
    """Grades by the share of the query's words in the product's text; no verdict where a word is in `silent`."""

    name = "words-judge"

    def __init__(self, silent: str = "", fingerprint: str = "words@1", limit: int = 10**9) -> None:
        self.silent, self.fingerprint, self.limit = silent, fingerprint, limit
        self.asked: list[tuple[str, str]] = []

    def product_texts(self, shop: Shop) -> list[str]:
        return [
            f"{title} ({brand})" for title, brand in zip(shop.titles, shop.products["brand"].to_pylist(), strict=True)
        ]

    def grade_pairs(self, pairs: Pairs) -> FloatArray:
        self.asked += pairs
        if len(self.asked) > self.limit:
            raise JudgeError("the server went away")
        return np.array([self._grade(*pair) for pair in pairs], np.float32).reshape(-1, 4)

    def _grade(self, query: str, product: str) -> list[float]:
        asked = words(query)
        if self.silent in asked:
            return [float("nan")] * 4
        share = sum(word in words(product) for word in asked) / max(len(asked), 1)
        return [0.9 - 0.8 * share, 0.04, 0.06, 0.8 * share]

    def stats(self) -> dict[str, float]:
        return {"asked": len(self.asked)}


class StreamingJudge(WordsJudge):
    """Yields verdicts pair by pair, the last one first; is killed, or fails, after `limit` verdicts."""

    kill = False

    def grade_stream(self, pairs: Pairs) -> Iterator[tuple[list[int], FloatArray]]:
        for m in range(len(pairs) - 1, -1, -1):
            if len(self.asked) >= self.limit:
                if self.kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise KeyboardInterrupt
            yield [m], self.grade_pairs([pairs[m]])
            yield [], np.zeros((0, 4), np.float32)


def lists(n: int, k: int, seed: int = 0) -> tuple[list[Query], np.ndarray]:
    """N random queries, with repeats, and lists of products, with repeats and padding."""
    generator = np.random.default_rng(seed)
    rows_NK = generator.integers(-1, len(SHOP.products), size=(n, k)).astype(np.int32)
    return [QUERIES[q] for q in generator.integers(len(QUERIES), size=n)], rows_NK


def by_hand(judge: WordsJudge, queries: Sequence[Query], rows_NK: np.ndarray) -> FloatArray:
    texts = judge.product_texts(SHOP)
    graded = [
        [judge._grade(query.text, texts[row]) if row >= 0 else [np.nan] * 4 for row in rows]
        for query, rows in zip(queries, rows_NK.tolist(), strict=True)
    ]
    return np.array(graded, np.float32)


@pytest.mark.parametrize("with_store", [False, True])
@pytest.mark.parametrize("kind", [WordsJudge, StreamingJudge])
def test_grades_equal_the_pair_judges_and_each_pair_is_graded_once(
    tmp_path: Path, kind: type[WordsJudge], with_store: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "CHUNK", 7)
    inner = kind(silent="icebox")
    judge = ShopJudge(SHOP, inner, VerdictStore(tmp_path) if with_store else None)
    for seed in range(4):
        queries, rows_NK = lists(30, 8, seed)
        got = judge.grade(queries, rows_NK).probs_NK4
        assert got.tobytes() == by_hand(inner, queries, rows_NK).tobytes() and got.dtype == np.float32
        if not with_store:
            assert len(set(inner.asked)) == len(inner.asked), "once a batch"
            inner.asked.clear()
    if judge.store is not None:
        answered = [pair for pair in inner.asked if pair[0] != "icebox"]
        assert len(set(answered)) == len(answered), "once over all batches"
        assert len(inner.asked) - len(answered) > len(set(inner.asked) - set(answered)), (
            "missing verdicts are asked for again"
        )
        stats = judge.stats()
        assert stats["asked"] == len(inner.asked) == stats["store/asked"] - stats["store/hits"]
        assert stats["store/hit_rate"] == stats["store/hits"] / stats["store/asked"] > 0.3
        assert judge.store.stats()["verdicts"] == len(answered)
        judge.store.close()


def test_pairs_are_grouped_by_query_and_equal_products_are_graded_once() -> None:
    duplicates = Shop(
        "duplicates", SHOP.products.slice(0, 1).take([0] * 6), SHOP.queries, _no_labels(6), SHOP.purchases
    )
    inner = WordsJudge()
    queries = [QUERIES[0], QUERIES[3], QUERIES[0]]
    ShopJudge(SHOP, inner).grade(queries, np.array([[5, 3], [1, 3], [9, 3]], np.int32))
    assert [query for query, _ in inner.asked] == ["sofa"] * 3 + ["fridge"] * 2
    inner.asked.clear()
    probs = (
        ShopJudge(duplicates, inner).grade(queries, np.array([[0, 1, 2], [3, 4, 5], [5, 5, -1]], np.int32)).probs_NK4
    )
    assert len(inner.asked) == 2 and (probs[0] == probs[0, 0]).all() and np.isnan(probs[2, 2]).all()
    nothing = ShopJudge(SHOP, inner).grade([], np.zeros((0, 10), np.int32)).probs_NK4
    assert nothing.shape == (0, 10, 4)
    assert np.isnan(ShopJudge(SHOP, inner).grade(queries, np.full((3, 2), -1, np.int32)).probs_NK4).all()


def _no_labels(products: int):
    return SHOP.qrels[:, [0] * products] * 0


def test_verdicts_before_a_failure_are_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "CHUNK", 10)
    rows_NK = np.arange(30, dtype=np.int32).reshape(1, 30)
    with VerdictStore(tmp_path) as store:
        with pytest.raises(JudgeError, match="went away"):
            ShopJudge(SHOP, WordsJudge(limit=25), store).grade(QUERIES[:1], rows_NK)
        assert store.stats()["verdicts"] == 20
        with pytest.raises(KeyboardInterrupt):
            ShopJudge(SHOP, StreamingJudge(limit=7), store).grade(QUERIES[:1], rows_NK)
        assert store.stats()["verdicts"] == 27
        inner = WordsJudge()
        ShopJudge(SHOP, inner, store).grade(QUERIES[:1], rows_NK)
        assert len(inner.asked) == 3


def grade_until_killed(path: Path, limit: int) -> None:
    StreamingJudge.kill = True
    judge = ShopJudge(SHOP, StreamingJudge(limit=limit), VerdictStore(path))
    judge.grade(QUERIES, np.tile(np.arange(30, dtype=np.int32), (len(QUERIES), 1)))


def test_a_killed_run_keeps_its_committed_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["__main__", "tests.judges.verdict_store.test_stored"])
    run = forks.Process(target=grade_until_killed, args=(tmp_path, 200))
    run.start()
    run.join(30)
    assert run.exitcode == -signal.SIGKILL
    inner = WordsJudge()
    with VerdictStore(tmp_path) as store:
        kept = int(store.stats()["verdicts"])
        assert 0 < kept <= 200, "commits wait for the disk a tenth of the time at most, so a few may be lost"
        queries, rows_NK = QUERIES, np.tile(np.arange(30, dtype=np.int32), (len(QUERIES), 1))
        probs = ShopJudge(SHOP, inner, store).grade(queries, rows_NK).probs_NK4
    assert len(inner.asked) == rows_NK.size - kept and probs.tobytes() == by_hand(inner, queries, rows_NK).tobytes()


def test_a_slow_judges_verdicts_are_committed_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr(stored.time, "monotonic", lambda: 100.0 * next(clock))
    monkeypatch.setattr(stored, "COMMIT_SHARE", 1.0)
    sizes = []
    with VerdictStore(tmp_path) as store:
        put = store.put
        monkeypatch.setattr(store, "put", lambda *args: (sizes.append(len(args[1])), put(*args))[1])
        ShopJudge(SHOP, StreamingJudge(), store).grade(QUERIES[:1], np.arange(12, dtype=np.int32)[None])
    assert [size for size in sizes if size] == [1] * 12


def test_the_verdict_of_a_faster_process_wins(tmp_path: Path) -> None:
    rows_NK = np.arange(10, dtype=np.int32)[None]
    with VerdictStore(tmp_path) as store, VerdictStore(tmp_path) as other_store:

        class Slow(WordsJudge):
            def grade_pairs(self, pairs: Pairs) -> FloatArray:
                other_store.put(self.fingerprint, pairs[:4], np.full((4, 4), 0.25, np.float32))
                return super().grade_pairs(pairs)

        judge = ShopJudge(SHOP, Slow(), store)
        run = judge.grade(QUERIES[:1], rows_NK).probs_NK4
        assert (run[0] == 0.25).all(axis=1).sum() == 4
        assert replay(SHOP, store).grade(QUERIES[:1], rows_NK).probs_NK4.tobytes() == run.tobytes()


@pytest.mark.parametrize("bad", [[0.5, 0.1, 0.1, 0.1], [1.2, -0.2, 0, 0], [np.inf, 0, 0, 0], [1.0, 0, 0]])
def test_invalid_probabilities_are_refused_and_not_stored(tmp_path: Path, bad: list[float]) -> None:
    inner = WordsJudge()
    inner.grade_pairs = lambda pairs: np.array([bad] * len(pairs), np.float32)  # type: ignore[method-assign]
    with VerdictStore(tmp_path) as store:
        with pytest.raises(JudgeError, match="words-judge"):
            ShopJudge(SHOP, inner, store).grade(QUERIES[:1], np.array([[0, 1]], np.int32))
        assert store.stats()["verdicts"] == 0
    inner.product_texts = lambda shop: ["only one"]  # type: ignore[method-assign]
    with pytest.raises(JudgeError, match="1 product texts"):
        ShopJudge(SHOP, inner).grade(QUERIES[:1], np.array([[0, 1]], np.int32))


# --- replay


def episode_bytes(judge: object) -> bytes:
    """Rewards, grades and hits of an environment's episode, as bytes."""
    simulator = Simulator(SHOP, WordRetriever(SHOP), judge, Reward(), blocks=4, group_size=3, max_turns=2)
    generator = np.random.default_rng(1)
    vocabulary = sorted({word for title in SHOP.titles for word in words(title)})
    parts = []
    simulator.reset(QUERIES[:4])
    for turn in range(12):
        rewrites = [" ".join(generator.choice(vocabulary, size=2)) for _ in range(12)]
        step = simulator.step(rewrites, [QUERIES[(turn + n) % len(QUERIES)] for n in range(4)])
        parts += [step.rewards_N.tobytes(), step.grades_after.probs_NK4.tobytes(), step.hits_after.rows_NK.tobytes()]
    return b"".join(parts)


def test_a_run_replays_byte_for_byte_with_no_judge(tmp_path: Path) -> None:
    with VerdictStore(tmp_path) as store:
        run = episode_bytes(ShopJudge(SHOP, WordsJudge(), store))
    with VerdictStore(tmp_path, read_only=True) as store:
        judge = replay(SHOP, store)
        assert episode_bytes(judge) == run and judge.name == "replay"
        assert judge.stats()["missing/not in store"] == 0 and judge.stats()["store/hit_rate"] == 1.0


def test_a_replay_misses_verdicts_that_are_not_stored(tmp_path: Path) -> None:
    queries, rows_NK = lists(5, 6)
    with VerdictStore(tmp_path) as store:
        ShopJudge(SHOP, WordsJudge(), store).grade(queries[:3], rows_NK[:3])
        judge = replay(SHOP, store, "words@1")
        asked = ShopJudge(SHOP, WordsJudge()).grade(queries, rows_NK).probs_NK4
        got = judge.grade(queries, rows_NK).probs_NK4
        assert got[:3].tobytes() == asked[:3].tobytes()
        missing = np.isnan(got[..., 0]) & (rows_NK >= 0)
        assert missing.any() and judge.stats()["missing"] == judge.stats()["missing/not in store"] > 0
        assert (got[~missing & (rows_NK >= 0)] == asked[~missing & (rows_NK >= 0)]).all()


def test_the_replayed_judge_is_found_or_must_be_named(tmp_path: Path) -> None:
    row = np.array([[0]], np.int32)
    with VerdictStore(tmp_path) as store:
        with pytest.raises(JudgeError, match=r"0 judges to replay.*none"):
            replay(SHOP, store)
        ShopJudge(SHOP, WordsJudge(fingerprint="llm:a@1"), store).grade(QUERIES[:1], row)
        assert replay(SHOP, store).pair_judge.fingerprint == "llm:a@1"
        ShopJudge(SHOP, WordsJudge(fingerprint="llm:a@12"), store).grade(QUERIES[:1], row)
        with pytest.raises(JudgeError, match=r"2 judges.*llm:a@1 \(1 verdicts\); llm:a@12 \(1 verdicts\); name one"):
            replay(SHOP, store)
        with pytest.raises(JudgeError, match="0 judges with 'bm25'"):
            replay(SHOP, store, "bm25")
        assert replay(SHOP, store, "llm:a@1").pair_judge.fingerprint == "llm:a@1"
        other = Shop("other", SHOP.products.slice(0, 7), SHOP.queries, _no_labels(7), SHOP.purchases)
        with pytest.raises(JudgeError, match="of other shops"):
            replay(other, store)
        with pytest.raises(JudgeError, match="never graded the catalogue"):
            ShopJudge(other, ReplayOnly("llm:a@1", store), store).grade(QUERIES[:1], row)
        ShopJudge(other, WordsJudge(fingerprint="cross@1"), store).grade(QUERIES[:1], row)
        assert replay(other, store).pair_judge.fingerprint == "cross@1", "the only one that graded this shop"


def test_shop_digests_are_saved_once_and_again_when_texts_change(tmp_path: Path) -> None:
    row = np.array([[0]], np.int32)
    with VerdictStore(tmp_path) as store:
        ShopJudge(SHOP, WordsJudge(), store).grade(QUERIES[:1], row)
        inner = WordsJudge()
        inner.product_texts = lambda shop: shop.titles  # type: ignore[method-assign]
        ShopJudge(SHOP, inner, store).grade(QUERIES[:1], row)
        known = store.shop_digests("words@1", SHOP.products_hash)
        assert known is not None and known[0].tobytes() == digest(SHOP.titles[0])
        assert inner.asked == [(QUERIES[0].text, SHOP.titles[0])], "another text is another verdict"
        assert store.shop_digests("words@1", "another catalogue") is None


def test_grades_have_the_levels_of_the_judge() -> None:
    grades = ShopJudge(SHOP, WordsJudge()).grade(QUERIES[:1], np.array([[0, 29]], np.int32))
    assert grades.probs_NK4[0, 0].argmax() == EXACT and grades.probs_NK4[0, 1].argmax() == IRRELEVANT
