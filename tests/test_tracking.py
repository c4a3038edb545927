"""Figures go to files that a resumed run continues, and to Weights & Biases when asked."""

import json
import struct
import sys

import pytest

from agents.tracking import JsonlTracker, Trackers, make_tracker
from qr_env.errors import ConfigError, RunFolderError

ROW = {"update": 1, "query": "couch\u2028 – größe\n", "rewrite": "sofa", "reward": 0.5}


def lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def filled(folder, updates):
    tracker = make_tracker("none", folder, {})
    for update in range(1, updates + 1):
        tracker.samples([ROW | {"update": update}] * 2)
        tracker.log({"update": update, "reward": update / 10})
    tracker.close()
    return folder / "metrics.jsonl", folder / "samples.jsonl"


def test_lines_are_appended_as_they_come(tmp_path):
    metrics, samples = filled(tmp_path, 3)
    assert [line["update"] for line in lines(metrics)] == [1, 2, 3]
    assert lines(samples)[0] == ROW
    assert "größe" in samples.read_text(encoding="utf-8")


def test_numbers_of_numpy_and_missing_ones_are_written(tmp_path):
    import numpy as np

    make_tracker("none", tmp_path, {}).log({"update": 1, "a": np.float32(0.5), "b": float("nan")})
    line = lines(tmp_path / "metrics.jsonl")[0]
    assert line["a"] == 0.5
    assert line["b"] != line["b"]


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path):
    metrics, samples = filled(tmp_path, 5)
    tracker = make_tracker("none", tmp_path, {}, resume_from=3)
    assert [line["update"] for line in lines(metrics)] == [1, 2, 3]
    assert [line["update"] for line in lines(samples)] == [1, 1, 2, 2, 3, 3]
    tracker.log({"update": 4, "again": True})
    assert lines(metrics)[-1] == {"update": 4, "again": True}


@pytest.mark.parametrize("half", [b'{"update": 2, "rew', b'{"update": 2, "query": "gr\xc3', b"{"])
def test_a_line_that_a_kill_cut_in_half_goes_too(tmp_path, half):
    metrics, _ = filled(tmp_path, 2)
    with metrics.open("ab") as out:
        out.write(half)
    make_tracker("none", tmp_path, {}, resume_from=9).log({"update": 3})
    assert [line["update"] for line in lines(metrics)] == [1, 2, 3]


def test_a_run_without_checkpoint_begins_with_empty_files(tmp_path):
    metrics, samples = filled(tmp_path, 2)
    JsonlTracker(tmp_path)
    assert lines(metrics) == lines(samples) == []


def test_times_are_apart_from_the_metrics(tmp_path):
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
    class Listing:
        def __init__(self):
            self.seen = []

        def log(self, metrics):
            self.seen.append(metrics)

        def samples(self, rows):
            self.seen.append(rows)

        def close(self):
            self.seen.append("closed")

    both = Listing(), Listing()
    trackers = Trackers(both)
    trackers.log({"a": 1})
    trackers.samples([ROW])
    trackers.close()
    assert both[0].seen == both[1].seen == [{"a": 1}, [ROW], "closed"]


def test_an_unknown_tracker_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"'mlflow'.*none, wandb"):
        make_tracker("mlflow", tmp_path, {})


def test_without_the_package_the_way_to_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install 'qr-env\[wandb\]'"):
        make_tracker("wandb", tmp_path, {})


def wandb_records(folder):
    """What an offline run wrote: a file in LevelDB's log format, 7 bytes of magic, then records cut at 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, at, parts, records = file.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts, at = parts + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, last part
            records.append(wandb_internal_pb2.Record())
            records[-1].ParseFromString(parts)
            parts = b""
    return records


@pytest.mark.live
def test_wandb_offline_has_the_curve_the_table_and_the_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracker = make_tracker("wandb", tmp_path, {"shop": "tiny"})
    for update in (1, 2):
        tracker.samples([ROW | {"update": update}])
        tracker.log({"update": update, "phase": "online", "reward": 0.25 * update, "alarms": ["a bell"]})
    tracker.close()
    assert [line["reward"] for line in lines(tmp_path / "metrics.jsonl")] == [0.25, 0.5]
    records = wandb_records(tmp_path)
    history = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    assert [row["reward"] for row in history if "reward" in row] == [0.25, 0.5]
    tables = [value for row in history for name, value in row.items() if name.startswith("samples")]
    assert tables
    newest = max(tmp_path.glob("wandb/offline-run-*/files/media/table/samples*"), key=lambda f: len(f.read_bytes()))
    assert json.loads(newest.read_text(encoding="utf-8")) == {
        "columns": ["update", "query", "rewrite", "reward"],
        "data": [[1, ROW["query"], "sofa", 0.5], [2, ROW["query"], "sofa", 0.5]],
    }
    configs = [item for r in records if r.WhichOneof("record_type") == "run" for item in r.run.config.update]
    assert any(item.key == "shop" and json.loads(item.value_json) == "tiny" for item in configs)
