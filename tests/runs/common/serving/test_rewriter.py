"""Rewriters of the serving verbs: by name, checkpoint, run folder and `serve.json`, with the settings of their run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from agents.policy.fast.export import export_student
from qr_env.common.errors import ConfigError, QrError
from qr_env.shop.sources.files import write_shop
from runs.common.serving.args import RewriterArgs
from runs.common.serving.rewriter import open_rewriter, plan_rewriter
from runs.common.serving.rows import rewritten_batch
from runs.common.serving_choice import ServingChoice, write_serving_choice
from tests.helpers.fakes import tiny_shop
from tests.helpers.models import student_trained_on


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run folder: config.json, serve.json, checkpoints/best."""
    folder = tmp_path_factory.mktemp("serving") / "run"
    shop = tiny_shop()
    write_shop(shop, folder.parent / "shop")
    student = student_trained_on([("couch", "sofa"), ("fridge", "refrigerator")])
    student.combine, student.weight = "expand", 2.0
    (folder / "checkpoints" / "best").mkdir(parents=True)
    student.save(folder / "checkpoints" / "best")
    args = {"shop": str(folder.parent / "shop"), "retriever": "bm25", "judge": "blend", "data": None, "language": ""}
    (folder / "config.json").write_text(json.dumps({"args": args, "facts": {}}))
    choice = ServingChoice(
        serve="online", agent_spec="checkpoints/best", reason="because", combine="expand", original_weight=3.0,
        retriever="bm25:k1=2", judge="blend", shop_hash="", products_hash="", max_worse=0.1, alpha=0.05, gradings=[],
    )  # fmt: skip
    write_serving_choice(folder, choice)
    return folder


def test_a_run_folder_names_rewriter_engine_shop_and_judge(run, own_cache) -> None:
    plan = plan_rewriter(str(run), RewriterArgs())
    assert plan.spec == str(run / "checkpoints" / "best") and plan.shop == str(run.parent / "shop")
    assert (plan.retriever, plan.combine, plan.weight, plan.trained_by) == ("bm25:k1=2", "expand", 3.0, "blend")
    assert plan_rewriter(str(run / "serve.json"), RewriterArgs()) == plan


def test_flags_come_before_the_run_s_settings(run) -> None:
    plan = plan_rewriter(str(run), RewriterArgs(shop="generated", retriever="dense", combine="replace", weight=1.5))
    assert (plan.shop, plan.retriever, plan.combine, plan.weight) == ("generated", "dense", "replace", 1.5)


def test_a_checkpoint_brings_how_it_was_trained_and_the_shop_of_its_run(run, own_cache) -> None:
    opened = open_rewriter(str(run / "checkpoints" / "best"), RewriterArgs())
    assert (opened.combine, opened.weight, opened.shop.hash) == ("expand", 2.0, tiny_shop().hash)
    rows = rewritten_batch(opened, ["couch", "zzz", "couch"], [5.0, 1.0, 2.0])
    assert rows[0].words[0].word == "sofa" and rows[0].words[0].source == "student"
    assert [row.frequency for row in rows] == [5.0, 1.0, 2.0] and rows[0].model == opened.version


def test_a_moved_folder_is_opened_from_where_it_is(run, tmp_path, own_cache) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    assert plan_rewriter(str(moved), RewriterArgs()).spec == str(moved / "checkpoints" / "best")


def test_an_exported_student_is_opened_like_its_checkpoint(run, tmp_path, own_cache) -> None:
    export_student(run / "checkpoints" / "best", tmp_path / "fast")
    opened = open_rewriter(str(tmp_path / "fast"), RewriterArgs(shop=str(run.parent / "shop")))
    assert opened.weight == 2.0 and opened.agent.rewrite(["couch"]) == [["sofa"]]


def test_the_version_changes_with_the_content(run, tmp_path, own_cache) -> None:
    flags = RewriterArgs(shop=str(run.parent / "shop"))
    copy = tmp_path / "best"
    shutil.copytree(run / "checkpoints" / "best", copy)
    before = open_rewriter(str(copy), flags).version
    settings = json.loads((copy / "student.json").read_text())
    (copy / "student.json").write_text(json.dumps(settings | {"weight": 9.0}))
    assert open_rewriter(str(copy), flags).version.partition("@")[2] != before.partition("@")[2]
    assert open_rewriter("identity", flags).version.startswith("identity@")


@pytest.mark.parametrize("agent", ["nobody", "out/none", "suggest:none.json", "identity:x"])
def test_an_unknown_rewriter_is_refused_by_its_name(agent, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QrError, match=agent.partition(":")[0]):
        plan_rewriter(agent, RewriterArgs())


def test_a_damaged_config_is_named(run, tmp_path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json is damaged"):
        plan_rewriter(str(copy), RewriterArgs())
