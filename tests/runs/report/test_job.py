"""report.html: holds the numbers it was given, escapes every text, loads nothing, and lives with half a run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from agents.baselines.classic import Identity, Oracle, Spell
from qr_env.common.errors import ConfigError, RunFolderError
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.result import Evaluation
from qr_env.shop.shop import Shop
from runs.report.attribution import attribute, coloured, undone
from runs.report.charts import Chart, Line, chart, moving_mean, ticks
from runs.report.job import EXAMPLES, examples, read_metrics, write_eval, write_report
from tests.helpers.fakes import WordRetriever, tiny_shop

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def shop() -> Shop:
    shop = tiny_shop()
    titles = shop.products["title"].to_pylist()
    titles[0] = f"{titles[0]} {EVIL}"
    return replace(shop, products=shop.products.set_column(1, "title", [titles]))


@pytest.fixture(scope="module")
def evaluations(shop: Shop) -> dict[str, Evaluation]:
    exam = HeldOutEvaluator(shop, WordRetriever(shop), "train")
    return {agent.name: exam.evaluate(agent) for agent in (Identity(), Spell(shop), Oracle(shop))}


@pytest.fixture
def run_folder(tmp_path: Path, shop: Shop, evaluations: dict[str, Evaluation]) -> Path:
    folder = tmp_path / "my-run"
    write_eval(folder, evaluations, shop)
    rows: list[dict[str, object]] = [
        {"update": 0, "phase": "eval", "eval/nDCG@10": 0.4321, "eval/identity/nDCG@10": 0.3987},
        {"update": 1, "phase": "online", "reward": 0.1, "kl": float("nan"), "episodes": 64},
        {"update": 2, "phase": "online", "reward": 0.2, "kl": 0.01, "episodes": 128},
        {"update": 2, "phase": "eval", "eval/nDCG@10": 0.5, "eval/identity/nDCG@10": 0.3987},
    ]
    rows[2]["eval/oracle/nDCG@10"] = 0.9123
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines + '{"update": 3, "rew')
    times = [{"update": number, "episodes": 64 * number, "seconds": 2.0 * number} for number in (1, 2)]
    (folder / "timings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in times))
    config = {"args": {"shop": EVIL, "student": "tiny"}, "environment": {"commit": "abc1234", "machine": "2 cores"}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


class Tags(HTMLParser):
    """Collects what a page would run or load, and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.loads += [tag] if tag in ("script", "link", "iframe", "object", "img") else []
        if tag not in ("meta", "br", "line", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "path", "circle"):
            assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(run_folder: Path) -> None:
    page = write_report(run_folder).read_text()
    tags = Tags()
    tags.feed(page)
    assert tags.loads == [] and tags.open == []
    assert "http" not in page and "url(" not in page and "@import" not in page
    assert EVIL not in page
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in page


def test_the_page_holds_the_numbers_it_was_given(run_folder: Path, evaluations: dict[str, Evaluation]) -> None:
    page = write_report(run_folder).read_text()
    oracle = evaluations["oracle"].summary["all"]
    assert f"{oracle['metrics']['nDCG@10']['identity']:.3f} → {oracle['metrics']['nDCG@10']['mean']:.3f}" in page
    assert f"{100 * oracle['headroom']['share']:.1f} %" in page
    for name in ("identity 0.399", "oracle 0.912", "warm start 0.432", "abc1234", "2 cores", "1,920 episodes a minute"):
        assert name in page, name
    for name in evaluations:
        assert f"<th>{name}</th>" in page
    assert page.count('class="example"') == 7  # every query of the tiny split is an example
    assert "original failing (4)" in page


def test_examples_are_sorted_disjoint_and_bounded(shop: Shop, evaluations: dict[str, Evaluation]) -> None:
    groups = examples(evaluations["oracle"], shop)
    gains = [example["after"] - example["before"] for example in groups["best"]]
    assert gains == sorted(gains, reverse=True) and min(gains) > 0
    queries = [example["query"] for group in groups.values() for example in group]
    assert len(queries) == len(set(queries)) == 7
    assert all(len(group) <= EXAMPLES for group in groups.values())
    assert groups["worst"] == []
    assert groups["best"][0]["hits_after"][0]["level"] == 3
    assert groups == examples(evaluations["oracle"], shop)


