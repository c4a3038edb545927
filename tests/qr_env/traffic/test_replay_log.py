"""A timestamped log as a stream: order, sessions, the shop's own queries, laps, resume, drift on top, bad files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from judges.simple.labels import LabelsJudge
from qr_env.common.errors import BadRowError, ConfigError, DataError, IndexMismatchError
from qr_env.common.types import Query
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.readers.time.column import read_times
from qr_env.traffic.drift import Drift
from qr_env.traffic.drift_plan import Event, Plan
from qr_env.traffic.replay_log import ReplayLog
from tests.helpers.fakes import WordRetriever, tiny_shop

SHOP = tiny_shop()
LINES = [  # time, query, session: not in order
    ("2026-03-01T12:00:05Z", "Red  Sofa", "anna"),
    ("2026-03-01T12:00:00Z", "couch", "anna"),
    ("2026-03-01 12:00:00", "green pouffe", "ben"),
    ("2026-03-01T13:00:01+01:00", "couch", ""),
]
ORDER = ["couch", "green pouffe", "couch", "red sofa"]


def write_log(folder: Path, suffix: str) -> Path:
    """The lines as a file."""
    path = folder / f"log{suffix}"
    rows = [dict(zip(("time", "query", "session"), line, strict=True)) for line in LINES]
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == ".csv":
        path.write_text("timestamp,search_term,user_id\n" + "".join(",".join(line) + "\n" for line in LINES))
    else:
        times = read_times("", "time", pa.array([line[0] for line in LINES])).seconds_N
        times = pa.array((times * 1e6).astype("int64")).cast(pa.timestamp("us", "UTC"))
        pq.write_table(pa.Table.from_pylist(rows).set_column(0, "time", times), path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_log_comes_in_the_order_of_its_times(tmp_path: Path, suffix: str) -> None:
    log = ReplayLog.read(write_log(tmp_path, suffix), SHOP)
    arrivals = log.arrivals(4)
    assert [arrival.query.text for arrival in arrivals] == ORDER
    assert [arrival.session for arrival in arrivals] == ["anna", "ben", "", "anna"]
    assert np.diff([arrival.time for arrival in arrivals]).tolist() == [0.0, 1.0, 4.0]
    rows = [arrival.query.row for arrival in arrivals]
    assert rows == [1, -1, 1, 2], "texts of the shop's queries become those queries, others free text"


def test_it_is_endless_and_resumes(tmp_path: Path) -> None:
    log = ReplayLog.read(write_log(tmp_path, ".csv"), SHOP)
    assert [query.text for query in log.take(7)] == [*ORDER, *ORDER[:3]]
    state = json.loads(json.dumps(log.state_dict()))
    later = log.take(6)
    other = ReplayLog.read(write_log(tmp_path, ".jsonl"), SHOP)
    other.load_state_dict(state)
    assert (other.taken, other.laps) == (7, 1)
    assert other.take(6) == later
    other.reseed(5)
    assert [query.text for query in other.take(4)] == ORDER


def test_the_state_of_another_log_raises(tmp_path: Path) -> None:
    log = ReplayLog.read(write_log(tmp_path, ".csv"), SHOP)
    later = ReplayLog(log.queries, log.time_N + 1, log.sessions)
    with pytest.raises(IndexMismatchError, match="another log"):
        later.load_state_dict(log.state_dict())


def test_an_environment_runs_on_it(tmp_path: Path) -> None:
    log = ReplayLog.read(write_log(tmp_path, ".csv"), SHOP)
    envs = QueryRewriteVectorEnv(SHOP, WordRetriever(SHOP), LabelsJudge(SHOP), num_envs=4, stream=log)
    observations, _ = envs.reset(seed=3)
    assert list(observations["query"]) == ORDER
    observations, *_ = envs.step(["sofa"] * 4)
    state = json.loads(json.dumps(envs.state_dict()))
    assert envs.load_state_dict(state) == observations and log.taken == 8


def test_words_and_products_drift_on_top_of_a_log(tmp_path: Path) -> None:
    words = tmp_path / "words.yaml"
    words.write_text("couch: settee\n")
    plan = Plan((Event("words", 4, share=1.0, what=str(words)), Event("remove", 4, share=0.5)))
    path = write_log(tmp_path, ".csv")
    drift = Drift(SHOP, plan, ReplayLog.read(path, SHOP).queries)
    log = ReplayLog.read(path, SHOP, drift=drift)
    assert [query.text for query in log.take(8)] == [*ORDER, "settee", "green pouffe", "settee", "red sofa"]
    assert drift.assortment.now.on_sale_C.sum() == 15


def test_invalid_logs_raise(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("time,query\nyesterday,couch\n")
    with pytest.raises(BadRowError, match=r"log\.csv:2: time is no time that is known.*yesterday"):
        ReplayLog.read(path)
    path.write_text("time,query\n")
    with pytest.raises(DataError, match="no usable line"):
        ReplayLog.read(path)
    path.write_text("query\ncouch\n")
    with pytest.raises(DataError, match="time"):
        ReplayLog.read(path)
    path.write_text("time,query\n1772366400,\n1772366400,couch\n")
    with pytest.raises(BadRowError):
        ReplayLog.read(path)
    assert len(ReplayLog.read(path, options=ReadOptions(on_bad_row="skip")).queries) == 1
    with pytest.raises(ConfigError, match="1 queries, 2 times"):
        ReplayLog([Query(-1, "a", "a")], np.zeros(2))


def test_held_out_queries_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("time,query,user\n" + "".join(f"{1_772_366_400 + n},{text},{n}\n" for n, text in enumerate(
        ["couch", " Settee ", "pouffe", "icebox", "settee", "couch"]
    )))  # fmt: skip
    log = ReplayLog.read(path, SHOP, without=("dev", "test"))
    assert [(arrival.query.text, arrival.session) for arrival in log.arrivals(4)] == [
        ("couch", "0"), ("pouffe", "2"), ("couch", "5"), ("couch", "0"),
    ]  # fmt: skip
    assert np.diff(log.time_N).tolist() == [2.0, 3.0] and log.left_out == 3
    assert ReplayLog.read(path, SHOP).left_out == 0
    path.write_text("time,query\n1772366400,icebox\n")
    with pytest.raises(DataError, match="each of its 1 lines asks for a dev or test query"):
        ReplayLog.read(path, SHOP, without=("dev", "test"))


def test_bad_times_have_their_lines_and_are_skipped_on_request(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("time,query\n1769853600000,couch\n1769853600,pouffe\n46053.4,couch\n1769853601000,icebox\n")
    with pytest.raises(BadRowError, match=r"log\.csv:3: time is in seconds since 1970 .*'1769853600'.*skip"):
        ReplayLog.read(path, SHOP)
    log = ReplayLog.read(path, SHOP, ReadOptions(on_bad_row="skip"))
    assert [query.text for query in log.queries] == ["couch", "icebox"]
    assert [(bad.line, bad.reason.split(" (")[0]) for bad in log.report.bad_rows] == [
        (3, "time is in seconds since 1970"), (4, "time is a spreadsheet's day number"),
    ]  # fmt: skip
    assert "log.csv: 'time' is read as milliseconds since 1970, such as '1769853600000'" in log.report.notes


def test_a_log_of_nothing_but_bad_times_says_why(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("time,query\n46053.4,couch\n46053.5,icebox\n")
    with pytest.raises(
        DataError, match=r"no usable line: 2 of 2 rows were invalid.*\n.*spreadsheet.*\n.*log\.csv:2: time is"
    ):
        ReplayLog.read(path, options=ReadOptions(on_bad_row="skip"))


@pytest.mark.parametrize(
    "text",
    [
        "Date,Time,Query\n2026-01-31,10:00:00,couch\n2026-01-31,10:00:05,icebox\n",
        "datum;time;suchbegriff\n31.01.2026;10:00;couch\n31.01.2026;10:00:05;icebox\n",
        "date,time,q\n1/31/2026,10:00 AM,couch\n1/31/2026,10:00:05 AM,icebox\n",
        "Datum;Uhrzeit;Suchbegriff\n31.01.2026;10:00;couch\n31.01.2026;10:00:05;icebox\n",
        "Date,Heure,Requête\n31/01/2026,10:00,couch\n31/01/2026,10:00:05,icebox\n",
        "日付,時刻,query\n2026年1月31日,10:00,couch\n2026年1月31日,10:00:05,icebox\n",
        "data;ora;query\n31/01/2026;10:00;couch\n31/01/2026;10:00:05;icebox\n",
        "Zeitpunkt;Suchbegriff\n31.01.2026 10:00;couch\n31.01.2026 10:00:05;icebox\n",
    ],
)
def test_a_day_and_a_time_of_day_may_be_two_columns(tmp_path: Path, text: str) -> None:
    (tmp_path / "log.csv").write_text(text, encoding="utf-8")
    assert ReplayLog.read(tmp_path / "log.csv", SHOP).time_N.tolist() == [1_769_853_600, 1_769_853_605]


def test_session_ids_stay_text_and_rounded_ones_are_told(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("time,query,session\n1769853600,couch,007\n1769853601,icebox,1.23457E+15\n")
    log = ReplayLog.read(path, SHOP)
    assert log.sessions == ["007", "1.23457E+15"]
    assert "log.csv: session ids that a spreadsheet has rounded: 1 (such as" in log.report.notes[-1]


def test_a_log_without_a_header_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("2026-01-31T10:00:00Z,couch\n2026-01-31T10:00:01Z,icebox\n")
    with pytest.raises(DataError, match=r"no column for 'time'.*the first line looks like data"):
        ReplayLog.read(tmp_path / "log.csv", SHOP)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        # BigQuery's CSV, numeric session ids
        (".csv", "event_timestamp,search_term,ga_session_id\n2026-01-31 10:00:00 UTC,couch,17\n"
                 "2026-01-31 10:00:05.123456 UTC,Icebox,18\n"),
        # UBI: "query" is what the engine was sent
        (".ndjson", '{"timestamp": "2026-01-31T10:00:00.000+0000", "query_id": "a", "client_id": 17,'
                    ' "user_query": "couch", "query": "{\\"match_all\\": {}}"}\n'
                    '{"timestamp": "2026-01-31T10:00:05.123+0000", "query_id": "b", "client_id": 18,'
                    ' "user_query": "icebox", "query": "{}"}\n'),
        # GA4's BigQuery export counts microseconds
        (".jsonl", '{"event_timestamp": 1769853600000000, "search_term": "couch", "user_pseudo_id": 17}\n'
                   '{"event_timestamp": 1769853605123000, "search_term": "icebox", "user_pseudo_id": 18}\n'),
        (".tsv", "Nr\ttime\tquery\tvisitorId\n5\t31.01.2026 10:00:00\tcouch\t17\n6\t31.01.2026 10:00:05\ticebox\t18\n"),
    ],
)  # fmt: skip
def test_logs_of_other_systems(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"log{suffix}"
    path.write_text(text)
    log = ReplayLog.read(path, SHOP)
    assert [query.row for query in log.queries] == [query.row for query in ReplayLog.read(path, SHOP).queries]
    assert [(query.text.lower(), session) for query, session in zip(log.queries, log.sessions, strict=True)] == [
        ("couch", "17"), ("icebox", "18"),
    ]  # fmt: skip
    assert log.time_N.astype(int).tolist() == [1_769_853_600, 1_769_853_605]
