"""The LLM judge against a fake vLLM server over HTTP: probabilities, passes, methods, and every kind of fault.

Throughout: every verdict is exactly the model's or NaN, every pair is yielded once, and every failure is counted under
its kind.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter

import numpy as np
import pytest

from judges.llm.judge import LLMJudge
from judges.llm.prompt import PASSES
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.llm.client import Client
from tests.helpers.fake_llm_server import FakeLLMServer, true_level
from tests.helpers.fakes import tiny_shop

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

COLORS = ("red", "blue", "green", "black", "white")
THINGS = ("sofa", "lamp", "chair")
QUERIES = ("red sofa", "lamp", "green chair")
PAIRS = [(query, f"{color} {thing}") for query in QUERIES for thing in THINGS for color in COLORS]
FAST = {"backoff": 0.002, "timeout": 20.0, "patience": 2.0}
CLIENT = {"concurrency", "retries", *FAST}  # options of the client, the others are the judge's
HANGING = {"timeout": 1.0, "concurrency": 4}  # few at a time, so that only the requests that the server delays time out
# What the server does once, and the kind under which the verdict is missing when nothing is retried.
FAULTS = {
    "500": "http_500",
    "503": "http_503",
    "429": "http_429",
    "404": "http_404",
    "hang": "timeout",
    "reset": "reset",
    "cut": "reset",
    "malformed": "bad_json",
    "not_an_object": "bad_json",
    "no_choices": "bad_reply",
    "no_logprobs": "no_logprobs",
    "impossible": "bad_logprobs",
    "not_a_number": "bad_logprobs",
    "other_labels": "low_mass",
}
TRANSIENT = {"500", "503", "429", "hang", "reset", "cut", "malformed", "not_an_object"}


@pytest.fixture
def server():
    with FakeLLMServer() as server:
        yield server


def open_judge(server, **options):
    client = {**FAST, **{name: value for name, value in options.items() if name in CLIENT}}
    judge_options = {name: value for name, value in options.items() if name not in CLIENT}
    return LLMJudge(Client(server.url, **client), **{"max_missing": 1.0, "batch": 1, **judge_options})


def expected_probs(pairs):
    """The probabilities of the server's model."""
    probs = np.full((len(pairs), 4), 0.1)
    probs[np.arange(len(pairs)), [true_level(*pair) for pair in pairs]] = 0.7
    return probs


def check(judge, pairs, probs):
    """Check verdicts and counts; returns the indices of missing verdicts."""
    missing = np.isnan(probs).any(axis=1)
    np.testing.assert_allclose(probs[~missing], expected_probs(pairs)[~missing], atol=1e-6)
    assert np.isnan(probs[missing]).all()
    stats = judge.stats()
    kinds = {name: count for name, count in stats.items() if name.startswith("missing/")}
    assert stats["asked"] == len(pairs)
    assert stats["missing"] == missing.sum() == sum(kinds.values())
    return np.flatnonzero(missing)


@pytest.mark.parametrize("method", ["top", "choice"])
@pytest.mark.parametrize(("passes", "batch"), [(("plain",), 1), (("plain",), 4), (tuple(PASSES), 8)])
def test_probabilities_are_the_models(server, method, passes, batch):
    with open_judge(server, method=method, passes=passes, batch=batch) as judge:
        some = PAIRS[::2]
        assert check(judge, some, judge.grade_pairs(some)).size == 0
        masses = np.concatenate([verdicts.mass_M for verdicts in judge.stream(some[:8])])
    assert np.isnan(masses).all() if method == "choice" else np.allclose(masses, 0.9)


def test_stated_grades_and_lists(server):
    for prompt in ("json_v2", "reason_v2"):
        with open_judge(server, prompt=prompt) as judge:
            probs = judge.grade_pairs(PAIRS)
            np.testing.assert_array_equal(probs, np.eye(4)[[true_level(*pair) for pair in PAIRS]])
            text = next(judge.stream(PAIRS)).text
            assert ('"reason"' in text) == prompt.startswith("reason")
    with open_judge(server, prompt="list_v2", batch=6) as judge:
        assert judge.method == "list"
        before = len(server.prompts())
        assert check(judge, PAIRS, judge.grade_pairs(PAIRS)).size == 0
        assert len(server.prompts()) - before == len(QUERIES) * 3  # 15 products a query, 6 a request


def test_raw_and_masked_log_probabilities_differ_in_mass_only():
    with FakeLLMServer(masked=False) as server, open_judge(server, method="choice") as judge:
        assert not judge.server.masked
        verdicts = list(judge.stream(PAIRS))
        np.testing.assert_allclose(np.concatenate([v.mass_M for v in verdicts]), 0.9)
        np.testing.assert_allclose(np.concatenate([v.probs_M4.max(axis=1) for v in verdicts]), 0.7, rtol=1e-6)


