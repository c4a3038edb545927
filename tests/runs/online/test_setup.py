"""`qr online` with each kind of judge and shopper: stored verdicts, the judge gate, probes, the judge that reports."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from agents.examples.anchor import TYPO_VARIANTS
from agents.rl.grpo import GRPO
from judges.factory import JudgeOptions, open_judge, open_shopper
from judges.validation.gate import Gate, GateResult
from judges.verdict_store.store import VerdictStore
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.reward.paper_rewards import PAPER_REWARDS
from qr_env.reward.reward import Reward, Weights
from runs.online.args import Args, EvaluationSettings, JudgingSettings, WarmStartSettings
from runs.online.evaluation import auto_reporter, report_judge
from runs.online.job import main
from runs.online.setup import PURCHASE_WEIGHT, TrainingSetup, make_reward
from tests.helpers.cross_models import small_bert
from tests.helpers.fake_llm_server import FakeLLMServer
from tests.helpers.fakes import HashEncoder, WordRetriever, tiny_shop

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("own_cache")]

SHOP = tiny_shop()
EVALUATION = EvaluationSettings(every=1, dev_queries=4, probes=2)
TINY = {
    "warm_start": WarmStartSettings(pretrain=64, queries=4),
    "updates": 2,
    "prompts": 2,
    "group_size": 2,
    "evaluation": EVALUATION,
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return small_bert(tmp_path_factory.mktemp("bert"))


def online(shop_folder, out, judge, **settings):
    """A short run; its evaluation lines."""
    main(Args(shop=str(shop_folder), out=out, judge=judge, **(TINY | settings)))
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["phase"] == "eval"], [line for line in lines if line["phase"] == "online"]


def test_a_run_on_the_llm_judge_replays_from_its_store_without_it(shop_folder, tmp_path):
    """The same metrics to the byte, apart from seconds and the judge's own counts."""
    with FakeLLMServer() as server:
        first, updates = online(shop_folder, tmp_path / "llm", "llm", judge_url=(server.url,), report_judge="labels")
        asked = len(server.seen)
    assert asked > 10 and first[-1]["judge/store/hits"] > 0 and 0 <= first[-1]["judge/exploit_rate"] <= 1
    store = tmp_path / "llm" / "verdicts"
    again, repeated = online(shop_folder, tmp_path / "replay", "replay", judge_store=store, report_judge="labels")
    assert [without(line) for line in repeated] == [without(line) for line in updates]
    same = [name for name in first[0] if name.startswith("eval/")]
    assert [[line[name] for name in same] for line in again] == [[line[name] for name in same] for line in first]


def stored(folder, fingerprint):
    """A verdict store in which that judge graded the shop."""
    with VerdictStore(folder) as store:
        store.save_shop_digests(fingerprint, SHOP.products_hash, np.zeros((len(SHOP.products), 2), np.uint64))
        store.put(fingerprint, [("sofa", "a sofa")], np.array([[0, 0, 0, 1]], np.float32))
    return folder


@pytest.mark.parametrize(
    ("spec", "fingerprint", "uses_llm"),
    [
        ("labels", "", False),
        ("cross-encoder:{llm}", "", False),  # only its folder is called llm
        ("llm", "", True),
        ("ensemble:labels,llm", "", True),
        ("ensemble:labels,cross-encoder:{llm}", "", False),
        ("replay", "llm|small|root|grade_v2", True),
        ("ensemble:labels,replay", "llm|small|root|grade_v2", True),
        ("replay", "cross-encoder:llm", False),
    ],
)
def test_typo_variants_are_not_graded_by_a_language_model(bert, tmp_path, spec, fingerprint, uses_llm):
    spec = spec.format(llm=shutil.copytree(bert, tmp_path / "llm"))
    store = stored(tmp_path / "store", fingerprint) if fingerprint else None
    judge = open_judge(spec, SHOP, JudgeOptions(urls=("http://127.0.0.1:9/v1",), store=store))
    setup = TrainingSetup(SHOP, WordRetriever(SHOP), judge, Reward())
    assert setup.anchor_pairs().typo_variants == (0 if uses_llm else TYPO_VARIANTS)


