"""The files of a run folder, resumed too, and what Weights & Biases and TensorBoard receive."""

import json
import struct
import sys
import time

import numpy as np
import pytest

from agents.baselines.classic import Oracle
from agents.tracking.base import JsonlTracker, Trackers, make_tracker, send_evaluation
from qr_env.common.errors import ConfigError, RunFolderError
from qr_env.evaluation.evaluator import HeldOutEvaluator
from tests.helpers.fakes import WordRetriever, tiny_shop

ROW = {"update": 1, "query": "couch\u2028 – größe\n", "rewrite": "sofa", "reward": 0.5}


def lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def log_updates(folder, updates):
    tracker = make_tracker("none", folder, {})
    for update in range(1, updates + 1):
        tracker.samples([ROW | {"update": update}] * 2)
        tracker.log({"update": update, "reward": update / 10})
    tracker.close()
    return folder / "metrics.jsonl", folder / "samples.jsonl"


def test_lines_are_appended_in_order(tmp_path):
    metrics, samples = log_updates(tmp_path, 3)
    assert [line["update"] for line in lines(metrics)] == [1, 2, 3]
    assert lines(samples)[0] == ROW
    assert "größe" in samples.read_text(encoding="utf-8")


def test_numpy_numbers_and_nan_are_written(tmp_path):
    make_tracker("none", tmp_path, {}).log({"update": 1, "a": np.float32(0.5), "b": float("nan")})
    line = lines(tmp_path / "metrics.jsonl")[0]
    assert line["a"] == 0.5
    assert line["b"] != line["b"]


def test_personal_data_in_queries_reaches_no_tracker(tmp_path):
    tracker = make_tracker("none", tmp_path, {}, titles=["sofa by bob@mail.de"])
    tracker.samples([ROW | {"query": "sofa bob@mail.de", "rewrite": "030 1234567", "hits_after": [(0, 3)]}])
    tracker.close()
    (line,) = lines(tmp_path / "samples.jsonl")
    assert (line["query"], line["rewrite"]) == ("sofa <email>", "<phone>")
    assert line["hits_after"][0]["title"] == "sofa by bob@mail.de"  # the catalogue is the shop's own text


def test_a_resumed_run_deletes_the_lines_after_its_checkpoint(tmp_path):
    metrics, samples = log_updates(tmp_path, 5)
    tracker = make_tracker("none", tmp_path, {}, resume_from=3)
    assert [line["update"] for line in lines(metrics)] == [1, 2, 3]
    assert [line["update"] for line in lines(samples)] == [1, 1, 2, 2, 3, 3]
    tracker.log({"update": 4, "again": True})
    assert lines(metrics)[-1] == {"update": 4, "again": True}


@pytest.mark.parametrize("truncated", [b'{"update": 2, "rew', b'{"update": 2, "query": "gr\xc3', b"{"])
def test_a_truncated_last_line_is_deleted(tmp_path, truncated):
    metrics, _ = log_updates(tmp_path, 2)
    with metrics.open("ab") as out:
        out.write(truncated)
    make_tracker("none", tmp_path, {}, resume_from=9).log({"update": 3})
    assert [line["update"] for line in lines(metrics)] == [1, 2, 3]


def test_a_run_without_checkpoint_begins_with_empty_files(tmp_path):
    metrics, samples = log_updates(tmp_path, 2)
    JsonlTracker(tmp_path)
    assert lines(metrics) == lines(samples) == []


def test_times_are_in_a_file_of_their_own(tmp_path):
    tracker = make_tracker("none", tmp_path, {})
    tracker.log({"update": 1, "reward": 0.5, "episodes": 8, "seconds": 1.5})
    tracker.log({"update": 1, "eval/score": 0.5})
    assert lines(tmp_path / "metrics.jsonl")[0] == {"update": 1, "reward": 0.5, "episodes": 8}
    assert lines(tmp_path / "timings.jsonl") == [{"update": 1, "episodes": 8, "seconds": 1.5}]
    make_tracker("none", tmp_path, {}, resume_from=0)
    assert lines(tmp_path / "timings.jsonl") == []


def test_a_full_disk_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl could not be written.*No space left"):
        make_tracker("none", tmp_path, {}).log({"update": 1})


