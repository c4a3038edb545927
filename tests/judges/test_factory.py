"""Judges and shoppers by name."""

from dataclasses import replace

import numpy as np
import pytest

from judges.factory import JudgeOptions, open_judge, open_shopper
from judges.simple.embedding import EmbeddingJudge
from qr_env.common.errors import ConfigError
from tests.helpers.cross_models import small_bert
from tests.helpers.fakes import HashEncoder, tiny_shop

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("own_cache")]

SHOP = tiny_shop()
ROWS = np.arange(3, dtype=np.int32)[None, :]


def test_judges_by_name(tmp_path):
    bert = small_bert(tmp_path / "bert")
    options = JudgeOptions(encoder=HashEncoder())
    assert open_judge("labels", SHOP).name == open_judge("auto", SHOP).name == "labels"
    assert open_judge("auto", replace(SHOP, qrels_complete=False), options).name == "embedding"
    assert isinstance(open_judge("embedding", SHOP, options), EmbeddingJudge)
    assert open_judge(f"cross-encoder:{bert}", SHOP).name == "cross-encoder"
    assert open_judge("ensemble:labels,embedding", SHOP, options).name == "ensemble:labels,embedding"
    query = SHOP.all_queries[:1]
    clean = open_judge("embedding", SHOP, replace(options, sanitize=True))
    assert clean.grade(query, ROWS).probs_NK4.shape == (1, 3, 4)


def test_a_judge_of_another_package_opens_by_name(monkeypatch):
    class Point:
        name, value = "constant", "another_package:build"

        def load(self):
            return lambda shop, argument, options=None: (shop.name, argument, options.split)

    monkeypatch.setattr("qr_env.common.plugins.entry_points", lambda group, name=None: [Point()])
    assert open_judge("constant:exact", SHOP, JudgeOptions(split="dev")) == (SHOP.name, "exact", "dev")


@pytest.mark.parametrize("name", ["oracle", "labels:x", "llm:x", "ensemble:labels", "replay", "cross-encoder"])
def test_unknown_names_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no out/distill here
    with pytest.raises(ConfigError, match=r"choose one of|needs two judges|name its folder|qr judge distill"):
        open_judge(name, SHOP)


def test_without_a_server_the_error_names_the_command_that_starts_one(monkeypatch):
    monkeypatch.delenv("QR_JUDGE_URL", raising=False)
    for make in (open_judge, open_shopper):
        with pytest.raises(ConfigError, match="qr judge serve"):
            make("llm", SHOP, JudgeOptions())
    with pytest.raises(ConfigError, match="none, model, llm"):
        open_shopper("ghost", SHOP, JudgeOptions())