@pytest.mark.parametrize(("obeys", "requests"), [(True, 2), (False, 1)])
def test_an_unlisted_letter(obeys, requests):
    """Of five log-probabilities one letter is left out: a constrained request gives it, else half its bound."""
    with FakeLLMServer(obeys=obeys, top=4) as server, open_judge(server) as judge:
        assert judge.method == "top" and judge.server.choice == obeys
        before = len(server.prompts())
        (probs,) = judge.grade_pairs([("lamp", "red lamp")])
        assert len(server.prompts()) - before == requests
    if obeys:
        np.testing.assert_allclose(probs, [0.1, 0.1, 0.1, 0.7], atol=1e-6)
    else:  # listed: 0.63, 0.10 for "The", 0.09, 0.09; left over for the fourth letter at most 0.09
        np.testing.assert_allclose(np.sort(probs), np.array([0.045, 0.09, 0.09, 0.63]) / 0.855, atol=1e-4)


def test_passes_cancel_a_preference_for_the_first_label():
    pairs = [("red sofa", "blue sofa")]  # Substitute: Exact and Irrelevant are equally wrong
    with FakeLLMServer(favours_first=0.3) as server:
        one, other = open_judge(server), open_judge(server, passes=("plain", "swapped"))
        four = open_judge(server, passes=tuple(PASSES))
        biased, even, also = (judge.grade_pairs(pairs)[0] for judge in (one, other, four))
        for judge in (one, other, four):
            judge.close()
    assert biased[3] > biased[0] + 0.25
    assert abs(even[3] - even[0]) < 1e-6 and abs(also[3] - also[0]) < 1e-6
    assert np.isclose(even.sum(), 1)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_missing_under_its_kind(server, fault):
    with open_judge(server, retries=0, **HANGING if fault == "hang" else {}) as judge:
        assert judge.method == "top"
        server.faults.append(fault)
        assert check(judge, PAIRS[:12], judge.grade_pairs(PAIRS[:12])).size == 1
        assert judge.stats()[f"missing/{FAULTS[fault]}"] == 1


@pytest.mark.parametrize("fault", sorted(TRANSIENT))
def test_a_transient_fault_costs_only_a_retry(server, fault):
    with open_judge(server, **HANGING if fault == "hang" else {}) as judge:
        assert judge.method == "top"
        server.faults.extend([fault] * 3)
        assert check(judge, PAIRS[:15], judge.grade_pairs(PAIRS[:15])).size == 0
        assert judge.stats()["retries"] == judge.stats()[f"retries/{FAULTS[fault]}"] == 3


@pytest.mark.parametrize(
    ("prompt", "fault", "kind"),
    [
        ("json_v2", 'says:{"grade": "Q"}', "bad_label"),
        ("json_v2", 'says:{"grade": "ES"}', "bad_label"),
        ("json_v2", 'says:{"grade": 3}', "bad_schema"),
        ("json_v2", 'says:{"grade": "E", "note": "x"}', "bad_schema"),
        ("json_v2", "says:Exact!", "bad_schema"),
        ("json_v2", "cut_text", "truncated"),
        ("reason_v2", 'says:{"grade": "E"}', "bad_schema"),
        ("list_v2", "other_labels", "bad_label"),
        ("list_v2", "impossible", "bad_logprobs"),
    ],
)
def test_a_malformed_reply_is_missing(server, prompt, fault, kind):
    with open_judge(server, prompt=prompt, batch=1) as judge:
        assert judge.method
        server.faults.append(fault)
        probs = judge.grade_pairs(PAIRS[:9])
        assert np.isnan(probs).all(axis=1).sum() == judge.stats()[f"missing/{kind}"] == 1


def test_an_invalid_label_despite_the_constraint(server):
    with open_judge(server, method="choice") as judge:
        assert judge.method
        server.faults.append("other_labels")
        judge.grade_pairs(PAIRS[:9])
        assert judge.stats()["missing/bad_label"] == 1


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"hang", "other_labels"}))
def test_after_a_bad_reply_products_are_graded_one_by_one(server, fault):
    with open_judge(server, batch=8, retries=0) as judge:
        assert judge.method == "top" and judge.server.batches
        server.faults.append(fault)
        assert check(judge, PAIRS[:8], judge.grade_pairs(PAIRS[:8])).size == 0
        server.faults.extend([fault] * 3)  # the request for all, and those for two of them
        missing = np.isnan(judge.grade_pairs(PAIRS[:8])).any(axis=1).sum()
        assert missing == judge.stats()["missing"] == judge.stats()[f"missing/{FAULTS[fault]}"] == 2