def without(line):
    return {name: value for name, value in line.items() if name != "seconds"}


def test_cross_encoder_and_ensemble_train_and_another_judge_reports(shop_folder, bert, tmp_path):
    spec = f"ensemble:labels,cross-encoder:{bert}"
    figures, _ = online(shop_folder, tmp_path / "run", spec, report_judge="labels")
    assert "judge/ensemble/disagreement" in figures[-1]
    assert json.loads((tmp_path / "run" / "eval.json").read_text())["agents"]["online"]["by"] == "labels"
    _, updates = online(shop_folder, tmp_path / "cross", f"cross-encoder:{bert}")
    assert all(np.isfinite(line["reward"]) for line in updates)


def test_the_report_judge_and_test_labels_are_logged_and_select_nothing(shop_folder, bert, tmp_path):
    watched = {"report_judge": f"cross-encoder:{bert}", "evaluation": replace(EVALUATION, watch_test_labels=True)}
    seen, _ = online(shop_folder, tmp_path / "seen", "labels", **watched)
    alone, _ = online(shop_folder, tmp_path / "alone", "labels")
    lines = {"eval/report judge nDCG@10", "eval/test labels nDCG@10"}
    for more, less in zip(seen, alone, strict=True):
        assert set(more) - set(less) == lines and all(0 <= more[name] <= 1 for name in lines)
        assert {name: value for name, value in without(more).items() if name not in lines} == without(less)
    page = (tmp_path / "seen" / "report.html").read_text(encoding="utf-8")
    assert "the report judge" in page and "the test labels" in page


def test_the_gate_refuses_a_judge_that_disagrees_and_is_off_by_default(shop_folder, bert, tmp_path):
    spec = f"cross-encoder:{bert}"  # untrained: its κ is about 0
    with pytest.raises(JudgeError, match=r"min_kappa|unknown"):
        online(shop_folder, tmp_path / "refused", spec, judging=JudgingSettings(min_kappa=0.9))
    figures, _ = online(shop_folder, tmp_path / "labels", "labels", judging=JudgingSettings(min_kappa=0.0))
    assert "judge/kappa" not in figures[0]


def test_the_gate_reads_a_file_of_graded_pairs(shop_folder, tmp_path):
    labels = tmp_path / "mine.csv"
    graded = [(query, row) for query in SHOP.split("train") for row in range(30)]
    levels = SHOP.levels([query.row for query, _ in graded], np.array([[row] for _, row in graded], np.int32))[:, 0]
    ids = SHOP.products["product_id"].to_pylist()
    lines = [f"{query.text},{ids[row]},{level}\n" for (query, row), level in zip(graded, levels, strict=True)]
    for name, shift, kappa in (("same", 0, 1.0), ("upside down", 3, -1.0)):
        changed = [f"{line[:-2]}{abs(shift - int(line[-2]))}\n" for line in lines]
        labels.write_text("query,product_id,level\n" + "".join(changed))
        if kappa > 0:
            figures, _ = online(
                shop_folder, tmp_path / name, "labels", judging=JudgingSettings(min_kappa=0.9, kappa_labels=labels)
            )
            assert figures[0]["judge/kappa"] == figures[-1]["judge/kappa"] == pytest.approx(1)
        else:
            with pytest.raises(JudgeError, match=r"below min_kappa 0\.9"):
                online(
                    shop_folder, tmp_path / name, "labels", judging=JudgingSettings(min_kappa=0.9, kappa_labels=labels)
                )


class Halved(Gate):
    """A gate that measures half of the required κ for every judge."""

    def check(self, judge, shop, shown=None, retriever=None):
        return GateResult(judge.name, 0.2, 0.1, 0.3, 100, passed=False, weight=0.5)


