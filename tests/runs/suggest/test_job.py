"""`qr suggest`: a small shop with a log, from the files to a settings file that the rewriter reads."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from agents.suggestions.settings import SuggestSettings
from qr_env.common.errors import ConfigError
from qr_env.shop.sources.files import write_shop
from runs.suggest import job
from runs.suggest.args import Args
from tests.helpers.fakes import HashEncoder, tiny_shop


@pytest.fixture
def args(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Args:
    monkeypatch.setattr(job, "open_encoder", lambda name, folder: HashEncoder())
    write_shop(tiny_shop(), tmp_path / "shop")
    return Args(str(tmp_path / "shop"), out=tmp_path / "out/suggest.json", judge="labels", cache=str(tmp_path / "c"))


def test_the_file_holds_settings_every_trial_and_the_agreement(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    job.main(args)
    written = json.loads(args.out.read_text())
    assert SuggestSettings.read(args.out) == SuggestSettings(**written["settings"])
    assert len(written["trials"]) == 73 and written["queries"] == 9
    assert written["trials"][0]["settings"] == asdict(SuggestSettings())
    assert set(written["agreement"]) == {"nDCG@10", "R@100", "RR@10"} and written["labelled queries"] == 3
    printed = capsys.readouterr()
    assert "default: 5 words, ratio 4, full matches < 3" in printed.out and "repair alone" in printed.out
    assert "Spearman" in printed.out and "Chosen:" in printed.out
    assert "only 9 queries" in printed.err


def test_a_shop_without_a_log_is_refused(args: Args, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/products.csv").write_text("product_id,title\np0,red sofa\n")
    (tmp_path / "bare/queries.csv").write_text("query,split\nsofa,test\n")
    args.source = str(tmp_path / "bare")
    with pytest.raises(ConfigError, match="--split train dev"):
        job.main(args)
    args.source, args.limit = str(tmp_path / "shop"), 0
    with pytest.raises(ConfigError, match="limit=0"):
        job.main(args)
