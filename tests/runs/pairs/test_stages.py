"""Pairs of every task and source, held out by query, equal for equal seeds; wrong settings are refused."""

from dataclasses import replace

import pyarrow as pa
import pytest

from agents.examples.tasks import TASKS, read_examples, write_examples
from qr_env.common.errors import ConfigError
from runs.pairs.args import PairConfig
from runs.pairs.stages import make_pairs
from tests.helpers.fakes import tiny_shop


def shop_of_words():
    """The tiny shop, with "couch white" in the train split: it shares a word, and no product, with "blue couch"."""
    shop = tiny_shop()
    splits = ["train" if query.id == "q10" else query.split for query in shop.all_queries]
    at = shop.queries.column_names.index("split")
    return replace(shop, queries=shop.queries.set_column(at, "split", pa.array(splits)))


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    rewrites = tmp_path / "rewrites.csv"
    rewrites.write_text("query,rewrite\ncouch,(couch OR sofa)\nsettee,sofa\ntrainers,refrigerator\n")
    return PairConfig(
        sources=("log", "graph", "engine", str(rewrites), "teacher:spell"),
        tasks=TASKS,
        agent=("log", "rm3"),
        held_out=0.4,
    )


def test_every_source_and_task_is_in_the_file(config):
    pairs = make_pairs(config, shop_of_words())
    examples, metrics = pairs.examples, pairs.metrics()
    assert {example.task for example in examples} == set(TASKS)
    rewrites = [example for example in examples if example.task == "rewrite"]
    assert {"log", "graph", "engine:log"} <= {example.source for example in rewrites}
    assert len({(e.task, e.query, e.rewrite, e.response, e.context) for e in examples}) == len(examples)
    assert metrics["examples/rewrite"] == len(rewrites)
    assert metrics["graph/approved by the engine"] > 0
    assert metrics["rewrites.csv/query of dev or test"] == 1
    sofa = [example for example in rewrites if (example.query, example.response) == ("couch", "sofa")]
    assert sofa and all(example.reward > 0 for example in sofa)


def test_no_query_of_dev_or_test_is_in_the_file_and_none_on_both_sides(config):
    examples = make_pairs(config, shop_of_words()).examples
    train = {query.text for query in shop_of_words().split("train")}
    assert {example.query for example in examples} <= train
    held = {example.query for example in examples if example.held_out}
    assert held and not held & {example.query for example in examples if not example.held_out}


def test_a_query_that_one_source_rewrites_is_kept_by_none(config):
    rewrites = [example for example in make_pairs(config, shop_of_words()).examples if example.task == "rewrite"]
    rewritten = {example.query for example in rewrites if example.response}
    kept = {example.query for example in rewrites if not example.response}
    assert rewritten and kept and not rewritten & kept


def test_the_same_seed_gives_the_same_bytes(config, tmp_path):
    files = [tmp_path / "first.parquet", tmp_path / "second.parquet"]
    for file in files:
        write_examples(file, make_pairs(config, shop_of_words()).examples)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(read_examples(files[0])) == len(make_pairs(config, shop_of_words()).examples)


@pytest.mark.parametrize("combine", ["replace", "union"])
def test_rewrites_are_whole_queries_unless_combined_by_expand(config, combine):
    examples = make_pairs(replace(config, combine=combine), shop_of_words()).examples
    found = {(e.query, e.response) for e in examples if e.task == "rewrite"}
    assert ("couch", "couch sofa") in found  # the log's words follow the query's own
    assert ("couch", "sofa") in found  # another query is used unchanged


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sources": ("clicks",)}, "choose log, graph, engine"),
        ({"confirm": "people"}, "choose engine, none, or llm:LM"),
        ({"agent": ("nobody",)}, "nobody"),
    ],
)
def test_wrong_settings_are_refused(config, changed, message):
    with pytest.raises(ConfigError, match=message):
        make_pairs(replace(config, **changed), shop_of_words())