def test_all_trackers_get_everything():
    class RecordingTracker:
        def __init__(self):
            self.received = []

        def log(self, metrics):
            self.received.append(metrics)

        def samples(self, rows):
            self.received.append(rows)

        def histograms(self, update, values):
            self.received.append((update, {name: values_N.tolist() for name, values_N in values.items()}))

        def close(self):
            self.received.append("closed")

    both = RecordingTracker(), RecordingTracker()
    trackers = Trackers(both, ["red sofa", "blue sofa"])
    trackers.log({"a": 1})
    trackers.samples([ROW, ROW | {"hits_after": [(1, 3), (0, -1)]}])
    trackers.histograms(1, {"reward": np.array([0.5, np.nan]), "unknown": np.array([np.nan])})
    trackers.close()
    hits = [{"title": "blue sofa", "level": 3}, {"title": "red sofa", "level": -1}]
    expected = [{"a": 1}, [ROW, ROW | {"hits_after": hits}], (1, {"reward": [0.5]}), "closed"]
    assert both[0].received == both[1].received == expected


def test_an_unknown_tracker_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"'mlflow'.*wandb, tensorboard, trackio, none"):
        make_tracker("mlflow", tmp_path, {})


@pytest.mark.parametrize(
    ("kind", "package"),
    [("wandb", "wandb"), ("tensorboard", "tensorboard"), ("trackio", "trackio")],
)
def test_a_missing_package_is_named_and_no_file_is_changed(tmp_path, monkeypatch, kind, package):
    metrics, _ = log_updates(tmp_path, 2)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"pip install 'qr-env\[{kind}\]'"):
        make_tracker(("none", kind), tmp_path, {})
    assert len(lines(metrics)) == 2


CONFIG = {"args": {"shop": "tiny", "reward": {"gain": 1.0}}, "facts": {"seed": 0}}
PROMOTED = {"update": 2, "phase": "promotion", "event": "promoted", "reason": "better", "serving": "update-000002"}
HITS = {"hits_before": [(0, 0)], "hits_after": [(1, 3), (0, -1)]}
TITLES = ["red sofa", "blue sofa"]


def log_a_run(kind, folder, evaluations):
    """Two updates, an evaluation, a promotion and the end of a run, as `qr online` logs them."""
    tracker = make_tracker(kind, folder, CONFIG, titles=TITLES)
    tracker.log({"update": 0, "phase": "eval", "eval/nDCG@10": 0.4})
    for update in (1, 2):
        tracker.samples([ROW | HITS | {"update": update}])
        tracker.histograms(update, {"reward": np.array([0.0, 0.5, np.nan, 1.0])})
        alarms = {"alarms": ["entropy 0.001 < 0.02: the policy has stopped exploring"]} if update == 2 else {}
        tracker.log({"update": update, "phase": "online", "reward": 0.25 * update, "kl": float("nan"), **alarms})
    tracker.log(PROMOTED)
    tracker.close()
    if kind == "wandb":
        time.sleep(1.05)  # W&B names a session's folder by the second
    send_evaluation(kind, folder, CONFIG, 2, evaluations)


@pytest.fixture(scope="module")
def evaluations():
    evaluator = HeldOutEvaluator(tiny_shop(), WordRetriever(tiny_shop()), "train", resamples=20)
    return {"oracle": evaluator.evaluate(Oracle(tiny_shop()))}


