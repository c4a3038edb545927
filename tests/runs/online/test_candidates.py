"""`suggest` in a run: whose titles it reads, by what is on disk; the columns of the table."""

import numpy as np
import pytest

from agents.factory import AgentOptions, make_agent
from agents.suggestions.settings import SuggestSettings
from judges.factory import open_judge
from qr_env.common.errors import ConfigError
from qr_env.models.hub import model_folder
from qr_env.retrieval.bm25 import BM25
from qr_env.retrieval.encoder import product_vectors, vectors_file
from qr_env.reward.reward import Reward
from runs.online import candidates
from runs.online.args import Args, EvaluationSettings
from runs.online.candidates import suggest_plan, suggest_settings, untrained_agents, untrained_spec
from runs.online.setup import TrainingSetup
from tests.helpers.fakes import HashEncoder, tiny_shop

SHOP = tiny_shop()


class CachingEncoder(HashEncoder):
    """An encoder with a cache folder."""

    def __init__(self, cache_dir):
        super().__init__()
        self.cache_dir = cache_dir


@pytest.fixture
def setup():
    return TrainingSetup(SHOP, BM25.build(SHOP), open_judge("labels", SHOP), Reward())


@pytest.fixture
def with_model(tmp_path, monkeypatch):
    """As if the encoder were on disk; returns it."""
    monkeypatch.setenv("QR_CACHE", str(tmp_path))
    model_folder(candidates.DEFAULT_ENCODER).mkdir(parents=True)
    encoder = CachingEncoder(tmp_path)
    monkeypatch.setattr(candidates, "default_encoder", lambda: encoder)
    return encoder


def test_without_an_encoder_the_engines_own_titles_are_taken_and_it_is_said(setup, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QR_CACHE", str(tmp_path))
    plan = suggest_plan(Args(), setup)
    assert plan.settings == SuggestSettings(engine="own") and "bm25's own titles" in plan.made_with
    assert "qr evaluate --shop generated --agent suggest" in capsys.readouterr().err
    agents = untrained_agents(Args(), setup, plan)
    assert [agent.name for agent in agents] == ["identity", "spell", "rm3", "repair", "suggest"]
    assert all(len(agent.rewrite(["blue couch", "runing shoos"])) == 2 for agent in agents)


def test_few_products_are_embedded_at_once(setup, with_model):
    plan = suggest_plan(Args(), setup)
    assert plan.settings.engine == "second" and "dense" in plan.made_with
    untrained_agents(Args(), setup, plan)
    assert with_model.texts_encoded >= len(SHOP.products)


def test_many_products_need_their_vectors_on_disk(setup, with_model, monkeypatch):
    monkeypatch.setattr(candidates, "EMBEDDED_AT_ONCE", 10)
    assert suggest_plan(Args(), setup).settings.engine == "own"
    vectors_CD = product_vectors(SHOP, with_model)
    np.testing.assert_array_equal(np.load(vectors_file(SHOP, with_model, with_model.cache_dir)), vectors_CD)
    assert suggest_plan(Args(), setup).settings.engine == "second"


@pytest.mark.parametrize(("engine", "words"), [("dense", "bm25's titles"), ("hybrid", "hybrid's own titles")])
def test_other_engines_need_no_further_vectors(setup, engine, words):
    setup.retriever.name = engine
    plan = suggest_plan(Args(), setup)
    assert plan.settings.engine == "second" and plan.made_with == f"words of {words}"


def test_settings_of_a_file_are_taken(setup, with_model, tmp_path):
    settings = SuggestSettings(words=10, ratio=6.0)
    settings.write(tmp_path / "mine.json")
    args = Args(evaluation=EvaluationSettings(suggest=tmp_path / "mine.json"))
    assert suggest_plan(args, setup).settings == settings
    with pytest.raises(ConfigError, match=r"missing\.json: No such file"):
        suggest_settings(Args(evaluation=EvaluationSettings(suggest=tmp_path / "missing.json")))


def test_what_is_served_is_what_was_measured(setup, tmp_path, monkeypatch):
    """The agent of serve.json's name rewrites as the one of the table."""
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "empty"))
    plan = suggest_plan(Args(), setup)
    plan.settings.write(tmp_path / candidates.SUGGEST_FILE)
    name, _, file = untrained_spec("suggest").partition(":")
    served = make_agent(f"{name}:{tmp_path / file}", AgentOptions(SHOP, setup.retriever))
    texts = SHOP.queries["query"].to_pylist()
    assert served.rewrite(texts) == untrained_agents(Args(), setup, plan)[-1].rewrite(texts)
    assert untrained_spec("spell") == "spell"