def test_eval_json_is_plain_json_and_names_are_checked(
    tmp_path: Path, shop: Shop, evaluations: dict[str, Evaluation]
) -> None:
    path = write_eval(tmp_path / "run", evaluations, shop, agent="spell")
    content = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert list(content["agents"]) == ["identity", "spell", "oracle"] and content["agent"] == "spell"
    with pytest.raises(ConfigError, match="at least one"):
        write_eval(tmp_path, {}, shop)
    with pytest.raises(ConfigError, match="'nobody'"):
        write_eval(tmp_path, evaluations, shop, agent="nobody")


def test_a_run_that_is_still_going_has_a_report(run_folder: Path) -> None:
    (run_folder / "eval.json").unlink()
    assert "How it learned" in write_report(run_folder).read_text()
    (run_folder / "metrics.jsonl").unlink()
    assert "What was run" in write_report(run_folder).read_text()
    (run_folder / "config.json").unlink()
    with pytest.raises(RunFolderError, match="holds no run"):
        write_report(run_folder)


def test_half_a_last_line_is_dropped_and_a_broken_one_before_it_is_named(run_folder: Path) -> None:
    assert len(read_metrics(run_folder / "metrics.jsonl")) == 4
    (run_folder / "metrics.jsonl").write_text('{"update": 1\n{"update": 2}\n')
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl:1"):
        read_metrics(run_folder / "metrics.jsonl")


