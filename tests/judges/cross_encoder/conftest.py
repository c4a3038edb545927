"""A small exported cross-encoder for the tests of this folder."""

from pathlib import Path

import pytest

from judges.cross_encoder.export import export
from judges.cross_encoder.judge import Calibration
from judges.cross_encoder.training import load_classifier
from tests.helpers.cross_models import PAIRS, small_bert


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("judge")
    model, tokenizer = load_classifier(small_bert(root / "bert"))
    return export(model, tokenizer, root / "served", Calibration(max_length=24, source="test"), PAIRS)
