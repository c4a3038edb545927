"""The files of a run folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from qr_env.common.errors import ConfigError, RunFolderError
from qr_env.evaluation.result import Evaluation
from qr_env.shop.shop import Shop
from runs.report.run_files import read_json_lines, write_eval


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


def test_personal_data_in_queries_is_masked(tmp_path: Path, shop: Shop, evaluations: dict[str, Evaluation]) -> None:
    spell = evaluations["spell"]
    queries = [dataclasses.replace(query, text=f"{query.text} bob@mail.de") for query in spell.queries]
    typed = dataclasses.replace(spell, queries=queries, rewrites=["call 030 1234567"] * len(queries))
    text = write_eval(tmp_path / "run", {"spell": typed}, shop).read_text()
    assert "<email>" in text and "<phone>" in text
    assert "bob@" not in text and "1234567" not in text


def test_an_incomplete_last_line_is_dropped_and_a_broken_one_before_it_is_named(run_folder: Path) -> None:
    assert len(read_json_lines(run_folder / "metrics.jsonl")) == 4
    (run_folder / "metrics.jsonl").write_text('{"update": 1\n{"update": 2}\n')
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl:1"):
        read_json_lines(run_folder / "metrics.jsonl")
