"""`qr judge calibrate`: the table, the page and the JSON of judges on a folder's own labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import runs.judge.calibrate as verb
from judges.factory import JudgeOptions
from judges.simple.embedding import EmbeddingJudge
from judges.simple.labels import LabelsJudge
from qr_env.common.errors import JudgeError
from qr_env.common.protocols import Judge
from qr_env.shop.shop import Shop
from qr_env.shop.sources.files import write_shop
from runs.judge.args import CalibrateArgs
from runs.judge.calibrate import judge_specs, main
from runs.judge.page import ROWS
from tests.helpers.fakes import FailingJudge, HashEncoder, tiny_shop


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shop on disk, and judges without weights."""
    write_shop(tiny_shop(), tmp_path / "shop")
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))

    def open_judge(spec: str, shop: Shop, options: JudgeOptions) -> Judge:
        judges = {"labels": LabelsJudge(shop), "embedding": EmbeddingJudge(shop, HashEncoder())}
        return judges.get(spec, FailingJudge())

    monkeypatch.setattr(verb, "open_judge", open_judge)
    monkeypatch.setattr(verb, "check_judges", lambda *_: None)  # it knows the real judges only
    return tmp_path / "shop"


def test_judges_side_by_side(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = CalibrateArgs(shop=str(folder), judge=("labels,embedding", "<down>"), split="train", min_kappa=0.9)
    args.page, args.json, args.sanitize = tmp_path / "page" / "judges.html", str(tmp_path / "judges.json"), True
    with pytest.raises(JudgeError, match="for_shop\\(shop\\)"):
        main(args)  # a judge that cannot be asked about another shop's texts
    args.sanitize = False
    main(args)
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "judges.json").read_text())
    assert list(report["judges"]) == ["labels", "embedding", "<down>"] and report["split"] == "train"
    kappas = [one["figures"]["kappa"]["value"] for one in report["judges"].values()]
    assert kappas[0] == 1 and 0 < kappas[1] < 0.9 and kappas[2] is None
    for name in ROWS:
        assert name in printed
    assert printed.count("refused") == 2 and printed.count("passes") == 1 and "judges.html" in printed
    page = args.page.read_text(encoding="utf-8")
    assert "&lt;down&gt;" in page and "<down>" not in page and page.count("<svg") >= 2 * 3
    assert "http://" not in page and "https://" not in page, "nothing is loaded from anywhere"


def test_sanitized_texts_are_reported_too(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        CalibrateArgs(shop=str(folder), judge=("labels,embedding",), sanitize=True, json="-", page=tmp_path / "p.html")
    )
    report = json.loads(capsys.readouterr().out)
    assert list(report["judges"]) == ["labels", "embedding", "embedding, sanitized"] and report["split"] == "dev"
    plain, clean = (report["judges"][name]["figures"] for name in ("embedding", "embedding, sanitized"))
    assert plain == clean, "sanitizing changes none of this shop's titles"


def test_a_shop_without_labels_is_refused(folder: Path, tmp_path: Path) -> None:
    shop = tiny_shop()
    write_shop(replace(shop, qrels=shop.qrels * 0, qrels_complete=False), tmp_path / "blind")
    with pytest.raises(JudgeError, match="no labels for"):
        main(CalibrateArgs(shop=str(tmp_path / "blind"), judge=("labels",)))


def test_names_with_commas() -> None:
    assert judge_specs(["labels, llm", "ensemble:labels,llm", "labels"]) == ["labels", "llm", "ensemble:labels,llm"]
