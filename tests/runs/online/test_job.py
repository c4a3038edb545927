"""`qr online` from a folder of files to a report: complete, never done twice, resumed after a kill."""

import json
import shutil
import signal

import pytest

from agents.policy.checkpoint import checkpoints, load_checkpoint
from agents.policy.student import Student
from agents.tracking.base import HIT_LISTS
from qr_env.common.errors import JudgeError, RunFolderError
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.models.hub import model_folder
from qr_env.reward.reward import Weights
from runs.common.cli import run
from runs.common.serving_choice import SERVE_FILE, read_serving_choice
from runs.dashboard.job import metrics_of, specification
from runs.online.args import Args, EvaluationSettings, LearningSettings, WarmStartSettings
from runs.online.evaluation import TrainingEvaluation
from runs.online.job import main
from tests.helpers.fakes import QUERIES, tiny_shop
from tests.helpers.models import same_weights

pytestmark = pytest.mark.usefixtures("own_cache")

MINILM = model_folder("minilm-l6")  # before the tests' own cache takes its place

SMALL = {
    "warm_start": WarmStartSettings(pretrain=256, queries=50),
    "evaluation": EvaluationSettings(every=2),
    "updates": 3,
    "prompts": 4,
    "group_size": 4,
}


@pytest.fixture(scope="module")
def finished(shop_folder, tmp_path_factory):
    """A finished run on the labelled shop."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QR_CACHE", str(cache))
        out = tmp_path_factory.mktemp("runs") / "run"
        main(args(shop_folder, out, tracker=("tensorboard",)))
    return out


def args(shop, out, **settings):
    return Args(shop=str(shop), out=out, **(SMALL | {"judge": "labels"} | settings))


def lines(out, name="metrics.jsonl"):
    return [json.loads(line) for line in (out / name).read_text(encoding="utf-8").split("\n")[:-1]]


def steps(out):
    return [(line["phase"], line["update"]) for line in lines(out)]


ALL_STEPS = [("eval", 0), ("online", 1), ("online", 2), ("eval", 2), ("online", 3), ("eval", 3)]


def test_the_run_folder_is_complete(finished):
    assert json.loads((finished / "config.json").read_text())["args"]["updates"] == 3
    assert steps(finished) == ALL_STEPS
    assert len(lines(finished, "samples.jsonl")) == 12
    assert checkpoints(finished / "checkpoints")[-1].name == "update-000003"
    for name in ("warm", "best"):
        assert Student.load(finished / "checkpoints" / name).rewrite(["couch"])
    agents = json.loads((finished / "eval.json").read_text())["agents"]
    assert list(agents) == ["identity", "spell", "rm3", "repair", "suggest", "warm start", "online", "oracle"]
    assert "<html" in (finished / "report.html").read_text(encoding="utf-8")
    assert {"eval/nDCG@10", "eval/identity/nDCG@10", "eval/headroom", "eval/worse"} <= set(lines(finished)[0])


def test_the_tracker_has_the_same_metrics_as_the_files(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished / "tensorboard"))
    events.Reload()
    rewards = [(line["update"], line["reward"]) for line in lines(finished) if "reward" in line]
    assert rewards == [(point.step, pytest.approx(point.value)) for point in events.Scalars("reward")]
    histograms = {"histogram/reward", "histogram/advantage", "histogram/completions/length"}
    assert histograms <= set(events.Tags()["histograms"])
    texts = {"config", "samples", "evaluation by slice"}
    assert {f"{name}/text_summary" for name in texts} <= set(events.Tags()["tensors"])
    assert "test/online/nDCG@10" in events.Tags()["scalars"]


def test_samples_show_what_was_found_and_its_grades(finished):
    hits = [hit for row in lines(finished, "samples.jsonl") for name in HIT_LISTS for hit in row[name]]
    assert hits and {hit["title"] for hit in hits} <= set(tiny_shop().titles)
    assert {hit["level"] for hit in hits} <= {-1, 0, 1, 2, 3} and any(hit["level"] == 3 for hit in hits)


def test_examples_have_the_contribution_of_each_word(finished):
    groups = json.loads((finished / "eval.json").read_text(encoding="utf-8"))["examples"]
    examples = [example for group in groups.values() for example in group]
    assert examples and all(bool(example["words"]) != example["kept"] for example in examples)


def test_a_second_start_is_refused(finished, shop_folder):
    before = (finished / "metrics.jsonl").read_bytes()
    with pytest.raises(RunFolderError, match="`resume`"):
        main(args(shop_folder, finished))
    assert (finished / "metrics.jsonl").read_bytes() == before


def test_resuming_a_finished_run_changes_nothing(finished, shop_folder, tmp_path):
    out = shutil.copytree(finished, tmp_path / "run")
    kept = ["metrics.jsonl", "samples.jsonl", "warm_pairs.jsonl", "config.json"]
    before = [(out / name).read_bytes() for name in kept]
    student = load_checkpoint(out / "checkpoints")[0]
    main(args(shop_folder, out, resume=True))
    assert [(out / name).read_bytes() for name in kept] == before
    assert same_weights(load_checkpoint(out / "checkpoints")[0].model, student.model)


def test_a_run_says_what_to_serve_first_and_again_when_it_is_resumed(finished, shop_folder, tmp_path, capsys):
    out = shutil.copytree(finished, tmp_path / "run")
    choice = read_serving_choice(out, tiny_shop().products_hash)
    names = [candidate.name for candidate in choice.gradings[0].candidates]
    assert names == ["identity", "spell", "repair", "suggest", "warm start", "online"]
    assert choice.gradings[0].candidates[-1].agent_spec == str(out / "checkpoints" / "best")
    assert choice.serve == "identity", "three test queries prove nothing"
    capsys.readouterr()
    main(args(shop_folder, out, resume=True))
    assert capsys.readouterr().out.startswith(f"{choice.reason}\nfinished already")
    (out / SERVE_FILE).unlink()  # as in a run of an earlier version
    main(args(shop_folder, out, resume=True))
    assert capsys.readouterr().out.startswith(f"{choice.reason}\n")
    assert (out / SERVE_FILE).read_bytes() == (finished / SERVE_FILE).read_bytes()


def test_more_updates_continue_from_the_last_one(finished, shop_folder, tmp_path):
    out = shutil.copytree(finished, tmp_path / "run")
    main(args(shop_folder, out, resume=True, updates=4))
    assert steps(out) == [*ALL_STEPS, ("online", 4), ("eval", 4)]


def test_a_run_whose_last_evaluation_was_refused_is_not_finished(finished, shop_folder, tmp_path, monkeypatch):
    out = shutil.copytree(finished, tmp_path / "run")

    def refuse(*_):
        raise JudgeError("the judge is not available")

    with monkeypatch.context() as patch:
        patch.setattr(TrainingEvaluation, "judge_metrics", refuse)
        with pytest.raises(JudgeError, match="not available"):
            main(args(shop_folder, out, resume=True, updates=4))
    assert steps(out) == [*ALL_STEPS, ("online", 4)]
    main(args(shop_folder, out, resume=True, updates=4))
    assert steps(out) == [*ALL_STEPS, ("online", 4), ("eval", 4)]
    assert (out / "eval.json").is_file()


def test_a_run_killed_after_the_warm_start_ends_as_an_uninterrupted_one(finished, shop_folder, tmp_path):
    out = tmp_path / "run"
    (out / "checkpoints").mkdir(parents=True)
    for name in ("config.json", "warm_pairs.jsonl"):
        shutil.copy(finished / name, out)
    shutil.copytree(finished / "checkpoints" / "warm", out / "checkpoints" / "warm")
    shutil.copytree(finished / "checkpoints" / "warm", out / "checkpoints" / ".update-000000.part")
    (out / "metrics.jsonl").write_text('{"update": 0, "phase": "eval"}\n')
    warm = sorted((file.name, file.stat().st_mtime_ns) for file in (out / "checkpoints" / "warm").iterdir())
    main(args(shop_folder, out, resume=True))
    assert sorted((file.name, file.stat().st_mtime_ns) for file in (out / "checkpoints" / "warm").iterdir()) == warm
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert (out / name).read_bytes() == (finished / name).read_bytes()
    ours, theirs = (load_checkpoint(folder / "checkpoints")[0] for folder in (out, finished))
    assert same_weights(ours.model, theirs.model)


def test_a_run_killed_before_the_warm_start_makes_it_when_resumed(finished, shop_folder, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    shutil.copy(finished / "config.json", out)
    main(args(shop_folder, out, resume=True))
    assert steps(out) == ALL_STEPS
    assert (out / "warm_pairs.jsonl").read_bytes() == (finished / "warm_pairs.jsonl").read_bytes()


CHANGED = {
    "learning_rate": {"learning_rate": 0.5},
    r"evaluation\.every": {"evaluation": EvaluationSettings(every=1)},
    r"learning\.anchor_coef": {"learning": LearningSettings(anchor_coef=0.0)},
    "promotion": {"promotion": "on"},
    "shopper": {"shopper": "model"},
    "drift": {"drift": "busy"},
    r"reward\.copy": {"reward": Weights(copy=0.75)},
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_run_is_not_resumed_with_another_setting_that_influences_learning(finished, shop_folder, name):
    with pytest.raises(RunFolderError, match=rf"another {name} \(.*, now .*\); continue with the run's own"):
        main(args(shop_folder, finished, resume=True, updates=4, **CHANGED[name]))


def test_the_printed_command_resumes_with_all_settings_of_the_run(finished, shop_folder):
    seen = []
    run(Args, seen.append, [str(shop_folder), "--out", str(finished), "--resume"])
    assert seen == [args(shop_folder, finished, tracker=("tensorboard",), resume=True)]


def test_another_shop_is_not_resumed(finished, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    write_catalogue(folder)
    with pytest.raises(RunFolderError, match="another shop"):
        main(args(folder, finished, resume=True))


def write_catalogue(folder):
    """Only products and queries: no labels, no purchases."""
    rows = tiny_shop().products.select(["product_id", "title", "description", "category"]).to_pylist()
    text = "product_id,title,description,category\n"
    (folder / "products.csv").write_text(text + "".join(",".join(row.values()) + "\n" for row in rows))
    more = [f"{color} {name}" for color in ("red", "blue", "green", "black") for name in ("couch", "fridge", "shoes")]
    queries = [query[0] for query in QUERIES.values()] + more
    (folder / "queries.csv").write_text("query\n" + "".join(f"{query}\n" for query in queries))


def test_products_and_queries_alone_are_enough_for_a_run(tmp_path, capsys):
    cache = tmp_path / "cache" / "models"
    cache.mkdir(parents=True)
    (cache / "minilm-l6").symlink_to(MINILM)
    folder, out = tmp_path / "mine", tmp_path / "run"
    folder.mkdir()
    write_catalogue(folder)
    main(args(folder, out, judge="embedding", updates=2))
    assert "queries made from the catalogue" in capsys.readouterr().err
    assert all(line["judge/failed_fraction"] == 0.0 for line in lines(out) if line["phase"] == "online")
    assert (out / "report.html").is_file()
    agents = json.loads((out / "eval.json").read_text())["agents"]
    assert list(agents) == ["identity", "spell", "rm3", "repair", "suggest", "warm start", "online"]


def test_with_a_shopper_relevance_and_conversion_are_evaluated(shop_folder, tmp_path):
    out = tmp_path / "run"
    main(args(shop_folder, out, shopper="model", updates=1, evaluation=EvaluationSettings(every=1)))
    rows = [line for line in lines(out) if line["phase"] == "eval"]
    assert len(rows) == 2
    assert all(0 < row["eval/relevance@10"] <= 1 and 0 < row["eval/purchase@10"] < 1 for row in rows)
    first = load_checkpoint(out / "checkpoints")[1]["alarms"]["first"]
    assert first["eval/relevance@10"] == rows[0]["eval/relevance@10"]


def test_a_run_with_promotion_learns_until_a_signal_and_is_resumed(shop_folder, tmp_path, monkeypatch, capsys):
    """SIGTERM in the second update of each start; the two together are one run."""
    out, step = tmp_path / "run", QueryRewriteVectorEnv.step

    def terminated(self, actions):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 2:
            signal.raise_signal(signal.SIGTERM)
        return step(self, actions)

    monkeypatch.setattr(QueryRewriteVectorEnv, "step", terminated)
    for resume in (False, True):
        main(
            args(
                shop_folder,
                out,
                promotion="on",
                forever=True,
                updates=1,
                evaluation=EvaluationSettings(every=1),
                resume=resume,
            )
        )
        assert "report.html" in capsys.readouterr().out
    assert [update for phase, update in steps(out) if phase == "online"] == [1, 2, 3, 4]
    assert [line["event"] for line in lines(out, "promotions.jsonl")] == ["serving", "shadow"]
    assert all({"serve/gain", "serve/canary"} <= set(line) for line in lines(out) if line["phase"] == "online")
    # `qr dashboard` shows only what runs log; tests/agents/tracking reads the tables back.
    tables = {"samples", "promotion/decisions", "evaluation by slice"}
    logged = {name for line in lines(out) for name in line}
    assert set(metrics_of(specification("me", "qr-env"))) - tables - logged == set()
    assert Student.load(out / "checkpoints" / "serving").rewrite(["couch"])
    assert "Promotion: the policy that serves" in (out / "report.html").read_text(encoding="utf-8")
    monkeypatch.undo()
    main(args(shop_folder, out, promotion="on", updates=5, evaluation=EvaluationSettings(every=1), resume=True))
    agents = json.loads((out / "eval.json").read_text())["agents"]
    assert list(agents) == [
        "identity",
        "spell",
        "rm3",
        "repair",
        "suggest",
        "warm start",
        "serving",
        "online",
        "oracle",
    ]


def test_planted_products_are_searched_and_the_report_says_who_shows_them(shop_folder, tmp_path, capsys):
    main(args(shop_folder, tmp_path / "run", plant=12, updates=2))
    out = capsys.readouterr().out
    planted = json.loads((tmp_path / "run" / "planted.json").read_text())
    assert planted["products"] == 12 and {"identity", "warm start", "online"} <= set(planted["agents"])
    identity = planted["agents"]["identity"]
    assert identity["all"] >= identity["stuffed"] > 0, "a stuffed title is found for the query that it repeats"
    assert "queries whose first ten show one of 12 planted products" in out and "  online: all " in out
    assert "Planted products" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert {"eval/planted@10/all", "eval/planted@10/stuffed"} <= set(lines(tmp_path / "run")[0])
