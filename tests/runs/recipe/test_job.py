"""Recipes: files that hold together, stages done once and resumed, seeds pooled, claims judged by their intervals."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml

from agents.examples.tasks import read_examples
from agents.policy.student import Student
from agents.supervised.distill_http import TOP
from qr_env.common.errors import ConfigError, RunFolderError
from qr_env.shop.sources.files import write_shop
from runs.recipe.args import Args
from runs.recipe.compare import Comparison, RunInfo
from runs.recipe.job import main
from runs.recipe.load import find_recipe, load_recipe, recipe_names
from runs.recipe.page import claim_rows
from runs.recipe.spec import STAGE_KINDS, Claim, JudgeStage
from runs.recipe.table import verdict_text
from tests.helpers.fakes import tiny_shop
from tests.helpers.toy_teacher import ServedModel

SMALL = {
    "about": "a small one",
    "stages": {
        "base": {"kind": "base", "pretrain": 128, "hidden": 32, "layers": 1},
        "pairs": {"kind": "pairs", "sources": ["log"], "tasks": ["rewrite", "title"]},
        "multi": {"kind": "sft", "start": "base", "examples": ["pairs"], "tasks": {"rewrite": 1.0, "title": 0.5}},
        "imitated": {"kind": "imitate", "teacher": "multi"},
        "copy": {"kind": "sft", "start": "base", "examples": ["imitated"], "epochs": 1},
        "distilled": {"kind": "distill", "start": "base", "teacher": "multi", "epochs": 1},
        "pro": {"kind": "pro", "start": "multi", "rank_by": "relevance", "samples": 3, "epochs": 1},
        "live": {"kind": "online", "start": "pro", "updates": 2},
    },
    "compare": ["multi", "copy", "distilled", "pro", "live"],
    "held_out": "pairs",
    "claims": [{"text": "learning helps", "better": "live", "than": "pro", "slack": 0.5}],
}


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_every_recipe_of_ours_holds_together(name, profile):
    recipe = load_recipe(find_recipe(name), profile)
    assert recipe.compare
    assert recipe.claims
    assert set(recipe.compare) <= set(recipe.stages)


def test_the_four_systems_are_there():
    assert set(recipe_names()) >= {"beque", "jd", "minielm", "walmart"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stages": {"base": {"kind": "bake"}}}, "is of kind 'bake'"),
        ({"stages": {"a": {"kind": "sft", "start": "b", "examples": []}}}, "reads 'b'"),
        ({"stages": {"base": {"kind": "base", "layer": 2}}}, "unknown settings"),
        ({"stages": {"a": {"kind": "sft", "examples": []}}}, "start is missing"),
        (
            {"stages": {"a": {"kind": "base"}, "b": {"kind": "online", "start": "a", "judge": "cross-encoder:@c"}}},
            "reads 'c'",
        ),
        ({"compare": ["nobody"]}, "no stages"),
        ({"claims": [{"text": "w", "better": "multi", "than": "elsewhere"}]}, "not compared"),
        ({"stages": {"base": {"kind": "base", "layers": "many"}}}, "layers"),
    ],
)
def test_what_does_not_hold_together_is_named(tmp_path, change, says):
    with pytest.raises(ConfigError, match=says):
        load_recipe(written(tmp_path, SMALL | {"compare": [], "held_out": "", "claims": []} | change))


def test_unknown_recipes_and_profiles_name_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match="beque, jd, minielm, offline, walmart"):
        find_recipe("bequee")
    with pytest.raises(ConfigError, match="it has cpu"):
        load_recipe(written(tmp_path, SMALL), "gpu")


def test_a_profile_changes_stages_and_settings(tmp_path):
    recipe = load_recipe(
        written(
            tmp_path,
            SMALL | {"settings": {}, "profiles": {"gpu": {"base": {"layers": 9}, "settings": {"weight": 3.0}}}},
        ),
        "gpu",
    )
    assert recipe.stages["base"].layers == 9
    assert recipe.settings.weight == 3.0


def written(folder, values):
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of all kinds of stages but the judge's, with two seeds."""
    folder = tmp_path_factory.mktemp("recipe")
    write_shop(tiny_shop(), folder / "shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QR_CACHE", str(folder / "cache"))
        main(arguments(folder))
        yield folder


def arguments(folder, values=SMALL, **settings):
    return Args(str(written(folder, values)), shop=str(folder / "shop"), out=folder / "out", seeds=(0, 1), **settings)


def test_the_small_recipe_has_every_kind_of_stage(finished):
    kinds = {STAGE_KINDS[stage["kind"]] for stage in SMALL["stages"].values()}
    assert set(STAGE_KINDS.values()) - kinds == {
        JudgeStage
    }  # a cross-encoder takes too long here; tests of qr judge distill cover it


def test_the_comparison_holds_every_student_with_spread_and_interval(finished):
    report = json.loads((finished / "out" / "comparison.json").read_text())
    assert list(report["agents"]) == ["identity", *SMALL["compare"]]
    for name in SMALL["compare"]:
        figures = report["agents"][name]["metrics"]
        assert {"nDCG@10", "relevance@10", "increment@100", "purchase@10"} <= set(figures)
        assert 0 <= figures["nDCG@10"]["mean"] <= 1
        assert figures["nDCG@10"]["low"] <= figures["nDCG@10"]["difference"] <= figures["nDCG@10"]["high"]
        assert len(report["agents"][name]["scalars"]["ms/query"]) == 2
    assert report["claims"][0]["result"] in ("agrees", "disagrees", "within noise")
    page = (finished / "out" / "report.html").read_text()
    assert "learning helps" in page
    assert (finished / "out" / "seed-1" / "report.html").is_file()


