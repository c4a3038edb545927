"""Exported ONNX models against PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from judges.cross_encoder.export import export
from judges.cross_encoder.judge import Calibration, CrossEncoderJudge
from judges.cross_encoder.training import load_classifier
from tests.helpers.cross_models import PAIRS, small_bert
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()


def test_onnx_scores_equal_torch_scores(exported: Path) -> None:
    torch_judge, onnx_judge = (CrossEncoderJudge(exported, backend, threads=1) for backend in ("torch", "onnx"))
    wanted, found = torch_judge.score_pairs(PAIRS), onnx_judge.score_pairs(PAIRS)
    assert np.isfinite(wanted).all() and wanted.std() > 0
    assert np.corrcoef(wanted, found)[0, 1] > 0.99, "int8 keeps the order"
    assert np.abs(wanted - found).max() < 0.2 * wanted.std() + 0.05
    assert CrossEncoderJudge(exported).backend == "onnx", "the faster backend is chosen where it is available"
    assert torch_judge.fingerprint != onnx_judge.fingerprint, "their scores differ a little: no shared verdicts"
    provenance = json.loads((exported / "calibration.json").read_text())["provenance"]
    assert provenance["onnx"].startswith("int8")


def test_float32_onnx_equals_torch(tmp_path: Path) -> None:
    model, tokenizer = load_classifier(small_bert(tmp_path / "bert"))
    folder = export(model, tokenizer, tmp_path / "wide", Calibration(), int8=False)
    wanted, found = (CrossEncoderJudge(folder, backend, threads=1).score_pairs(PAIRS) for backend in ("torch", "onnx"))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