def test_the_verb_prints_the_path(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from runs.report.job import Args, main

    main(Args(run_folder))
    assert capsys.readouterr().out.strip() == str(run_folder / "report.html")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.31, 0.52, [0.35, 0.4, 0.45, 0.5]),
        (-1.0, 200.0, [0, 50, 100, 150, 200]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_charts_survive_flat_single_and_missing_values() -> None:
    assert chart(Chart("none", "x", [Line("a", [(0, float("nan"))])])) == ""
    flat = chart(Chart("flat", "x", [Line("a", [(0, 0.0), (1, 0.0)])]))
    single = chart(Chart("one", "x", [Line("a", [(3, 2.0)])], marks=[("m", 1.0, 1), ("gone", float("nan"), 2)]))
    for svg in (flat, single):
        assert "nan" not in svg and "inf" not in svg
    assert "gone" not in single and "m 1.000" in single
    # A higher value is drawn higher up.
    points = re.search(r'd="M(\S+) (\S+)L(\S+) (\S+)"', chart(Chart("up", "x", [Line("a", [(0, 1.0), (1, 2.0)])])))
    assert points and float(points[4]) < float(points[2]) and float(points[3]) > float(points[1])


def test_moving_mean_keeps_the_length_and_the_mean_of_a_line() -> None:
    points = [(float(x), 2.0 * x) for x in range(41)]
    smooth = moving_mean(points)
    assert [x for x, _ in smooth] == [x for x, _ in points]
    assert smooth[20] == (20.0, pytest.approx(40.0))


def test_promotions_stand_in_the_report_with_their_evidence(run_folder: Path) -> None:
    assert "What served" not in write_report(run_folder).read_text()
    evidence = {"candidate": "update-000025", "pairs": 640, "missing": 3, "mean_difference": 0.04, "low": 0.01}
    evidence |= {"high": 0.07, "e_value": 1234567.0, "e_value_worse": 0.0, "alpha": 0.05}
    evidence |= {"share_better": 0.125, "share_worse": 0.05}
    records: list[dict[str, object]] = [
        {"update": 0, "event": "serving", "reason": "the first policy", "serving": "update-000000"},
        {"update": 25, "event": "shadow", "reason": "new", "serving": "update-000000", "candidate": "update-000025"},
        {"update": 45, "event": "promoted", "reason": "better", "serving": "update-000025", **evidence},
        {"update": 60, "event": "rolled back", "reason": f"alarm: {EVIL}", "serving": "update-000025"},
    ]
    records[2] |= {"phase": "promotion"}
    (run_folder / "promotions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    with (run_folder / "metrics.jsonl").open("w") as out:
        for update in range(1, 4):
            row = {"update": update, "serve/gain": 0.1, "serve/log_e": 2.0 * update, "serve/canary": 0.1}
            out.write(json.dumps(row) + "\n")
    page = write_report(run_folder).read_text()
    assert "1 candidates, 1 promoted, 1 rolled back; serving now: update-000025" in page
    assert "+0.040" in page and "+0.010 … +0.070" in page and "10<sup>6</sup>" in page and "12.5 %" in page
    assert "What shoppers got" in page and "enough 2.996" in page
    assert EVIL not in page
    tags = Tags()
    tags.feed(page)
    assert tags.open == [] and tags.loads == []


def test_each_word_is_worth_what_is_lost_without_it(shop: Shop) -> None:
    exam = HeldOutEvaluator(shop, WordRetriever(shop), "train")
    place = next(n for n, query in enumerate(exam.queries) if query.text == "couch")
    kept, said = attribute(exam, [place, place], ["couch", "sofa nonsense couch"])
    assert kept == []  # left alone
    assert [(word["word"], word["did"]) for word in said] == [
        ("sofa", "added"),
        ("nonsense", "added"),
        ("couch", "repeated"),
    ]
    whole, without = exam.score([place, place], ["sofa nonsense couch", "nonsense couch"])
    assert said[0]["worth"] == pytest.approx(whole - without) and said[0]["worth"] > 0
    assert said[1]["worth"] == pytest.approx(0)
    alone = exam.score([place], ["sofa"])[0]
    assert alone == exam.scorer.quick(exam.search(["sofa"] * len(exam.queries)))[place]


def test_a_word_that_was_left_out_is_put_back() -> None:
    assert undone("red couch", "sofa Red", replaces=True) == [
        ("sofa", "added", "Red"),
        ("Red", "repeated", "sofa"),
        ("couch", "dropped", "sofa Red couch"),
    ]
    assert [did for _, did, _ in undone("red couch", "sofa Red", replaces=False)] == ["added", "repeated"]


def test_words_are_coloured_by_their_worth(tmp_path: Path, shop: Shop, evaluations: dict[str, Evaluation]) -> None:
    write_eval(tmp_path, evaluations, shop, exam=HeldOutEvaluator(shop, WordRetriever(shop), "train"))
    page = write_report(tmp_path).read_text()
    assert 'class="word up"' in page and "without that word alone" in page
    words = [
        {"word": EVIL, "did": "added", "worth": -0.2},
        {"word": "old", "did": "dropped", "worth": 0.1},
        {"word": "x", "did": "added", "worth": None},
    ]
    html = coloured(words)
    assert EVIL not in html and 'class="word down"' in html and "-0.20" in html
    assert "<s>old</s><small>+0.10</small>" in html and "no verdict" in html


def test_the_stream_stands_in_the_report_with_its_events(run_folder: Path) -> None:
    assert "what changed in it" not in write_report(run_folder).read_text()
    events = [{"at": 600, "event": "words", "length": 0, "share": 1.0, "what": ""}]
    rows = [
        {"at": at, "query": "q", "segment": EVIL, "gain": {"learning": 0.5 if at < 600 or at > 800 else 0.1}}
        for at in range(1200)
    ]
    for row in rows:
        row["gain"] |= {"frozen": 0.5 if row["at"] < 600 else 0.1, "oracle": 1.0}  # type: ignore[operator,index]
    text = "".join(json.dumps(row) + "\n" for row in (*events, *rows))
    (run_folder / "outcomes.jsonl").write_text(text)
    page = write_report(run_folder).read_text()
    assert "words, query 600" in page and "after 2" in page and '<span class="down">not</span>' in page
    assert '<line class="event"' in page and "Regret" in page and EVIL not in page
    tags = Tags()
    tags.feed(page)
    assert tags.open == [] and tags.loads == []


def test_judge_and_labels_stand_side_by_side(run_folder: Path) -> None:
    assert "Judge and labels" not in write_report(run_folder).read_text()  # labels alone: nothing to compare
    rows: list[dict[str, float]] = [{"update": 1, "kl": 0.04}, {"update": 2, "kl": 0.12}]
    for update, judge, labels in ((0, 0.40, 0.30), (2, 0.55, 0.28)):
        rows.append({"update": update, "eval/judge nDCG@10": judge, "eval/nDCG@10": labels})
    (run_folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = write_report(run_folder).read_text()
    assert "the training judge +0.150; the labels -0.020" in page
    assert "labels, 0.282843: -0.02" in page  # √ of the mean KL, 0.08
    assert "beyond labels, 2: 0.17" in page


def test_names_of_events_do_not_meet_and_ticks_stay_inside() -> None:
    line = Line("a", [(0, 0.0), (12_000, 1.0)])
    svg = chart(Chart("t", "queries", [line], events=[(3000, "words"), (3100, "typos"), (99_999, "later")]))
    assert svg.count('class="event"') == 2
    assert ">typos</text>" in svg and ">words</text>" not in svg and "words, 3,000</title>" in svg
    assert ">12,000</text>" in svg and "e+0" not in svg
