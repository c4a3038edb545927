"""Judges and shoppers by name; and `qr online` with each of them, kept in the store, gated and probed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from agents.examples.anchor import TYPO_VARIANTS
from agents.rl.grpo import GRPO
from judges.factory import JudgeOptions, open_judge, open_shopper
from judges.simple.embedding import EmbeddingJudge
from judges.validation.gate import Gate, GateResult
from judges.verdict_store.store import VerdictStore
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.reward.reward import Weights
from qr_env.shop.sources.files import write_shop
from runs.online.args import Args
from runs.online.job import main
from runs.online.setup import CONVERSION, JudgeFlags, TrainingSetup
from tests.helpers.cross_models import small_bert
from tests.helpers.fake_llm_server import FakeLLMServer
from tests.helpers.fakes import HashEncoder, WordRetriever, tiny_shop

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

SHOP = tiny_shop()
ROWS = np.arange(3, dtype=np.int32)[None, :]
TINY = {"pretrain": 64, "warm_queries": 4, "updates": 2, "prompts": 2, "group_size": 2, "evaluate_every": 1}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def shop_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    write_shop(SHOP, folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return small_bert(tmp_path_factory.mktemp("bert"))


def online(shop_folder, out, judge, **flags):
    """A short run; its evaluation lines."""
    judging = JudgeFlags(**({"held_out": 4, "probes": 2} | flags))
    main(Args(shop=str(shop_folder), out=out, judge=judge, judging=judging, **TINY))
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["phase"] == "eval"], [line for line in lines if line["phase"] == "online"]


def test_judges_by_name(bert):
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


def test_without_a_server_the_error_tells_how_to_start_one(monkeypatch):
    monkeypatch.delenv("QR_JUDGE_URL", raising=False)
    for make in (open_judge, open_shopper):
        with pytest.raises(ConfigError, match="qr judge serve"):
            make("llm", SHOP, JudgeOptions())
    with pytest.raises(ConfigError, match="none, model, llm"):
        open_shopper("ghost", SHOP, JudgeOptions())


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
    ("spec", "fingerprint", "paid"),
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
def test_typo_variants_are_not_graded_by_a_language_model(bert, tmp_path, spec, fingerprint, paid):
    spec = spec.format(llm=shutil.copytree(bert, tmp_path / "llm"))
    store = stored(tmp_path / "store", fingerprint) if fingerprint else None
    judge = open_judge(spec, SHOP, JudgeOptions(urls=("http://127.0.0.1:9/v1",), store=store))
    args = Args(shop="tiny", out=tmp_path / "out", judge=spec)
    assert TrainingSetup(args, SHOP, WordRetriever(SHOP), judge).hints().typo_variants == (0 if paid else TYPO_VARIANTS)


def without(line):
    return {name: value for name, value in line.items() if name != "seconds"}


def test_cross_encoder_and_ensemble_train_and_another_judge_reports(shop_folder, bert, tmp_path):
    spec = f"ensemble:labels,cross-encoder:{bert}"
    figures, _ = online(shop_folder, tmp_path / "run", spec, report_judge="labels")
    assert "judge/ensemble/disagreement" in figures[-1]
    assert json.loads((tmp_path / "run" / "eval.json").read_text())["agents"]["online"]["by"] == "labels"
    _, updates = online(shop_folder, tmp_path / "cross", f"cross-encoder:{bert}")
    assert all(np.isfinite(line["reward"]) for line in updates)


def test_the_judge_that_reports_and_test_labels_look_on_and_choose_nothing(shop_folder, bert, tmp_path):
    watched = {"report_judge": f"cross-encoder:{bert}", "watch_test_labels": True}
    seen, _ = online(shop_folder, tmp_path / "seen", "labels", **watched)
    alone, _ = online(shop_folder, tmp_path / "alone", "labels")
    lines = {"eval/report judge nDCG@10", "eval/test labels nDCG@10"}
    for more, less in zip(seen, alone, strict=True):
        assert set(more) - set(less) == lines and all(0 <= more[name] <= 1 for name in lines)
        assert {name: value for name, value in without(more).items() if name not in lines} == without(less)
    page = (tmp_path / "seen" / "report.html").read_text(encoding="utf-8")
    assert "the report judge" in page and "the test labels" in page


def test_the_gate_refuses_a_judge_that_disagrees_or_lets_it_in_slowly(shop_folder, bert, tmp_path):
    spec = f"cross-encoder:{bert}"  # untrained: its κ is about 0
    with pytest.raises(JudgeError, match=r"min-kappa|unknown"):
        online(shop_folder, tmp_path / "refused", spec, min_kappa=0.9)
    figures, _ = online(shop_folder, tmp_path / "labels", "labels", min_kappa=0.0)
    assert "judge/kappa" not in figures[0]


def test_the_gate_reads_graded_pairs_of_ones_own(shop_folder, tmp_path):
    labels = tmp_path / "mine.csv"
    graded = [(query, row) for query in SHOP.split("train") for row in range(30)]
    levels = SHOP.levels([query.row for query, _ in graded], np.array([[row] for _, row in graded], np.int32))[:, 0]
    ids = SHOP.products["product_id"].to_pylist()
    lines = [f"{query.text},{ids[row]},{level}\n" for (query, row), level in zip(graded, levels, strict=True)]
    for name, shift, kappa in (("same", 0, 1.0), ("upside down", 3, -1.0)):
        changed = [f"{line[:-2]}{abs(shift - int(line[-2]))}\n" for line in lines]
        labels.write_text("query,product_id,level\n" + "".join(changed))
        if kappa > 0:
            figures, _ = online(shop_folder, tmp_path / name, "labels", min_kappa=0.9, kappa_labels=labels)
            assert figures[0]["judge/kappa"] == figures[-1]["judge/kappa"] == pytest.approx(1)
        else:
            with pytest.raises(JudgeError, match=r"below --min-kappa 0\.9"):
                online(shop_folder, tmp_path / name, "labels", min_kappa=0.9, kappa_labels=labels)


class Halved(Gate):
    """A gate that finds every judge half as good as it must be."""

    def check(self, judge, shop, shown=None, retriever=None):
        return GateResult(judge.name, 0.2, 0.1, 0.3, 100, passed=False, weight=0.5)


def test_a_judge_that_is_let_in_with_less_weight_teaches_at_a_lower_rate(shop_folder, tmp_path, monkeypatch):
    rates = []
    set_rate = GRPO._set_learning_rate

    def record_rate(self):
        set_rate(self)
        rates.append((self.judge_weight, lr(self)))

    monkeypatch.setattr(GRPO, "_set_learning_rate", record_rate)
    for gate in (Gate, Halved):
        monkeypatch.setattr("runs.online.setup.Gate", gate)
        figures, _ = online(shop_folder, tmp_path / gate.__name__, "labels", min_kappa=0.4, low_kappa="downweight")
        assert "judge/kappa" in figures[0]
    full, half = rates[: len(rates) // 2], rates[len(rates) // 2 :]
    assert [trust for trust, _ in half] == [0.5, 0.5]
    assert [rate for _, rate in half] == pytest.approx([0.5 * rate for _, rate in full])


def lr(optimizer):
    return optimizer.optimizer.param_groups[0]["lr"]


def test_a_shopper_pays_for_purchases_unless_told_otherwise(shop_folder, tmp_path):
    _, updates = online(shop_folder, tmp_path / "run", "labels", shopper="model")
    assert {"reward/click", "reward/purchase"} <= set(updates[0])
    args = Args(judging=JudgeFlags(shopper="model"))
    world = TrainingSetup(args, SHOP, None, None, open_shopper("model", SHOP, JudgeOptions()))
    assert world.reward.weights.purchase == CONVERSION
    args.reward = Weights(click=0.1)
    assert (world.reward.weights.click, world.reward.weights.purchase) == (0.1, 0.0)


def test_auto_reports_by_labels_else_by_another_judge(capsys):
    world = TrainingSetup(Args(judge="labels"), SHOP, None, open_judge("labels", SHOP))
    assert world.report_judge("test") is None
    world.args.judging = JudgeFlags(report_judge="labels")
    assert world.report_judge("test") is None
    bare = replace(SHOP, qrels=SHOP.qrels * 0)
    mine = TrainingSetup(Args(judge="embedding"), bare, None, open_judge("labels", SHOP))
    assert mine.report_judge("test") is mine.judge and "--report-judge" in capsys.readouterr().err


@pytest.mark.parametrize(("trained", "reports", "said"), [
    ("ensemble:labels, embedding", "auto", True),
    ("embedding", "ensemble:embedding,labels", True),
    ("ensemble:labels,replay", "auto", False),
])  # fmt: skip
def test_a_judge_that_helped_to_train_is_named_when_it_reports(monkeypatch, capsys, trained, reports, said):
    monkeypatch.setattr("runs.online.setup.open_judge", lambda *_: "judge")
    flags = JudgeFlags(report_judge=reports)
    world = TrainingSetup(Args(judge=trained, judging=flags), replace(SHOP, qrels=SHOP.qrels * 0), None, None)
    assert world.report_judge("test") == "judge"
    printed = capsys.readouterr().err
    assert ("name another with --report-judge" in printed and trained in printed) == said
