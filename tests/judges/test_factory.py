"""Judges and shoppers by name."""

from dataclasses import replace

import numpy as np
import pytest

from judges.factory import JudgeOptions, judge_names, needs_encoder, open_judge, open_shopper
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
    assert open_judge("auto", replace(SHOP, qrels_complete=False), options).name == "blend"
    assert isinstance(open_judge("embedding", SHOP, options), EmbeddingJudge)
    assert open_judge(f"cross-encoder:{bert}", SHOP).name == "cross-encoder"
    assert open_judge("ensemble:labels,embedding", SHOP, options).name == "ensemble:labels,embedding"
    query = SHOP.all_queries[:1]
    clean = open_judge("embedding", SHOP, replace(options, sanitize=True))
    assert clean.grade(query, ROWS).probs_NK4.shape == (1, 3, 4)


def test_a_blend_takes_weights_and_further_judges(tmp_path):
    bert = small_bert(tmp_path / "bert")
    options = JudgeOptions(encoder=HashEncoder())
    plain, weighted = (open_judge(spec, SHOP, options) for spec in ("blend:1,1", "blend:1,3"))
    assert [member.weight for member in plain.members] == [1, 1]
    assert [member.weight for member in weighted.members] == [1, 3]
    joined = open_judge(f"blend:1,3,cross-encoder:{bert}=2", SHOP, options)
    assert [(one.judge.name, one.weight) for one in joined.members][2] == ("cross-encoder", 2)
    grades = joined.grade(SHOP.all_queries[:1], ROWS)
    assert not np.isnan(grades.gain_NK).any()
    assert (grades.gain_NK != weighted.grade(SHOP.all_queries[:1], ROWS).gain_NK).any()
    least = open_judge("pessimistic:blend,coverage", SHOP, options)
    assert least.name == "pessimistic:blend,coverage"
    for spec in ("blend:1", "blend:1,0", "blend:1,2,3", "blend:labels,1,2", "blend:coverage", "pessimistic:labels"):
        with pytest.raises(ConfigError, match=r"weight|two judges"):
            open_judge(spec, SHOP, options)


def test_the_judges_behind_a_name():
    assert judge_names("blend:1,3,cross-encoder:a/b=2") == ["embedding", "coverage", "cross-encoder:a/b"]
    assert judge_names("pessimistic:blend,llm") == ["embedding", "coverage", "llm"]
    assert judge_names("coverage") == ["coverage"]
    assert needs_encoder("ensemble:llm,blend") and not needs_encoder("pessimistic:coverage,llm")


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
