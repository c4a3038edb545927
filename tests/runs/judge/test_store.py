"""`qr judge store`: its actions on a real store, its output and JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from judges.verdict_store.store import VerdictStore
from judges.verdict_store.stored import ShopJudge
from runs.common.cli import main
from tests.helpers.fakes import tiny_shop
from tests.judges.verdict_store.test_stored import WordsJudge

SHOP = tiny_shop()


def filled_store(path: Path, fingerprint: str, rows: range) -> Path:
    with VerdictStore(path) as store:
        judge = ShopJudge(SHOP, WordsJudge(fingerprint=fingerprint), store)
        for _ in range(2):
            judge.grade(SHOP.all_queries[:2], np.tile(np.array(rows, np.int32), (2, 1)))
    return path


def report(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    main(["judge", "store", *flags, "--json", "-"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_stats_are_what_is_shown_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled_store(tmp_path, "words@1", range(10))
    found = report(capsys, "--store", str(tmp_path))
    assert found["verdicts"] == 20 and found["texts"] == 12 and found["errors"] == [] and found["bytes"] > 4_096
    (judge,) = found["judges"]
    assert judge["fingerprint"] == "words@1" and (judge["asked"], judge["hits"]) == (40, 20)
    assert judge["shops"] == [SHOP.products_hash]
    main(["judge", "store", "--stats", "--store", str(tmp_path)])
    out = capsys.readouterr().out
    for text in ("20 verdicts, 12 texts", "no errors", "words@1", "50.0 %"):
        assert text in out
    assert [file.name for file in tmp_path.iterdir()] == ["verdicts.sqlite"], "reading a store creates no files"


def test_the_default_store_is_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QR_CACHE", str(tmp_path))
    with pytest.raises(SystemExit):
        main(["judge", "store"])
    assert f"StoreError: {tmp_path}/verdicts/verdicts.sqlite: there is no verdict store" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    filled_store(tmp_path / "verdicts", "words@1", range(3))
    assert report(capsys)["verdicts"] == 6


def test_merge_prune_export_in_one_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (
        filled_store(tmp_path / "a", "words@1", range(10)),
        filled_store(tmp_path / "b", "words@1", range(5, 20)),
    )
    filled_store(second, "old@1", range(4))
    flags = ["--store", str(tmp_path / "new"), "--merge", str(first), str(second / "verdicts.sqlite")]
    out = tmp_path / "all.parquet"
    main(
        ["judge", "store", *flags, "--prune", "--fingerprint", "old@1", "--export", str(out), "--stats", "--json", "-"]
    )
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert "merge verdicts.sqlite: 100%" in printed.err and "20.0/20.0" in printed.err and "38.0/38.0" in printed.err
    assert list(found["merged"].values()) == [
        {"added": 20, "same": 0, "conflicts": 0},
        {"added": 28, "same": 10, "conflicts": 0},
    ]
    assert found["pruned"] == 8 and found["verdicts"] == 40
    assert [row["fingerprint"] for row in found["judges"]] == ["words@1"]
    assert pq.read_table(out).num_rows == 0, "only old@1's were asked for, and they are gone"
    main(["judge", "store", "--store", str(tmp_path / "new"), "--export", str(out)])
    printed = capsys.readouterr()
    assert "40 verdicts exported" in printed.out and "export: 100%" in printed.err and "40.0/40.0" in printed.err
    main(["judge", "store", "--store", str(second), "--prune", "--older-than", "1", "--dry-run"])
    assert "0 verdicts would be pruned" in capsys.readouterr().out, "all made today"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--prune"], "ConfigError.*--unused"),
        (["--prune", "--fingerprint", "llm"], "ConfigError.*no judge 'llm'.*words@1"),
        (["--export", "x.csv"], "ConfigError.*x.csv"),
        (["--merge", "nowhere.sqlite"], "StoreError: nowhere.sqlite: there is no verdict store"),
    ],
)
def test_errors_end_with_one_line(
    tmp_path: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled_store(tmp_path, "words@1", range(3))
    with pytest.raises(SystemExit):
        main(["judge", "store", "--store", str(tmp_path), *flags])
    error = capsys.readouterr().err.strip()
    assert re.search(message, error) and len(error.splitlines()) == 1
