"""The file of `qr bench read`: each of its invalid rows is reported, and no other."""

import json
from collections import Counter
from pathlib import Path

import pytest

from qr_env.common.errors import ConfigError
from qr_env.shop.load import load_shop
from qr_env.shop.readers.options import ReadOptions
from runs.bench.args import ReadBenchArgs
from runs.bench.read import DIRTY, main, write_products


def test_every_invalid_row_is_reported_by_its_line(tmp_path):
    path = tmp_path / "products.csv"
    dirty = write_products(path, rows=3_000, share=0.1, seed=0)
    report = load_shop(str(path), options=ReadOptions(on_bad_row="skip")).report
    assert [bad.line for bad in report.bad_rows] == dirty
    assert report.rows[str(path)] == 3_000
    reasons = Counter(bad.reason.split(" (")[0] for bad in report.bad_rows)
    assert len(DIRTY) == 12
    assert set(reasons) == {
        *("missing product_id", "empty title", "duplicate product_id", "NUL byte in title", "NUL byte in product_id"),
        *("title is too long", "product_id is too long", "ragged row", "broken quotes", "not UTF-8"),
    }


def test_the_figures_count_what_was_reported(tmp_path):
    main(ReadBenchArgs(rows=500, dirty=0.05, rounds=1, folder=tmp_path, json=str(tmp_path / "read.json")))
    report = json.loads((tmp_path / "read.json").read_text())
    assert report["readers"]["ours"]["invalid rows not reported"] == 0
    assert report["readers"]["ours"]["valid rows reported"] == 0
    assert report["sizes"]["rows"] == 500
    assert report["ratios"] == {}


def test_a_folder_that_is_no_old_checkout_is_refused():
    with pytest.raises(ConfigError, match=r"--against \S+: no checkout of 8ff7f88"):
        main(ReadBenchArgs(against=Path(__file__).parent))
