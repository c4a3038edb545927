"""`qr online` with a student that sees suggestions: warm start, resume, optimizers, later turns, loading by folder."""

import json
import shutil

import pytest

from agents.factory import AgentOptions, make_agent
from agents.policy.checkpoint import load_checkpoint
from qr_env.common.errors import ConfigError
from qr_env.retrieval.bm25 import BM25
from runs.online.args import Args, EvaluationSettings, SuggestionSettings, WarmStartSettings
from runs.online.job import main
from runs.online.setup import suggested_titles
from tests.helpers.fakes import tiny_shop
from tests.helpers.models import same_weights

pytestmark = pytest.mark.usefixtures("own_cache")


def args(shop_folder, out, **settings):
    fixed = {
        "judge": "labels", "updates": 3, "prompts": 4, "group_size": 4,
        "warm_start": WarmStartSettings(pretrain=256, queries=50), "evaluation": EvaluationSettings(every=2),
        "suggestions": SuggestionSettings(titles="own", most=4),
    }  # fmt: skip
    return Args(shop=str(shop_folder), out=out, **(fixed | settings))


@pytest.fixture(scope="module")
def finished(shop_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QR_CACHE", str(tmp_path_factory.mktemp("cache")))
        main(args(shop_folder, out))
    return out


def test_the_checkpoint_names_its_suggestions_and_opens_as_an_agent(finished):
    folder = finished / "checkpoints" / "best"
    saved = json.loads((folder / "student.json").read_text())
    assert saved["suggester"]["suggest"]["engine"] == "own" and saved["suggester"]["most"] == 4
    shop = tiny_shop()
    agent = make_agent(str(folder), AgentOptions(shop, BM25.build(shop)))
    assert agent.prompts(["couch blue"])[0].startswith("Query: couch blue\nMatches: ")
    assert len(agent.rewrite(["couch blue"], n=3)[0]) == 3
    alone, _ = load_checkpoint(finished / "checkpoints")
    with pytest.raises(ConfigError, match="without a suggester"):
        alone.rewrite(["couch"])


def test_logged_rewrites_are_words_and_not_numbers(finished):
    samples = [json.loads(line) for line in (finished / "samples.jsonl").read_text().splitlines()]
    prompts = [json.loads(line) for line in (finished / "warm_pairs.jsonl").read_text().splitlines()]
    assert samples and prompts
    assert not any(word in {"1", "2", "3", "4"} for row in samples for word in row["rewrite"].split() if word)


def test_a_resumed_run_equals_an_uninterrupted_one(finished, shop_folder, tmp_path):
    out = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(out / "checkpoints" / "update-000003")
    (out / "eval.json").unlink()
    main(args(shop_folder, out, resume=True))
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert (out / name).read_bytes() == (finished / name).read_bytes()
    straight, resumed = (load_checkpoint(folder / "checkpoints")[0] for folder in (finished, out))
    assert same_weights(straight.model, resumed.model)


@pytest.mark.parametrize(
    "settings",
    [{"optimizer": "dpo"}, {"optimizer": "ppo", "max_turns": 2}, {"promotion": "on"}, {"combine": "replace"},
     {"drift": "churn"}],
)  # fmt: skip
def test_every_way_of_learning_sees_suggestions(shop_folder, tmp_path, settings):
    main(args(shop_folder, tmp_path / "run", updates=2, **settings))
    assert (tmp_path / "run" / "report.html").is_file()


def test_auto_is_none_with_purchases_and_needs_no_embeddings_of_its_own(shop_folder, tmp_path):
    shop = tiny_shop()
    auto = SuggestionSettings()
    assert suggested_titles(args(shop_folder, tmp_path, suggestions=auto), shop) == "none"
    bare = shop.__class__(shop.name, shop.products, shop.queries, shop.qrels, shop.purchases.slice(0, 0))
    for judge, retriever, expected in (
        ("labels", "bm25", "own"),
        ("labels", "dense", "second"),
        ("embedding", "bm25", "second"),
    ):
        settings = args(shop_folder, tmp_path, suggestions=auto, judge=judge, retriever=retriever)
        assert suggested_titles(settings, bare) == expected