def wandb_records(folder):
    """Records of an offline run's file: LevelDB's log format, 7 magic bytes, then records split at 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    records = []
    for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        records += records_of(file.read_bytes(), wandb_internal_pb2.Record)
    return records


def records_of(data, record):
    at, parts, records = 7, b"", []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts, at = parts + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # complete, last part
            records.append(record())
            records[-1].ParseFromString(parts)
            parts = b""
    return records


def values_of(items):
    """{name: value}; the value of a table or histogram is a dictionary."""
    found = {}
    for item in items:
        name, *rest = [item.key] if item.key else list(item.nested_key)
        value = json.loads(item.value_json)
        if rest:
            found.setdefault(name, {})[rest[0]] = value
        else:
            found[name] = value
    return found


def of_kind(records, kind):
    return [getattr(record, kind) for record in records if record.WhichOneof("record_type") == kind]


def newest_table(folder, name):
    files = folder.glob(f"wandb/offline-run-*/files/media/table/**/{name}*")
    return json.loads(max(files, key=lambda file: file.stat().st_mtime_ns).read_text(encoding="utf-8"))


@pytest.mark.live
def test_an_offline_wandb_run_holds_everything(tmp_path, monkeypatch, evaluations):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    log_a_run("wandb", tmp_path, evaluations)
    assert [line["reward"] for line in lines(tmp_path / "metrics.jsonl") if "reward" in line] == [0.25, 0.5]
    records = wandb_records(tmp_path)
    history = [values_of(record.item) for record in of_kind(records, "history")]
    # Curves, by update.
    assert [(row["update"], row["reward"]) for row in history if "reward" in row] == [(1, 0.25), (2, 0.5)]
    assert [row["eval/nDCG@10"] for row in history if "eval/nDCG@10" in row] == [0.4]
    assert {metric.step_metric for metric in of_kind(records, "metric") if metric.glob_name == "*"} == {"update"}
    # Histograms, without missing values.
    histograms = [row["histogram/reward"] for row in history if "histogram/reward" in row]
    assert [(one["_type"], sum(one["values"])) for one in histograms] == [("histogram", 3)] * 2
    # Samples with hits and verdicts, decisions, and the evaluation by slice, which is sent at the end of the run.
    table = newest_table(tmp_path, "samples")
    assert table["columns"] == ["update", "query", "rewrite", "reward", "hits_before", "hits_after"]
    assert table["data"][1] == [2, ROW["query"], "sofa", 0.5, "I red sofa", "E blue sofa | ? red sofa"]
    assert newest_table(tmp_path, "decisions")["data"][0][:2] == [2, "promoted"]
    by_slice = newest_table(tmp_path, "evaluation by slice")
    assert {row[1] for row in by_slice["data"]} == set(evaluations["oracle"].summary)
    best = evaluations["oracle"].summary["all"]["metrics"]["nDCG@10"]["mean"]
    assert ["oracle", "all", "nDCG@10", 7, best] in [row[:5] for row in by_slice["data"]]
    # Alerts, and the whole configuration.
    alarm, promoted = of_kind(records, "alert")
    assert (alarm.title, alarm.level, promoted.level) == ("ALARM: entropy", "WARN", "INFO")
    assert "update 2: entropy 0.001" in alarm.text and "better; serving update-000002" in promoted.text
    runs = of_kind(records, "run")
    config = values_of(runs[0].config.update)
    assert config["args"] == CONFIG["args"] and config["facts"] == {"seed": 0}
    # Two sessions of one run. W&B may write the second's record later, but its folder exists from the start.
    sessions = [path.name.rsplit("-", 1)[-1] for path in tmp_path.glob("wandb/offline-run-*")]
    assert len(sessions) == 2 and {*sessions} == {run.run_id for run in runs}


def test_the_tensorboard_events_hold_everything(tmp_path, evaluations):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_a_run("tensorboard", tmp_path, evaluations)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(point.step, point.value) for point in events.Scalars("reward")] == [(1, 0.25), (2, 0.5)]
    assert "kl" not in events.Tags()["scalars"]  # NaN is not plotted
    best = evaluations["oracle"].summary["all"]["metrics"]["nDCG@10"]["mean"]
    assert events.Scalars("train/oracle/nDCG@10")[0].value == pytest.approx(best)
    assert sum(events.Histograms("histogram/reward")[0].histogram_value.bucket) == 3

    def text(tag):
        return [event.tensor_proto.string_val[0].decode() for event in events.Tensors(f"{tag}/text_summary")]

    assert "| args.reward.gain | 1.0 |" in text("config")[0]
    assert "E blue sofa \\| ? red sofa" in text("samples")[1]
    assert text("promotion") == ["promoted: better; serving update-000002"]
    assert text("alarms")[0].startswith("entropy 0.001")
    assert "| oracle | all | nDCG@10 | 7 |" in text("evaluation by slice")[0]


def test_a_resumed_run_hides_the_events_that_it_writes_again(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for resume_from in (None, 1):
        tracker = make_tracker("tensorboard", tmp_path, CONFIG, resume_from)
        for update in (1, 2, 3):
            if update > (resume_from or 0):
                tracker.log({"update": update, "reward": update + (resume_from or 0) / 10})
        tracker.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    points = [(point.step, point.value) for point in events.Scalars("reward")]
    assert points == [(1, 1.0), (2, pytest.approx(2.1)), (3, pytest.approx(3.1))]
