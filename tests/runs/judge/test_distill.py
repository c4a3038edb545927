"""`qr judge distill` from a folder of files to a trained judge: every teacher, a resumed run, the curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from judges.cross_encoder.judge import CrossEncoderJudge
from judges.validation.samples import Sample
from qr_env.common.errors import ConfigError, RunFolderError
from qr_env.common.types import GAINS
from qr_env.shop.sources.files import write_shop
from runs.judge.distill import stages
from runs.judge.distill.args import DistillArgs
from runs.judge.distill.figures import figures
from runs.judge.distill.job import main
from runs.judge.distill.report import curves_svg
from tests.helpers.cross_models import small_bert
from tests.helpers.fakes import HashEncoder, tiny_shop


@pytest.fixture(autouse=True)
def _hash_encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Similarity without weights; indexes of this test's own."""
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stages.DistillRun, "encoder", HashEncoder())


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    write_shop(tiny_shop(), tmp_path / "shop")
    bert = str(small_bert(tmp_path / "bert"))
    return {
        "shop": str(tmp_path / "shop"),
        "out": tmp_path / "run",
        "teacher_base": bert,
        "student": bert,
        "teacher_queries": 7,
        "retrievers": ("bm25",),
        "sizes": (3, 6),
        "seeds": (0, 1),
        "held_out": 5,
        "lr": 1e-3,
        "length": 24,
    }


def report(out: Path) -> dict[str, Any]:
    return json.loads((out / "curve.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_every_stage_with_a_trained_teacher(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    main(DistillArgs(**settings, report_shop=settings["shop"], json="-"))
    out = settings["out"]
    printed = json.loads(capsys.readouterr().out)
    assert printed == report(out)
    assert [(point["size"], point["seed"], point["lists"]) for point in printed["points"]] == [
        (3, 0, 3),
        (3, 1, 3),
        (6, 0, 6),
        (6, 1, 6),
    ]
    assert [row["size"] for row in printed["curve"]] == [3, 6]
    pair = [point["figures"]["auc"] for point in printed["points"][:2]]
    assert printed["curve"][0]["mean"]["auc"] == pytest.approx(np.mean(pair))
    assert printed["curve"][0]["std"]["auc"] == pytest.approx(np.std(pair, ddof=1))
    assert set(printed["lines"]) == {"teacher", "embedding"}
    assert set(printed["transfer"]["figures"]) == {"student", "teacher", "embedding"}
    student, teacher = CrossEncoderJudge(out / "student"), CrossEncoderJudge(out / "teacher")
    assert "description" in teacher.calibration.fields and "description" not in student.calibration.fields
    assert student.calibrated and "labels of" in student.calibration.source
    assert student.calibration.provenance["lists"] == 6
    assert np.isfinite(student.grade_pairs([("red sofa", "Lindholm sofa red")])).all()
    assert sorted(path.name for path in (out / "points").iterdir()) == ["3-0.json", "3-1.json", "6-0.json", "6-1.json"]
    ElementTree.parse(out / "curve.svg")


def test_a_resumed_run_ends_the_same(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    settings["sizes"] = (3,)
    main(DistillArgs(**settings))
    complete = report(settings["out"])
    settings["out"] = settings["out"].with_name("again")
    trained: list[int] = []
    train_judge = stages.train_judge

    def stopping(*arguments: Any) -> None:
        trained.append(1)
        if len(trained) == 3:
            raise KeyboardInterrupt
        train_judge(*arguments)

    monkeypatch.setattr(stages, "train_judge", stopping)
    with pytest.raises(KeyboardInterrupt):
        main(DistillArgs(**settings))
    with pytest.raises(RunFolderError, match="`resume`"):
        main(DistillArgs(**settings))
    main(DistillArgs(**settings, resume=True))
    assert len(trained) == 4, "the interrupted student is trained again, and nothing else"
    for name in ("lines", "curve"):
        assert report(settings["out"])[name] == complete[name]
    with pytest.raises(RunFolderError, match=r"another sizes \(.*\(3,\)"):
        main(DistillArgs(**settings | {"sizes": (2,)}, resume=True))


@pytest.mark.parametrize("teacher", ["self", "labels"])
def test_other_teachers(settings: dict[str, Any], teacher: str) -> None:
    one = {"sizes": (4,), "seeds": (0,), "teacher": teacher}
    main(DistillArgs(**settings | one))
    assert set(report(settings["out"])["lines"]) == ({"embedding"} if teacher == "self" else {"embedding", "teacher"})
    source = CrossEncoderJudge(settings["out"] / "student").calibration.source
    assert source == "verdicts of self" if teacher == "self" else "labels of" in source
    if teacher == "labels":
        assert report(settings["out"])["lines"]["teacher"]["auc"] == pytest.approx(1.0), "the truth agrees with itself"


def test_figures_equal_those_of_scipy_and_sklearn() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(-1, 4, (40, 6)).astype(np.int8)
    probs = rng.dirichlet(np.ones(4), (40, 6)).astype(np.float32)
    probs[rng.random((40, 6)) < 0.1] = np.nan
    sample = Sample([], np.zeros((40, 6), np.int32), levels)
    found = figures(probs, sample)
    known = (levels >= 0) & ~np.isnan(probs[..., 0])
    score, level = (probs @ GAINS)[known], levels[known]
    assert found["spearman"] == pytest.approx(spearmanr(score, level).statistic)
    assert found["auc"] == pytest.approx(roc_auc_score(level >= 2, score))
    verdict = probs[known].argmax(axis=1)
    assert found["kappa"] == pytest.approx(cohen_kappa_score(level, verdict))
    assert found["kappa quadratic"] == pytest.approx(cohen_kappa_score(level, verdict, weights="quadratic"))
    shares = []
    for line in range(40):
        here = known[line]
        gains = GAINS[levels[line][here]].astype(np.float64)
        if len(set(gains)) > 1:
            discount = 1 / np.log2(np.arange(2, len(gains) + 2))
            mine = gains[np.argsort(-(probs[line][here] @ GAINS), kind="stable")]
            shares.append((mine * discount).sum() / (np.sort(gains)[::-1] * discount).sum())
    assert found["ndcg"] == pytest.approx(np.mean(shares), rel=1e-6)
    assert np.isnan(list(figures(np.full_like(probs, np.nan), sample).values())).all()


def test_the_curves_draw_every_point() -> None:
    values = {"ndcg": 0.5, "spearman": 0.4, "auc": 0.7, "kappa": 0.2, "kappa quadratic": 0.3}
    points = [{"size": size, "seed": seed, "figures": values} for size in (10, 20, 40) for seed in (0, 1)]
    curve = [{"size": size, "mean": values, "std": values} for size in (10, 20, 40)]
    drawn = curves_svg({"lines": {"teacher": values, "embedding": values}, "points": points, "curve": curve})
    tree = ElementTree.fromstring(drawn)
    circles = [node for node in tree.iter() if node.tag.endswith("circle")]
    assert len(circles) == 4 * (3 + 6)
    assert drawn.count("teacher 0.500 (dashed)") == 1 and drawn.count('class="level"') == 8


def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--sizes"):
        main(DistillArgs(**settings | {"sizes": ()}))
