"""`qr online` refuses what can be known before it reads the shop, and a refused command leaves no folder behind."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qr_env.common.errors import ConfigError, DataError, DownloadError, JudgeError, QrError, RunFolderError, StoreError
from runs.online.args import (
    Args,
    EvaluationSettings,
    JudgingSettings,
    LearningSettings,
    PromotionSettings,
    SuggestionSettings,
    TrafficSettings,
)
from runs.online.job import main
from tests.helpers.fake_llm_server import FakeLLMServer

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("own_cache")]

DEAD = ("http://127.0.0.1:9/v1",)


def refused(shop: Path, out: Path, error: type[QrError], message: str, **settings: Any) -> None:
    """The run is refused with this error, and nothing is left of its folder or of those made for it."""
    with pytest.raises(error, match=message):
        main(Args(shop=str(shop), out=out, **({"judge": "labels"} | settings)))
    assert not out.exists() and not out.parent.exists()


BY_SETTINGS: list[tuple[dict[str, Any], type[QrError], str]] = [
    ({"replay": Path("no_such.csv")}, ConfigError, r"replay='no_such\.csv': no such file"),
    ({"replay": Path()}, ConfigError, r"replay='\.': is a folder"),
    ({"report_judge": "nosuch"}, ConfigError, r"report_judge='nosuch': no 'nosuch' among .*embedding"),
    ({"report_judge": "blend:1"}, ConfigError, "report_judge='blend:1': .*blend:1,3"),
    ({"report_judge": "cross-encoder:no/such/folder/x"}, DownloadError, "report_judge=.*no/such/folder/x"),
    ({"report_judge": "ensemble:"}, ConfigError, "name its members, ensemble:A,B"),
    ({"report_judge": "replay"}, StoreError, "report_judge='replay': .*no verdict store"),
    ({"report_judge": "labels:3"}, ConfigError, "report_judge='labels:3': .*no argument"),
    ({"judge": "fame"}, ConfigError, "judge='fame': no 'fame' among"),
    ({"judge": "llm"}, ConfigError, "judge='llm': no server: give its URL"),
    ({"judge": "llm", "judge_url": DEAD}, JudgeError, r"judge='llm': .*127\.0\.0\.1:9.*is the judge's server up"),
    ({"judge": "ensemble:labels,llm", "judge_url": DEAD}, JudgeError, "is the judge's server up"),
    ({"report_judge": "llm", "judge_url": DEAD}, JudgeError, "report_judge='llm': .*is the judge's server up"),
    ({"shopper": "llm", "judge_url": DEAD}, JudgeError, "shopper='llm': .*is the judge's server up"),
    ({"tracker": ("none", "mlflow")}, ConfigError, "tracker='mlflow': known are wandb"),
    ({"drift": "storm"}, ConfigError, "drift=.storm.: no such file, and no preset; presets are words"),
    ({"retriever": "solr"}, ConfigError, "no 'solr' among .*bm25, dense, hybrid, splade"),
    ({"retriever": "bm25:none.json"}, ConfigError, r"none\.json: no such file"),
    ({"student": "no/such/folder/here"}, DownloadError, "student='no/such/folder/here': .*no such folder"),
    ({"reward_scheme": "fame"}, ConfigError, "no 'fame' among"),
    ({"reward_scheme": "jd"}, ConfigError, "reward_scheme='jd' rewards conversion: it needs shopper='model'"),
    ({"optimizer": "adam"}, ConfigError, "no 'adam' among .*grpo, ppo, dpo"),
    ({"plant": -1}, ConfigError, "plant=-1: must be 0 or more"),
    ({"prompts": 0}, ConfigError, "prompts=0: must be 1 or more"),
    ({"weight": 0.0}, ConfigError, "weight=0: must be above 0"),
    ({"traffic": TrafficSettings(check_hits=True), "retriever": "splade"}, ConfigError, "only bm25 can be checked"),
    ({"traffic": TrafficSettings(sessions=2.0)}, ConfigError, "sessions 2.0: must be a share"),
    ({"evaluation": EvaluationSettings(every=0)}, ConfigError, "evaluation.every=0: must be 1 or more"),
    (
        {"evaluation": EvaluationSettings(suggest=Path("no.json"))},
        ConfigError,
        r"no\.json: No such file",
    ),
    ({"suggestions": SuggestionSettings(sources=("fame",))}, ConfigError, "no source of suggestions 'fame'"),
    ({"suggestions": SuggestionSettings(sources=("teacher",))}, ConfigError, "teacher:LM"),
    ({"judging": JudgingSettings(kappa_labels=Path("no.csv"))}, ConfigError, r"kappa_labels='no\.csv': no such file"),
    ({"judging": JudgingSettings(min_kappa=7.0)}, ConfigError, "min_kappa=7"),
    ({"learning": LearningSettings(dpo_beta=-1.0), "optimizer": "dpo"}, ConfigError, "beta=-1.0: must be above 0"),
    ({"serving": PromotionSettings(alpha=3.0), "promotion": "on"}, ConfigError, "alpha=3.0: must be between 0 and 1"),
    ({"resume": True}, RunFolderError, "no run to resume"),
]


@pytest.mark.parametrize(("settings", "error", "message"), BY_SETTINGS, ids=[str(case[0]) for case in BY_SETTINGS])
def test_settings_are_refused_before_anything_is_read_or_written(
    shop_folder: Path, tmp_path: Path, settings: dict[str, Any], error: type[QrError], message: str
) -> None:
    refused(shop_folder, tmp_path / "deep" / "run", error, message, **settings)


@pytest.mark.parametrize(
    ("package", "settings"),
    [
        ("httpx", {"judge": "llm", "judge_url": DEAD}),
        ("tensorboard", {"tracker": ("tensorboard",)}),
        ("wandb", {"tracker": ("wandb",)}),
        ("trackio", {"tracker": ("trackio",)}),
        ("sentence_transformers", {"report_judge": "embedding"}),
        ("trl", {}),
        ("faiss", {"retriever": "dense"}),
    ],
)
def test_a_missing_package_is_known_before_the_run_folder_is_taken(
    shop_folder: Path, tmp_path: Path, package: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    refused(shop_folder, tmp_path / "deep" / "run", ConfigError, "pip install", **settings)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ConfigError, "the file is empty"),
        ("time,query\n", DataError, r"log\.csv"),
        ("when,what\n1772366400,sofa\n", DataError, "time"),
        ("time,query\nyesterday,sofa\n", DataError, "yesterday"),
    ],
)
def test_a_log_that_cannot_be_replayed_leaves_no_folder(
    shop_folder: Path, tmp_path: Path, text: str, error: type[QrError], message: str
) -> None:
    log = tmp_path / "log.csv"
    log.write_text(text, encoding="utf-8")
    refused(shop_folder, tmp_path / "deep" / "run", error, message, replay=log)


def test_a_server_without_the_model_is_refused(shop_folder: Path, tmp_path: Path) -> None:
    with FakeLLMServer() as server:
        settings = {"judge": "llm", "judge_url": (server.url,), "judging": JudgingSettings(model="gpt-9")}
        refused(shop_folder, tmp_path / "deep" / "run", JudgeError, "judge='llm': .*no model 'gpt-9'", **settings)
        unknown = {"judge": "llm", "judge_url": (server.url,), "judging": JudgingSettings(prompt="haiku")}
        refused(shop_folder, tmp_path / "deep" / "run", ConfigError, "judge='llm': .*haiku", **unknown)


def test_labels_must_be_there_where_they_are_to_reward(shop_folder: Path, tmp_path: Path) -> None:
    shop = shutil.copytree(shop_folder, tmp_path / "unlabelled")
    (shop / "qrels.parquet").unlink()
    (shop / "shop.json").unlink(missing_ok=True)
    refused(shop, tmp_path / "deep" / "run", ConfigError, "judge='labels': no train query of .* has a label")


def test_a_shop_without_a_dev_query_is_refused(shop_folder: Path, tmp_path: Path) -> None:
    shop = shutil.copytree(shop_folder, tmp_path / "undivided")
    queries = pq.read_table(shop / "queries.parquet")
    at = queries.column_names.index("split")
    train = pa.array(["train"] * len(queries))
    pq.write_table(queries.set_column(at, "split", train), shop / "queries.parquet")
    refused(shop, tmp_path / "deep" / "run", ConfigError, "has no dev query")


def test_a_file_or_a_run_in_the_way_of_out_is_refused_and_kept(shop_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path / "notes.txt", tmp_path / "notes.txt" / "run"):
        with pytest.raises(RunFolderError, match=r"notes\.txt.*name another `out`"):
            main(Args(shop=str(shop_folder), out=out, judge="labels"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(RunFolderError, match="holds a run already"):
        main(Args(shop=str(shop_folder), out=tmp_path / "run", judge="nosuch"))
    assert (tmp_path / "notes.txt").read_text() == "mine" and (tmp_path / "run" / "config.json").read_text() == "{}"
