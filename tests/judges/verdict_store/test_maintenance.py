"""Maintenance of verdict stores: export of texts and exact verdicts, merge, prune by judge, age, use."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from judges.verdict_store import maintenance
from judges.verdict_store.index import DAY, digests
from judges.verdict_store.store import VerdictStore
from qr_env.common.errors import ConfigError, StoreError
from tests.helpers.fake_verdicts import JUDGE, keys, text_pairs, verdicts


def test_export_holds_texts_and_exact_verdicts(tmp_path: Path) -> None:
    pairs = text_pairs(30)
    with VerdictStore(tmp_path) as store:
        store.put(JUDGE, pairs, verdicts(pairs))
        store.put("other", pairs[:2], verdicts(pairs[:2], "other"))
        assert maintenance.export(store, tmp_path / "out" / "all.parquet") == 32
        assert maintenance.export(store, tmp_path / "one.jsonl", JUDGE) == 30
        with pytest.raises(ConfigError, match=r"all\.csv.*parquet"):
            maintenance.export(store, tmp_path / "all.csv")
    names = ["irrelevant", "complement", "substitute", "exact"]
    table = pq.read_table(tmp_path / "out" / "all.parquet")
    assert table["fingerprint"].to_pylist() == [JUDGE] * 30 + ["other"] * 2
    assert list(zip(table["query"].to_pylist(), table["product"].to_pylist(), strict=True)) == pairs + pairs[:2]
    assert np.stack([table[name].to_numpy() for name in names], axis=1)[:30].tobytes() == verdicts(pairs).tobytes()
    lines = [json.loads(line) for line in (tmp_path / "one.jsonl").read_text().splitlines()]
    assert [(line["query"], line["product"]) for line in lines] == pairs
    assert (
        np.array([[line[name] for name in names] for line in lines], np.float32).tobytes() == verdicts(pairs).tobytes()
    )


def test_merge_keeps_the_first_and_counts_conflicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "BATCH", 7)
    pairs = text_pairs(40)
    with VerdictStore(tmp_path / "b") as b:
        b.put("only here", pairs[:5], verdicts(pairs[:5], "only"))
        b.put(JUDGE, pairs[10:], np.concatenate([verdicts(pairs[10:20]), verdicts(pairs[20:], "b")]))
        b.save_shop_digests(JUDGE, "hash", digests(["x", "y"]))
    with VerdictStore(tmp_path / "a") as a:
        a.put(JUDGE, pairs[:30], verdicts(pairs[:30]))
        assert maintenance.merge(a, tmp_path / "b") == {"added": 15, "same": 10, "conflicts": 10}
        assert maintenance.merge(a, tmp_path / "b") == {"added": 0, "same": 25, "conflicts": 10}
        expected = np.concatenate([verdicts(pairs[:30]), verdicts(pairs[30:], "b")])
        assert a.get(JUDGE, keys(pairs)).tobytes() == expected.tobytes()
        assert a.get("only here", keys(pairs[:5])).tobytes() == verdicts(pairs[:5], "only").tobytes()
        assert np.array_equal(a.shop_digests(JUDGE, "hash"), digests(["x", "y"]))
        maintenance.export(a, tmp_path / "a.jsonl")
        assert "null" not in (tmp_path / "a.jsonl").read_text(), "the texts are copied too"
        with pytest.raises(ConfigError, match="the store itself"):
            maintenance.merge(a, tmp_path / "a")
        with pytest.raises(StoreError, match="no verdict store"):
            maintenance.merge(a, tmp_path / "nowhere")
        assert maintenance.integrity_errors(a) == []


def test_prune_by_judge_age_and_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    today = time.time()
    pairs = text_pairs(40)

    def day(shift: float) -> None:
        monkeypatch.setattr(time, "time", lambda: today + shift * DAY)

    day(-100)
    with VerdictStore(tmp_path) as store:
        store.put(JUDGE, pairs[:20], verdicts(pairs[:20]))
        store.put("other", pairs[:20], verdicts(pairs[:20]))
    day(-10)
    with VerdictStore(tmp_path) as store:
        store.get(JUDGE, keys(pairs[:8]))  # used since; closing the store writes the date
        store.put(JUDGE, pairs[20:], verdicts(pairs[20:]))
    day(0)
    with VerdictStore(tmp_path) as store:
        with pytest.raises(ConfigError, match="needs a criterion"):
            maintenance.prune(store)
        with pytest.raises(ConfigError, match="no judge 'fakes'"):
            maintenance.prune(store, "fakes")
        assert maintenance.prune(store, unused_days=30, dry_run=True) == 32
        assert maintenance.prune(store, JUDGE, unused_days=30) == 12
        left = store.get(JUDGE, keys(pairs))
        assert np.flatnonzero(np.isnan(left[:, 0])).tolist() == list(range(8, 20))
        assert maintenance.prune(store, older_days=50) == 28
        assert [row["fingerprint"] for row in store.judges()] == [JUDGE]
        assert not np.isnan(store.get(JUDGE, keys(pairs[20:]))).any()
        assert store.stats()["texts"] == 7 + 20, "texts of no verdict are gone"
        store.put(JUDGE, pairs, verdicts(pairs))
        assert store.get(JUDGE, keys(pairs)).tobytes() == verdicts(pairs).tobytes()
