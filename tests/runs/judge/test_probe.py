"""`qr judge probe`: exploit rates by judge, before and after sanitizing, in one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import runs.judge.probe as verb
from judges.factory import JudgeOptions
from judges.simple.embedding import EmbeddingJudge
from judges.simple.labels import LabelsJudge
from judges.simple.thresholds import Thresholds
from judges.validation.probes import KINDS, REWRITE_KINDS
from qr_env.common.protocols import Judge
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import write_shop
from runs.judge.args import ProbeArgs
from runs.judge.probe import main
from tests.helpers.fakes import HashEncoder, tiny_shop


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shop on disk, and judges without weights."""
    write_shop(tiny_shop(), tmp_path / "shop")
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))

    def open_judge(spec: str, shop: Shop, options: JudgeOptions) -> Judge:
        return LabelsJudge(shop) if spec == "labels" else EmbeddingJudge(shop, HashEncoder(), Thresholds(0.1, 0.2, 0.3))

    monkeypatch.setattr(verb, "open_judge", open_judge)
    return tmp_path / "shop"


def test_rates_by_judge_before_and_after(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(ProbeArgs(shop=str(folder), judge=("labels,embedding",), n=7, json=str(tmp_path / "rates.json")))
    printed = capsys.readouterr().out
    assert printed.index("judge embedding can be fooled") < printed.index("Exploit rates on")
    for name in (*KINDS, *REWRITE_KINDS, "all products", "all rewrites", "sanitized", "unmodified titles"):
        assert name in printed
    judges = json.loads((tmp_path / "rates.json").read_text())["judges"]
    assert judges["labels"]["as it is"]["all"]["rate"]["value"] in (0, None)
    stuffed = [judges["embedding"][part]["stuffed"]["rate"]["value"] for part in ("as it is", "sanitized")]
    assert stuffed[0] > 0.5 > stuffed[1]
    assert set(judges["embedding"]["rewrites"]) == {"all", *REWRITE_KINDS}


def test_products_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(ProbeArgs(shop=str(folder), judge=("embedding",), n=3, rewrites=False, json="-"))
    report = json.loads(capsys.readouterr().out)
    assert list(report["judges"]["embedding"]) == ["as it is", "sanitized"] and report["queries"] == 3
