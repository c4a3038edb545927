"""The LLM judge on a real vLLM server with SmolLM2: capabilities, verdicts, store, replay, a killed server.

One server for the whole file (`make vllm`); it takes 35–45 s to start on two quiet cores, and is started twice.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from judges.llm.judge import LLMJudge
from judges.shoppers.llm import LLMShopper
from judges.verdict_store.store import VerdictStore
from judges.verdict_store.stored import ShopJudge, replay
from qr_env.common.errors import JudgeError
from qr_env.common.types import FloatArray, Grades
from qr_env.llm.client import Client
from qr_env.llm.server import VLLMServer, has_gpu, healthy, unsupported
from qr_env.models.hub import resolve
from runs.bench.judge import CONTENDERS, bench
from tests.helpers.fakes import WordRetriever, tiny_shop

pytestmark = [pytest.mark.live, pytest.mark.skipif(unsupported() is not None, reason=unsupported() or "")]

SHOP = tiny_shop()
SLOW = 600.0  # seconds: a busy machine needs minutes for what a quiet one does in 40 s
# float32 rounds differently in another batch; on a GPU the model runs in 16 bits.
TOLERANCE = 0.05 if has_gpu() else 0.005


def open_llm_judge(server: VLLMServer, **settings: object) -> LLMJudge:
    client_options: dict[str, Any] = {"timeout": SLOW, "patience": SLOW, "concurrency": 8, "backoff": 0.5}
    client_options |= {name: settings.pop(name) for name in client_options if name in settings}
    judge_options: dict[str, Any] = {"model": server.name, "min_mass": 0.0} | settings
    return LLMJudge(Client(server.url, **client_options), **judge_options)


def pairs_of(judge: LLMJudge, queries: int, products: int) -> list[tuple[str, str]]:
    texts = judge.product_texts(SHOP)
    return [(query.text, texts[3 * n]) for query in SHOP.all_queries[:queries] for n in range(products)]


def is_verdict(probs_M4: FloatArray) -> bool:
    return bool(np.allclose(probs_M4.sum(axis=1), 1, atol=1e-5) and (probs_M4 >= 0).all())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMServer]:
    log = tmp_path_factory.mktemp("vllm") / "log.txt"
    with VLLMServer(resolve("smollm2-135m"), name="smollm2-135m", wait=SLOW, log=log) as server:
        yield server


def test_capabilities_of_the_server_are_detected(server: VLLMServer) -> None:
    with open_llm_judge(server) as judge:
        found = judge.capabilities[0]
    assert found.version and found.model == "smollm2-135m" and found.context == server.max_model_len
    assert found.top == 20 and found.choice and found.json and found.tokenize
    assert found.allowed_tokens and found.batches
    assert found.masked  # vLLM's log-probabilities are taken after the grammar's mask
    with open_llm_judge(server, model="gpt-5") as other, pytest.raises(JudgeError, match=r"gpt-5.*smollm2-135m"):
        other.grade_pairs([("sofa", "a sofa")])


def test_grading_methods_agree(server: VLLMServer) -> None:
    verdicts = {}
    for method in ("top", "choice"):
        with open_llm_judge(server, method=method) as judge:
            pairs = pairs_of(judge, queries=2, products=3)
            verdicts[method] = judge.grade_pairs([*pairs, pairs[0]])
            stats = judge.stats()
        assert is_verdict(verdicts[method]) and (verdicts[method][0] == verdicts[method][-1]).all()
        assert stats["asked"] == 7 and stats["missing"] == 0 and stats["tokens/prompt"] > 600
    np.testing.assert_allclose(verdicts["top"], verdicts["choice"], atol=TOLERANCE)


@pytest.mark.parametrize("prompt", ["json_v2", "list_v2"])
def test_other_prompts_are_answered(server: VLLMServer, prompt: str) -> None:
    with open_llm_judge(server, prompt=prompt, batch=3) as judge:
        probs_M4 = judge.grade_pairs(pairs_of(judge, queries=1, products=3))
        stats = judge.stats()
    assert is_verdict(probs_M4)
    assert stats["tokens/cached"] > 0 or prompt == "list_v2"  # rubric and query, from a pair's neighbours
    assert np.isin(probs_M4, (0, 1)).all() == (prompt == "json_v2")


def test_labels_without_mass_are_missing(server: VLLMServer) -> None:
    with open_llm_judge(server, min_mass=0.999999) as judge:
        pairs = pairs_of(judge, queries=1, products=8)
        assert np.isnan(judge.grade_pairs(pairs[:2])).all()
        assert judge.stats()["missing/low_mass"] == 2
        with pytest.raises(JudgeError, match="low_mass 8"):
            judge.grade_pairs(pairs)


def test_a_run_replays_from_its_store_without_a_server(server: VLLMServer, tmp_path: Path) -> None:
    queries, rows_NK = SHOP.all_queries[:2], np.array([[0, 5, 29, -1], [5, 0, 12, 12]], np.int32)
    with open_llm_judge(server) as llm, VerdictStore(tmp_path) as store:
        judge = ShopJudge(SHOP, llm, store)
        live, again = judge.grade(queries, rows_NK), judge.grade(queries, rows_NK)
        asked, hits = llm.stats()["asked"], judge.stats()["store/hits"]
    assert is_verdict(live.probs_NK4[rows_NK >= 0]) and np.isnan(live.probs_NK4[0, 3]).all()
    assert asked == 6 and hits == 6
    with VerdictStore(tmp_path, read_only=True) as store:
        replayed = replay(SHOP, store).grade(queries, rows_NK)
    assert live.probs_NK4.tobytes() == again.probs_NK4.tobytes() == replayed.probs_NK4.tobytes()


def test_the_shopper_answers_for_its_list_only(server: VLLMServer, tmp_path: Path) -> None:
    queries, rows_NK = SHOP.all_queries[:2], np.array([[0, 5, 29], [5, 0, -1]], np.int32)
    no_grades = Grades(np.full((2, 3, 4), np.nan, np.float32))
    client = Client(server.url, concurrency=1, timeout=SLOW, patience=SLOW, retries=0)
    with client, VerdictStore(tmp_path) as store:
        shopper = LLMShopper(SHOP, client, server.name, store=store, max_missing=0.0)
        done = shopper.engage(queries, rows_NK, no_grades)
        stats = shopper.stats()
        again = LLMShopper(SHOP, client, server.name, store=store).engage(queries, rows_NK, no_grades)
        assert shopper.server.json and (stats["visits"], stats["missing"]) == (2, 0)
        assert client.tally.read()["visits"] == 2  # the second shopper's were in the store
    assert stats["tokens/cached"] >= 96 or has_gpu()  # the shopper's instructions, cached by the visit before
    shown_NK = rows_NK >= 0
    assert np.isin(done.click_NK[shown_NK], (0, 1)).all() and np.isnan(done.click_NK[~shown_NK]).all()
    assert (done.click_NK >= done.cart_NK)[shown_NK].all() and (done.cart_NK >= done.purchase_NK)[shown_NK].all()
    np.testing.assert_array_equal(again.click_NK, done.click_NK)
    np.testing.assert_array_equal(again.some_N3, done.some_N3)


def test_the_bench_reports_every_method(server: VLLMServer) -> None:
    report = bench(SHOP, WordRetriever(SHOP), server.url, pairs=4, k=4, rounds=1, group=server.pid)
    json.dumps(report)
    assert report["verdicts_per_second"].keys() == {*CONTENDERS, "store"}
    assert {"list / json", "label / reason", "store / list"} <= report["ratios"].keys()
    assert report["ratios"]["store / list"] > 50
    generated = {name: costs["generated tokens"] for name, costs in report["costs_per_verdict"].items()}
    assert generated["label"] == 1 < generated["json"] < generated["reason"]
    # Of a query's pairs after the first, rubric, warning and query are in the cache, except for an incomplete block.
    assert report["costs_per_verdict"]["label"]["cached tokens"] >= 96 * 3 / 4 or has_gpu()


def test_a_killed_server_costs_no_verdict(server: VLLMServer) -> None:
    with open_llm_judge(server, concurrency=2, batch=1) as judge:
        pairs = pairs_of(judge, queries=2, products=6)
        undisturbed = judge.grade_pairs(pairs)
        before = judge.stats()
        stream, probs_M4 = judge.grade_stream(pairs), np.full((len(pairs), 4), np.nan, np.float32)
        places, probs = next(stream)
        probs_M4[places] = probs
        assert server.pid is not None
        os.killpg(server.pid, signal.SIGKILL)
        restart = threading.Thread(target=lambda: (server.stop(), server.start()))
        restart.start()
        for places, probs in stream:
            assert np.isnan(probs_M4[places]).all()  # each handed out once
            probs_M4[places] = probs
        restart.join()
        stats = judge.stats()
    assert is_verdict(probs_M4)
    np.testing.assert_allclose(probs_M4, undisturbed, atol=TOLERANCE)
    assert stats["asked"] == 2 * len(pairs) and stats["missing"] == 0
    assert stats["retries"] > before.get("retries", 0)


def test_a_stopped_server_leaves_missing_verdicts_and_no_process(server: VLLMServer) -> None:
    with open_llm_judge(server, patience=0.5, backoff=0.01, max_missing=1.0) as judge:
        pairs = pairs_of(judge, queries=1, products=4)
        assert judge.method == "top"
        group = server.pid
        server.stop()
        assert np.isnan(judge.grade_pairs(pairs)).all()
        stats = judge.stats()
    kinds = {name: count for name, count in stats.items() if name.startswith("missing/")}
    assert stats["missing"] == 4 == sum(kinds.values()) and set(kinds) <= {"missing/connect", "missing/breaker"}
    assert not healthy(server.port) and not living_processes(group or 0)


def living_processes(group: int) -> list[str]:
    """Living processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        state, _, owner = text.rsplit(")", 1)[1].split()[:3]
        if int(owner) == group and state != "Z":
            found.append(text.split(" (")[0])
    return found
