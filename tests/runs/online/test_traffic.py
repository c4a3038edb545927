"""`qr online --drift`: shop and traffic change while a student learns, outcomes are logged once, resume is exact."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from qr_env.common.errors import BadRowError, ConfigError, DataError, RunFolderError, SearchError
from qr_env.evaluation.regret import read_outcomes
from qr_env.retrieval.bm25 import BM25
from qr_env.shop.sources.files import write_shop
from runs.online.args import Args, EvaluationSettings, TrafficSettings, WarmStartSettings
from runs.online.job import main
from runs.online.traffic import HITS_FILE, make_drift, make_stream
from runs.report.args import Args as ReportArgs
from runs.report.drift import DRIFT_FILE, OUTCOMES_FILE, run_outcomes
from runs.report.job import main as report
from tests.helpers.fakes import tiny_shop

SMALL = {
    "warm_start": WarmStartSettings(pretrain=256, queries=50),
    "evaluation": EvaluationSettings(every=2),
    "prompts": 4,
    "group_size": 4,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("shop")
    write_shop(tiny_shop(), made)
    (made / "words.yaml").write_text("couch: davenport\nfridge: cooler\nicebox: cooler\n")
    (made / "plan.yaml").write_text(
        "reserve: 0.3\nevents:\n"
        f"  - {{kind: words, at: 8, share: 1.0, what: '{made / 'words.yaml'}'}}\n"
        "  - {kind: churn, at: 4, length: 8, share: 0.3}\n"
    )
    return made


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QR_CACHE", str(tmp_path_factory.mktemp("cache")))
        main(args(folder, out, updates=4))
    return out


def args(folder, out, **settings):
    traffic = TrafficSettings(check_hits="max_turns" not in settings)
    drift = str(folder / "plan.yaml")
    return Args(shop=str(folder), out=out, judge="labels", drift=drift, traffic=traffic, **(SMALL | settings))


def test_every_query_and_event_is_logged_once(finished):
    outcomes = read_outcomes(finished / OUTCOMES_FILE)
    assert outcomes.at_N.tolist() == list(range(16)) and outcomes.missing == 0
    assert set(outcomes.gains) == {"learning", "frozen", "oracle"}
    assert [(event["event"], event["at"]) for event in outcomes.events] == [("churn", 4), ("words", 8)]
    first = slice(0, 4)
    np.testing.assert_array_equal(outcomes.gains["learning"][first], outcomes.gains["frozen"][first])
    assert set(outcomes.segment_N.tolist()) <= {"furniture", "appliances", "sports"}


def test_the_oracle_uses_the_words_at_the_end_of_the_drift(finished, folder):
    """Two computations of the ceiling agree: the oracle's column of the report, and the headroom's oracle."""
    agents = json.loads((finished / "eval.json").read_text(encoding="utf-8"))["agents"]
    everything = agents["oracle"]["summary"]["all"]
    assert everything["metrics"]["nDCG@10"]["mean"] == pytest.approx(everything["headroom"]["oracle_combined"])
    assert everything["metrics"]["kept"]["mean"] == pytest.approx(1 / 3)  # "running shoes" alone is best as it is


def test_a_resumed_run_writes_the_same_lines(finished, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    out = shutil.copytree(finished, tmp_path / "run")
    expected = (finished / OUTCOMES_FILE).read_bytes()
    shutil.rmtree(out / "checkpoints" / "update-000004")
    with (out / OUTCOMES_FILE).open("a") as handle:
        handle.write('{"at": 99, "cut')
    main(args(folder, out, updates=4, resume=True))
    assert (out / OUTCOMES_FILE).read_bytes() == expected
    for name in ("metrics.jsonl", HITS_FILE):
        assert (out / name).read_bytes() == (finished / name).read_bytes()


def test_every_list_that_the_student_learned_from_is_checked(finished):
    counts = json.loads((finished / HITS_FILE).read_text(encoding="utf-8"))
    assert counts["lists"] == 4 * (4 + 16) and counts["results"] > counts["lists"]
    assert counts["epochs"] > 1 and counts["replaced"] > 0
    assert counts["not on sale"] == counts["wrong"] == counts["missing"] == 0


def test_a_list_with_a_removed_product_ends_the_run_with_an_error(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    search = BM25.search
    monkeypatch.setattr(BM25, "search", lambda self, queries, k, on_sale_C=None: search(self, queries, k))
    with pytest.raises(SearchError, match=r"[1-9]\d* not on sale"):
        main(args(folder, tmp_path / "run", updates=2))
    assert json.loads((tmp_path / "run" / HITS_FILE).read_text())["not on sale"] > 0


def test_a_query_of_two_turns_is_logged_once_and_resumed_between_them(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    turns = {"max_turns": 2, "evaluation": EvaluationSettings(every=3)}
    main(args(folder, tmp_path / "complete", updates=4, **turns))
    outcomes = read_outcomes(tmp_path / "complete" / OUTCOMES_FILE)
    assert outcomes.at_N.tolist() == list(range(8))
    out = shutil.copytree(tmp_path / "complete", tmp_path / "run")
    shutil.rmtree(out / "checkpoints" / "update-000004")
    main(args(folder, out, updates=4, resume=True, **turns))
    for name in (OUTCOMES_FILE, "metrics.jsonl", "samples.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / "complete" / name).read_bytes()
    with pytest.raises(RunFolderError, match="max_turns"):
        main(args(folder, out, updates=5, resume=True, max_turns=3, evaluation=EvaluationSettings(every=3)))
    with pytest.raises(ConfigError, match="dpo"):
        main(args(folder, tmp_path / "dpo", max_turns=2, optimizer="dpo"))


def test_the_report_is_printed_and_written(finished, tmp_path, capsys):
    run = shutil.copytree(finished, tmp_path / "run")
    report(ReportArgs(run, window=4))
    printed = capsys.readouterr().out
    assert "learning: headroom share" in printed and "words at 8" in printed
    made = json.loads((run / DRIFT_FILE).read_text())
    assert set(made["policies"]) == {"learning", "frozen"}
    with pytest.raises(ConfigError, match="make the run with --drift"):
        run_outcomes(tmp_path)


@pytest.mark.parametrize("drift", [None, "churn"])
def test_an_invalid_line_of_a_log_is_skipped_with_on_bad_row_skip(tmp_path, drift):
    path, shop = tmp_path / "log.csv", tiny_shop()
    path.write_text("time,query\n1772366400,\n1772366400,couch\n1772366401,sofa\n")
    args = Args(replay=path, drift=drift, on_bad_row="skip", traffic=TrafficSettings(frequency_exponent=1.0))
    stream = make_stream(args, shop, make_drift(args, shop))
    assert len(stream.take(2)) == 2 and stream.laps == 1
    with pytest.raises(BadRowError):
        make_stream(Args(replay=path), shop, None)


@pytest.mark.parametrize("drift", [None, "churn"])
def test_nothing_held_out_is_learned_from_a_log(tmp_path, capsys, drift):
    path, shop = tmp_path / "log.csv", tiny_shop()
    texts = [query.text for query in shop.all_queries] + ["pouffe"]
    path.write_text("time,query\n" + "".join(f"{1_772_366_400 + n},{text}\n" for n, text in enumerate(texts)))
    args = Args(replay=path, drift=drift)
    made = make_drift(args, shop)
    stream = make_stream(args, shop, made)
    taken = stream.take(2 * len(texts))
    assert {query.split for query in taken if query.row >= 0} == {"train"} and len(taken) == 2 * len(texts)
    assert made is None or made.queries == stream.queries
    assert capsys.readouterr().err.count("5 of 13 lines left out: they ask for dev or test queries") == 1
    path.write_text("time,query\n1772366400,icebox\n")
    with pytest.raises(DataError, match="held out"):
        make_stream(args, shop, None)


def test_a_log_is_replayed_into_a_run(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "log.csv"
    path.write_text(
        "time,query\n" + "".join(f"{1_772_366_400 + n},{text}\n" for n, text in enumerate(["couch", "pouffe"] * 3))
    )
    out = tmp_path / "run"
    main(Args(shop=str(folder), out=out, judge="labels", replay=path, **SMALL | {"updates": 2}))
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert {sample["query"] for sample in samples} == {"couch", "pouffe"}
    with pytest.raises(ConfigError, match="its own traffic"):
        make_stream(Args(traffic=TrafficSettings(sessions=0.2), replay=path), tiny_shop(), None)


@pytest.mark.parametrize("drift", [None, "churn"])
def test_a_log_without_counts_gets_zipfs_traffic(tmp_path, drift):
    shop = tiny_shop()
    args = Args(drift=drift, traffic=TrafficSettings(zipf=1.5, frequency_exponent=1.0))
    stream = make_stream(args, shop, make_drift(args, shop))
    drawn = [stream.take(1)[0] for _ in range(4_000)]  # one `take` holds no query twice
    counts = sorted(Counter(query.id for query in drawn).values(), reverse=True)
    shares = np.arange(1, len(counts) + 1) ** -1.5
    assert len(counts) == len(shop.split("train"))
    assert np.allclose(np.array(counts) / 4_000, shares / shares.sum(), atol=0.03)
    path = tmp_path / "log.csv"
    path.write_text("time,query\n1772366400,couch\n")
    with pytest.raises(ConfigError, match="its own traffic"):
        make_stream(Args(traffic=TrafficSettings(zipf=1.0), replay=path), shop, None)