@pytest.mark.parametrize(("seed", "batch"), [(0, 1), (1, 1), (2, 8)])
def test_all_faults_together(server, seed, batch):
    """Half of all replies are faulty, in any order: every verdict is right, the others are counted."""
    pairs = [(query, f"{text} {n}") for n in range(4) for query, text in PAIRS]
    kinds = [fault for fault in FAULTS if fault != "hang"]
    generator = random.Random(seed)
    with open_judge(server, retries=2, batch=batch) as judge:
        assert judge.method == "top"
        server.faults.extend(generator.choice([*kinds, *[""] * len(kinds)]) for _ in range(2 * len(pairs)))
        places: Counter[int] = Counter()
        probs = np.full((len(pairs), 4), np.nan)
        for verdicts in judge.stream(pairs):
            places.update(verdicts.pairs_M)
            probs[verdicts.pairs_M] = verdicts.probs_M4
            assert [bool(kind) for kind in verdicts.kinds_M] == np.isnan(verdicts.probs_M4[:, 0]).tolist()
        assert places == Counter(range(len(pairs)))
        missing = check(judge, pairs, probs)
        assert 0 < len(missing) < len(pairs) / 2
        assert batch > 1 or set(server.answered) >= set(kinds)
        # Faults that do not pass are missing at once, and each is found again under its kind.
        for fault in ("no_choices", "no_logprobs", "other_labels", "404"):
            assert batch > 1 or judge.stats().get(f"missing/{FAULTS[fault]}", 0) == server.answered[fault]


def test_a_killed_and_restarted_server_costs_no_verdict(server):
    pairs = [(query, f"{text} {n}") for n in range(3) for query, text in PAIRS]
    with open_judge(server, concurrency=16, patience=20.0) as judge:
        assert judge.method == "top"
        server.delay = 0.01
        probs = np.full((len(pairs), 4), np.nan)
        for done, (places, part) in enumerate(judge.grade_stream(pairs)):
            probs[places] = part
            if done in (30, 80):
                server.kill()
                threading.Timer(0.3, server.start).start()
        assert check(judge, pairs, probs).size == 0
        assert judge.stats()["retries/connect"] > 0 and judge.stats()["retries/reset"] > 0


def test_a_lost_server_stops_the_run_after_yielding_what_succeeded(server):
    pairs = [(query, f"{text} {n}") for n in range(5) for query, text in PAIRS]
    with open_judge(server, concurrency=4, patience=0.2, max_missing=0.3) as judge:
        assert judge.method == "top"
        yielded, start = np.zeros(len(pairs), int), time.monotonic()
        with pytest.raises(JudgeError, match=r"of 225 verdicts are missing \(limit 30%\): breaker \d+.*What to do"):
            for done, (places, _) in enumerate(judge.grade_stream(pairs)):
                yielded[places] += 1
                if done == 50:
                    server.kill()
        assert time.monotonic() - start < 10
    assert yielded.max() == 1
    assert yielded.sum() == judge.stats()["asked"] < len(pairs)  # stopped early
    assert judge.stats()["asked"] - judge.stats()["missing"] > 45


def test_too_many_missing_verdicts_raise_with_kinds_and_advice(server):
    with open_judge(server, min_mass=0.95, max_missing=0.5) as judge:
        with pytest.raises(JudgeError, match=r"low_mass \d+.*larger one, another prompt, or a lower min_mass"):
            judge.grade_pairs(PAIRS)
        assert np.isnan(judge.grade_pairs(PAIRS[:3])).all()  # too small a batch to stop a run
    with open_judge(server, retries=0, max_missing=0.5) as judge:
        assert judge.method
        server.faults.extend(["", "500", "malformed"] * 40)
        with pytest.raises(JudgeError, match="http_500") as caught:
            judge.grade_pairs(PAIRS)
        assert "bad_json" in str(caught.value)


def test_servers_share_the_load_and_replace_each_other(server):
    pairs = [(query, f"{text} {n}") for n in range(2) for query, text in PAIRS]
    with FakeLLMServer() as other:
        urls = f"{server.url}/v1, {other.url}/"
        judge = LLMJudge(Client(urls, **FAST, concurrency=24), max_missing=1.0, batch=1)
        assert len(judge.capabilities) == 2
        server.delay = other.delay = 0.005
        assert check(judge, pairs, judge.grade_pairs(pairs)).size == 0
        shares = [sum(s.answered.values()) for s in (server, other)]
        assert min(shares) > 0.2 * sum(shares)
        other.kill()
        assert not np.isnan(judge.grade_pairs(pairs)).any()
        judge.close()


def test_concurrency_is_reached_and_not_exceeded(server):
    pairs = [("lamp", f"lamp {n}") for n in range(200)]
    with open_judge(server, concurrency=64) as judge:
        assert judge.method
        server.gather = 64
        server.gathered.clear()
        assert check(judge, pairs, judge.grade_pairs(pairs)).size == 0
        assert server.most_in_flight == 64