def test_what_is_done_is_not_done_again_and_a_broken_stage_is(finished):
    seed = finished / "out" / "seed-0"
    stamps = {path: path.stat().st_mtime_ns for path in seed.glob("*/stage.json")}
    before = (seed / "pro" / "model.safetensors").read_bytes()
    shutil.rmtree(seed / "pro")
    main(arguments(finished, resume=True))
    again = {path: path.stat().st_mtime_ns for path in seed.glob("*/stage.json")}
    assert {path.parent.name for path in again if again[path] != stamps[path]} == {"pro"}
    assert (seed / "pro" / "model.safetensors").read_bytes() == before  # the same seed makes the same student


def test_a_changed_stage_is_refused_and_so_is_what_is_built_on_it(finished):
    changed = json.loads(json.dumps(SMALL))
    changed["stages"]["multi"]["epochs"] = 1.0
    with pytest.raises(RunFolderError, match="multi was made with settings that differ"):
        main(arguments(finished, changed, resume=True))


@pytest.mark.live
def test_a_teacher_may_be_behind_a_server(finished, tmp_path):
    teacher = Student.load(finished / "out" / "seed-0" / "multi")
    with ServedModel(teacher.model, teacher.tokenizer) as server:
        stages = {
            "base": SMALL["stages"]["base"],
            "imitated": {"kind": "imitate", "teacher": server.url, "queries": 4},
            "distilled": {"kind": "distill", "start": "base", "teacher": server.url, "queries": 32, "epochs": 2},
        }
        values = SMALL | {"stages": stages, "compare": ["distilled"], "held_out": "", "claims": []}
        shop = str(finished / "shop")
        main(Args(str(written(tmp_path, values)), shop=shop, out=tmp_path / "out"))
        asked = len(server.seen)
        assert any(body.get("prompt_logprobs") == TOP for body in server.seen)
        main(Args(str(written(tmp_path, values)), shop=shop, out=tmp_path / "out", resume=True))
        assert len(server.seen) == asked  # what is done needs no server
    road = tmp_path / "out" / "seed-0"
    figures = json.loads((road / "distilled" / "stage.json").read_text())["metrics"]
    assert figures["tokens"] > 0 and np.isfinite([figures["loss_last"], figures["teacher"]]).all()
    texts = {example.query: example.response for example in read_examples(road / "imitated" / "pairs.parquet")}
    assert texts == {query: teacher.rewrite([query])[0][0] for query in texts} and texts


def comparison(claims=(), **agents):
    values = {name: {"nDCG@10": np.array(rows, float)} for name, rows in agents.items()}
    info = RunInfo("t", (0, 1), {}, {})
    return Comparison("nDCG@10", "labels", values, {}, np.ones(200), tuple(claims), info)


def test_claims_are_judged_by_the_interval_and_its_slack():
    rng = np.random.default_rng(0)
    identity = np.tile(rng.uniform(0.2, 0.6, 200), (2, 1))
    noise = rng.normal(0, 0.05, (2, 200))
    made = [
        Claim("up", "better", "identity"),
        Claim("the other way", "identity", "better"),
        Claim("nothing", "same", "identity"),
        Claim("not much worse", "identity", "better", slack=0.3),
    ]
    pooled = comparison(
        made, identity=identity, better=identity + 0.1 + noise, same=identity + noise - noise.mean(axis=1)[:, None]
    )
    assert [verdict.result for verdict in pooled.verdicts] == ["agrees", "disagrees", "within noise", "agrees"]
    assert "better − identity, nDCG@10" in verdict_text(pooled.verdicts[0])


def test_a_scalar_of_one_seed_is_not_judged():
    values = comparison(fast=np.ones((2, 200)), slow=np.ones((2, 200)), identity=np.ones((2, 200)))
    claim = (Claim("it is faster", "slow", "fast", metric="ms/query"),)
    verdicts = []
    for seeds in (1, 2):
        scalars = {"fast": {"ms/query": [1.0, 1.5][:seeds]}, "slow": {"ms/query": [2.0, 3.0][:seeds]}}
        verdicts += replace(values, scalars=scalars, claims=claim).verdicts
    assert [verdict.result for verdict in verdicts] == ["one seed", "agrees"]
    assert verdicts[0].difference == 1.0 and np.isnan([verdicts[0].low, verdicts[0].high]).all()
    assert (verdicts[1].low, verdicts[1].high) == (1.0, 1.5)
    assert "one seed" in verdict_text(verdicts[0]) and "nan" not in verdict_text(verdicts[0])
    texts = [text for row in claim_rows(verdicts) for cell in row.cells for text in (cell.text, cell.small)]
    assert "one seed" in texts and "nan" not in "".join(texts)


def test_pooling_means_over_seeds_and_keeps_undefined_queries_out():
    identity = np.array([[0.0, 0.2, 0.4], [0.0, 0.2, 0.4]])
    agent = np.array([[0.2, 0.4, np.nan], [0.4, 0.6, 0.9]])
    cell = comparison(identity=identity, agent=agent).cell("agent", "nDCG@10")
    assert cell.difference == pytest.approx((0.3 + 0.3) / 2)
    assert cell.sd == pytest.approx(np.std([0.3, (0.4 + 0.6 + 0.9) / 3], ddof=1))