def test_a_downweighted_judge_lowers_the_learning_rate(shop_folder, tmp_path, monkeypatch):
    rates = []
    set_rate = GRPO._set_learning_rate

    def record_rate(self):
        set_rate(self)
        rates.append((self.judge_weight, lr(self)))

    monkeypatch.setattr(GRPO, "_set_learning_rate", record_rate)
    for gate in (Gate, Halved):
        monkeypatch.setattr("runs.online.setup.Gate", gate)
        figures, _ = online(
            shop_folder,
            tmp_path / gate.__name__,
            "labels",
            judging=JudgingSettings(min_kappa=0.4, low_kappa="downweight"),
        )
        assert "judge/kappa" in figures[0]
    full, half = rates[: len(rates) // 2], rates[len(rates) // 2 :]
    assert [trust for trust, _ in half] == [0.5, 0.5]
    assert [rate for _, rate in half] == pytest.approx([0.5 * rate for _, rate in full])


def lr(optimizer):
    return optimizer.optimizer.param_groups[0]["lr"]


def test_with_a_shopper_purchases_are_rewarded_by_default(shop_folder, tmp_path):
    _, updates = online(shop_folder, tmp_path / "run", "labels", shopper="model")
    assert {"reward/click", "reward/purchase"} <= set(updates[0])
    shopper = open_shopper("model", SHOP, JudgeOptions())
    assert make_reward("weights", Weights(), shopper).weights.purchase == PURCHASE_WEIGHT
    weights = make_reward("weights", Weights(click=0.1), shopper).weights
    assert (weights.click, weights.purchase) == (0.1, 0.0)


def test_a_reward_scheme_is_found_by_name():
    assert make_reward("rank", Weights(), None) is PAPER_REWARDS["rank"]
    with pytest.raises(ConfigError, match="reward_scheme='jd' rewards conversion: it needs shopper='model'"):
        make_reward("jd", Weights(), None)
    with pytest.raises(ConfigError, match="no 'fame'"):
        make_reward("fame", Weights(), None)


def test_the_automatic_report_judge_is_labels_or_one_that_did_not_train(capsys):
    setup = TrainingSetup(SHOP, None, open_judge("labels", SHOP), Reward())
    assert report_judge(setup, Args(judge="labels"), True) is None
    assert report_judge(setup, Args(judge="labels", report_judge="labels"), True) is None
    unlabelled = replace(setup, shop=replace(SHOP, qrels=SHOP.qrels * 0))
    assert report_judge(unlabelled, Args(judge="embedding"), False).name == "coverage"
    assert "reported by judge 'coverage', trained by 'embedding'" in capsys.readouterr().err
    both = replace(unlabelled, judge=open_judge("embedding", SHOP, JudgeOptions(encoder=HashEncoder())))
    assert report_judge(both, Args(judge="embedding", report_judge="embedding"), False) is both.judge
    assert "which trained" in capsys.readouterr().err
    trained = ("labels", "blend", "ensemble:llm,coverage")
    assert [auto_reporter(name) for name in trained] == ["blend", "embedding", "embedding"]
    assert auto_reporter("blend", engine_embeds=True) == "coverage"


@pytest.mark.parametrize(("trained", "reports", "warned"), [
    ("ensemble:labels, embedding", "auto", False),
    ("blend:1,3", "auto", True),
    ("embedding", "ensemble:embedding,labels", True),
    ("ensemble:labels,replay", "auto", False),
])  # fmt: skip
def test_a_judge_that_helped_to_train_is_named_when_it_reports(monkeypatch, capsys, trained, reports, warned):
    monkeypatch.setattr("runs.online.evaluation.open_judge", lambda *_: "judge")
    setup = TrainingSetup(replace(SHOP, qrels=SHOP.qrels * 0), None, None, Reward())
    assert report_judge(setup, Args(judge=trained, report_judge=reports), False) == "judge"
    printed = capsys.readouterr().err
    assert ("which trained" in printed and trained in printed) == warned
