"""`qr recipe`: every kind of stage runs once, resumes, and refuses changed settings; the comparison and its page."""

import json
import shutil

import numpy as np
import pytest

from agents.examples.tasks import read_examples
from agents.policy.student import Student
from agents.supervised.distill_http import TOP
from qr_env.common.errors import RunFolderError
from qr_env.shop.sources.files import write_shop
from qr_env.traffic.ubi import read_ubi
from runs.recipe.args import Args
from runs.recipe.job import main
from runs.recipe.spec import STAGE_KINDS, JudgeStage
from tests.helpers.fakes import tiny_shop
from tests.helpers.toy_teacher import ServedModel
from tests.runs.recipe.small_recipe import SMALL, write_recipe


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a run of the small recipe with two seeds."""
    folder = tmp_path_factory.mktemp("recipe")
    write_shop(tiny_shop(), folder / "shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QR_CACHE", str(folder / "cache"))
        main(arguments(folder))
        yield folder


def arguments(folder, values=SMALL, **settings):
    return Args(
        str(write_recipe(folder, values)), shop=str(folder / "shop"), out=folder / "out", seeds=(0, 1), **settings
    )


def test_the_small_recipe_has_every_kind_of_stage(finished):
    kinds = {STAGE_KINDS[stage["kind"]] for stage in SMALL["stages"].values()}
    assert set(STAGE_KINDS.values()) - kinds == {
        JudgeStage
    }  # a cross-encoder takes too long here; tests of qr judge distill cover it


def test_the_comparison_has_every_student_with_spread_and_interval(finished):
    report = json.loads((finished / "out" / "comparison.json").read_text())
    assert list(report["agents"]) == ["identity", *SMALL["compare"]]
    for name in SMALL["compare"]:
        metrics = report["agents"][name]["metrics"]
        assert {"nDCG@10", "relevance@10", "increment@100", "purchase@10"} <= set(metrics)
        assert 0 <= metrics["nDCG@10"]["mean"] <= 1
        assert metrics["nDCG@10"]["low"] <= metrics["nDCG@10"]["difference"] <= metrics["nDCG@10"]["high"]
        assert len(report["agents"][name]["scalars"]["ms/query"]) == 2
    assert report["claims"][0]["result"] in ("agrees", "disagrees", "within noise")
    page = (finished / "out" / "report.html").read_text()
    assert "learning helps" in page
    assert (finished / "out" / "seed-1" / "report.html").is_file()


def test_resume_runs_only_a_stage_without_a_result(finished):
    seed = finished / "out" / "seed-0"
    stamps = {path: path.stat().st_mtime_ns for path in seed.glob("*/stage.json")}
    before = (seed / "pro" / "model.safetensors").read_bytes()
    shutil.rmtree(seed / "pro")
    main(arguments(finished, resume=True))
    again = {path: path.stat().st_mtime_ns for path in seed.glob("*/stage.json")}
    assert {path.parent.name for path in again if again[path] != stamps[path]} == {"pro"}
    assert (seed / "pro" / "model.safetensors").read_bytes() == before  # the same seed makes the same student


def test_a_result_of_other_settings_is_refused(finished):
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
        main(Args(str(write_recipe(tmp_path, values)), shop=shop, out=tmp_path / "out"))
        requests = len(server.seen)
        assert any(body.get("prompt_logprobs") == TOP for body in server.seen)
        main(Args(str(write_recipe(tmp_path, values)), shop=shop, out=tmp_path / "out", resume=True))
        assert len(server.seen) == requests  # a stage that is done needs no server
    seed_folder = tmp_path / "out" / "seed-0"
    metrics = json.loads((seed_folder / "distilled" / "stage.json").read_text())["metrics"]
    assert metrics["tokens"] > 0 and np.isfinite([metrics["loss_last"], metrics["teacher"]]).all()
    texts = {example.query: example.response for example in read_examples(seed_folder / "imitated" / "pairs.parquet")}
    assert texts == {query: teacher.rewrite([query])[0][0] for query in texts} and texts


def test_the_log_has_probabilities_and_the_figures_what_was_sold(finished) -> None:
    folder = finished / "out" / "seed-0" / "day"
    log = read_ubi(folder)
    assert log.queries and {0.0} != {one.propensity for one in log.queries}
    assert any(one.propensity < 1 for one in log.queries)
    metrics = json.loads((folder / "stage.json").read_text())["metrics"]
    assert metrics["served"] in (SMALL["stages"]["day"]["agent"], SMALL["stages"]["day"]["before"])
    assert metrics["promoted"] == (metrics["served"] == "pro") and metrics["low"] <= metrics["judged difference"]
    assert metrics["searches"] == len(log.queries) and metrics["transactions"] >= 0


def test_shoppers_of_train_queries_teach_the_next_student(finished) -> None:
    config = json.loads((finished / "out" / "seed-0" / "live" / "config.json").read_text())
    assert config["args"]["feedback"] == [str(finished / "out" / "seed-0" / "day")]
