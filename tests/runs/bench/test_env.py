"""`qr bench env` on a tiny shop: every figure is reported and finite. Speed itself is not tested."""

from __future__ import annotations

import json
import math

import pytest

from runs.bench.env import RecordingRetriever, Size, bench
from tests.helpers.fakes import HashEncoder, WordRetriever, tiny_shop

SIZES = {"bm25": Size(8, 2, 2, 4), "hybrid": Size(8, 2, 2, 4)}


@pytest.mark.parametrize("kind", ["bm25", "hybrid"])
def test_ratios_are_reported(kind: str) -> None:
    report = bench(tiny_shop(), (kind,), HashEncoder(), rounds=1, sizes=SIZES)
    expected = {f"{kind}: vector / engine", f"{kind}: loop / vector"}
    assert set(report["ratios"]) == expected | ({"hybrid: embedding / engine"} if kind == "hybrid" else set())
    assert all(math.isfinite(ratio) and ratio > 0 for ratio in report["ratios"].values())
    assert set(report["episodes_per_second"][kind]) == {"vector", "engine", "loop"}
    assert report["sizes"][kind]["num_envs"] == 8
    json.dumps(report)


def test_the_recording_retriever_records_batches_and_changes_nothing() -> None:
    recorder = RecordingRetriever(WordRetriever(tiny_shop()))
    hits = recorder.search(["sofa", "couch"], 3)
    assert recorder.batches == [["sofa", "couch"]] and hits.rows_NK.tolist() == [[0, 1, 2], [-1, -1, -1]]
