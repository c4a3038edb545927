"""`qr pairs` prints what every filter dropped, the sizes of the tasks and samples, and writes them as JSON."""

import json

from runs.common.cli import main
from runs.pairs import job
from tests.helpers.fakes import tiny_shop


def test_the_verb_prints_counts_sizes_and_samples(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    out, report_file = str(tmp_path / "pairs.parquet"), str(tmp_path / "pairs.json")
    monkeypatch.setattr(job, "load_shop", lambda *_, **__: tiny_shop())
    main(["pairs", "tiny", "--out", out, "--sources", "log", "--tasks", "rewrite", "title"])
    printed = capsys.readouterr().out
    for text in ("candidates", "queries that keep the original", "rewrite", "title", "Samples"):
        assert text in printed
    main(["pairs", "tiny", "--out", out, "--sources", "log", "--samples", "3", "--json", report_file])
    report = json.loads((tmp_path / "pairs.json").read_text())
    assert report["verb"] == "pairs" and len(report["samples"]) == 3
    assert report["counts"]["log"]["kept"] > 0
