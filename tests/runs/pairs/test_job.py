"""`qr pairs`: a file with every task and source, held out by query, the same for the same seed; mistakes told."""

import json
from dataclasses import replace

import pyarrow as pa
import pytest

from agents.examples.tasks import TASKS, read_examples
from qr_env.common.errors import ConfigError
from runs.common.cli import main
from runs.pairs import job as pairs
from tests.helpers.fakes import tiny_shop


def shop_of_words():
    """The tiny shop, with "couch white" in the train split: it shares a word, and no product, with "blue couch"."""
    shop = tiny_shop()
    splits = ["train" if query.id == "q10" else query.split for query in shop.all_queries]
    at = shop.queries.column_names.index("split")
    return replace(shop, queries=shop.queries.set_column(at, "split", pa.array(splits)))


@pytest.fixture
def args(tmp_path, monkeypatch):
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    rewrites = tmp_path / "rewrites.csv"
    rewrites.write_text("query,rewrite\ncouch,(couch OR sofa)\nsettee,sofa\ntrainers,refrigerator\n")
    return pairs.Args(
        out=tmp_path / "pairs.parquet",
        sources=("log", "graph", "engine", str(rewrites), "teacher:spell"),
        tasks=TASKS,
        agent=("log", "rm3"),
        held_out=0.4,
        json=str(tmp_path / "pairs.json"),
    )


def test_every_source_and_task_is_in_the_file(args):
    figures = pairs.make(args, shop_of_words())
    examples = read_examples(args.out)
    assert {example.task for example in examples} == set(TASKS)
    rewrites = [example for example in examples if example.task == "rewrite"]
    assert {"log", "graph", "engine:log"} <= {example.source for example in rewrites}
    assert len({(e.task, e.query, e.rewrite, e.response, e.context) for e in examples}) == len(examples)
    assert figures["examples/rewrite"] == len(rewrites)
    assert figures["graph/approved by the engine"] > 0
    assert figures["rewrites.csv/query of dev or test"] == 1
    sofa = [example for example in rewrites if (example.query, example.response) == ("couch", "sofa")]
    assert sofa and all(example.reward > 0 for example in sofa)


def test_no_query_of_dev_or_test_is_in_the_file_and_none_on_both_sides(args):
    pairs.make(args, shop_of_words())
    examples = read_examples(args.out)
    train = {query.text for query in shop_of_words().split("train")}
    assert {example.query for example in examples} <= train
    held = {example.query for example in examples if example.held_out}
    assert held and not held & {example.query for example in examples if not example.held_out}


def test_a_query_that_one_source_rewrites_is_left_alone_by_none(args):
    pairs.make(args, shop_of_words())
    rewrites = [example for example in read_examples(args.out) if example.task == "rewrite"]
    rewritten = {example.query for example in rewrites if example.response}
    alone = {example.query for example in rewrites if not example.response}
    assert rewritten and alone and not rewritten & alone


def test_the_same_seed_gives_the_same_bytes(args, tmp_path):
    pairs.make(args, shop_of_words())
    first = args.out.read_bytes()
    args.out.unlink()
    pairs.make(args, shop_of_words())
    assert args.out.read_bytes() == first


@pytest.mark.parametrize("combine", ["replace", "union"])
def test_whole_rewrites_where_they_stand_alone(args, combine):
    args.combine = combine
    pairs.make(args, shop_of_words())
    found = {(e.query, e.response) for e in read_examples(args.out) if e.task == "rewrite"}
    assert ("couch", "couch sofa") in found  # the log's words stand beside the query's own
    assert ("couch", "sofa") in found  # another query is whole as it is


def test_the_verb_prints_counts_sizes_and_samples(args, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("qr_env.shop.load.load_shop", lambda *_, **__: shop_of_words())
    main(["pairs", "tiny", "--out", str(args.out), "--sources", "log", "--tasks", "rewrite", "title"])
    printed = capsys.readouterr().out
    for text in ("candidates", "queries that keep the original", "rewrite", "title", "Samples"):
        assert text in printed
    main(["pairs", "tiny", "--out", str(args.out), "--sources", "log", "--samples", "3", "--json", str(args.json)])
    report = json.loads((tmp_path / "pairs.json").read_text())
    assert report["verb"] == "pairs" and len(report["samples"]) == 3
    assert report["counts"]["log"]["kept"] > 0


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"sources": ("clicks",)}, "choose log, graph, engine"),
        ({"confirm": "people"}, "choose engine, none, or llm:LM"),
        ({"agent": ("nobody",)}, "nobody"),
    ],
)
def test_mistakes_are_told(args, changed, told):
    for name, value in changed.items():
        setattr(args, name, value)
    with pytest.raises(ConfigError, match=told):
        pairs.make(args, shop_of_words())