def test_a_closed_stream_sends_no_more_requests(server):
    pairs = [("lamp", f"lamp {n}") for n in range(300)]
    with open_judge(server, concurrency=4) as judge:
        stream = judge.grade_stream(pairs)
        next(stream)
        stream.close()
        asked = len(server.prompts())
        assert asked < 60
        assert not np.isnan(judge.grade_pairs(pairs[:20])).any()  # the judge still works


def test_equal_pairs_cost_one_request_and_a_querys_prompts_share_a_prefix(server):
    mixed = [pair for n in range(15) for pair in PAIRS[n::15]] * 2
    with open_judge(server, concurrency=1) as judge:
        assert judge.method
        before = len(server.prompts())
        assert check(judge, mixed, judge.grade_pairs(mixed)).size == 0
        prompts = server.prompts()[before:]
    assert len(prompts) == len(PAIRS)
    for n, query in enumerate(QUERIES):
        asked = prompts[15 * n : 15 * n + 15]
        beginnings = {re.split(r"^\([a-z]{4}\) ", text, maxsplit=1, flags=re.MULTILINE)[0] for text in asked}
        assert len(beginnings) == 1 and beginnings.pop().endswith(f"Query: {query}\n")


def test_long_products_are_cut_to_tokens_and_blank_ones_are_missing(server):
    with open_judge(server, max_product_tokens=40) as judge:
        check(judge, [("lamp", "red lamp " + "é" * 500)], judge.grade_pairs([("lamp", "red lamp " + "é" * 500)]))
        assert f") red lamp {'é' * 31} (/" in server.prompts()[-1]
        assert np.isnan(judge.grade_pairs([("lamp", "\u200b "), (" ", "red lamp")])).all()
        assert judge.stats()["missing/blank"] == 2
    with FakeLLMServer(vllm=False) as plain, open_judge(plain, max_product_tokens=40) as judge:
        judge.grade_pairs([("lamp", "red lamp " + "é" * 500)])
        assert f") red lamp {'é' * 15} (/" in plain.prompts()[-1]  # 40 bytes cannot be more than 40 tokens
        assert "40bytes" in judge.fingerprint


def test_fingerprint_changes_with_all_that_changes_verdicts(server):
    options = [{}, {"prompt": "json_v2"}, {"passes": ("swapped",)}, {"method": "choice"}, {"max_product_tokens": 9}]
    prints = [open_judge(server, **option).fingerprint for option in options]
    assert len(set(prints)) == len(options)
    assert open_judge(server, concurrency=3, price=(1, 2)).fingerprint == prints[0]
    with FakeLLMServer(model="other-7b") as other:
        assert open_judge(other).fingerprint != prints[0]


def test_settings_come_from_the_environment(server, monkeypatch):
    server.key = "secret"
    for name, value in {"URL": f"{server.url}/v1", "KEY": "secret", "MODEL": "play-1b"}.items():
        monkeypatch.setenv(f"QR_JUDGE_{name}", value)
    with LLMJudge(price=(1.0, 2.0)) as judge:
        assert not np.isnan(judge.grade_pairs(PAIRS[:5])).any()
        stats = judge.stats()
    assert stats["tokens/completion"] == 5 and stats["tokens/prompt"] > 1000 and stats["tokens/cached"] == 80
    assert stats["cost"] == pytest.approx((stats["tokens/prompt"] + 2 * 5) / 1e6)
    assert stats["seconds"] > 0
    monkeypatch.delenv("QR_JUDGE_KEY")
    with LLMJudge() as judge, pytest.raises(JudgeError, match="QR_JUDGE_KEY"):
        judge.grade_pairs(PAIRS[:5])
    monkeypatch.delenv("QR_JUDGE_URL")
    with pytest.raises(ConfigError, match="QR_JUDGE_URL"):
        LLMJudge()


def test_product_texts_of_a_shop_and_no_request_without_pairs(server):
    with open_judge(server) as judge:
        texts = judge.product_texts(tiny_shop())
        assert texts[0] == (
            "Lindholm sofa red 3 seater fabric; category: furniture; description: A red sofa by Lindholm."
        )
        assert judge.grade_pairs([]).shape == (0, 4)
        assert not server.seen


@pytest.mark.parametrize(
    "options",
    [{"method": "oracle"}, {"passes": ()}, {"passes": ("sideways",)}, {"min_mass": 2}, {"batch": 0}, {"prompt": "no"}],
)
def test_impossible_settings(options):
    with pytest.raises(ConfigError, match=r"choose|must be|there are"):
        LLMJudge("http://127.0.0.1:9", **options)
