"""The verbs on shops in other languages: described, evaluated, resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qr_env.common.errors import ConfigError, RunFolderError
from qr_env.shop.load import load_shop
from qr_env.shop.readers.options import ReadOptions
from runs.common.folder import CONFIG_FILE, open_run
from runs.evaluate.args import Args
from runs.evaluate.job import language_of_runs, main
from runs.online.job import run_facts
from runs.shop.args import Args as ShopArgs
from runs.shop.job import main as describe_shop
from tests.helpers.shops.languages import write_files


@pytest.mark.parametrize("code", ["de", "ja", "zh", "ko", "ar", "ru"])
def test_a_shop_is_evaluated_in_its_language(code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_files(code, tmp_path / code)
    common = {"shop": str(shop), "cache": str(tmp_path / "cache"), "split": "train", "k": 10}
    main(Args(**common, agent=("repair", "spell", "rm3"), judge="coverage", json="-"))
    report = json.loads(capsys.readouterr().out)
    for agent in ("repair", "spell"):
        metrics = report["agents"][agent]["summary"]["all"]["metrics"]
        assert metrics["kept"]["mean"] == 1.0, "correctly spelled queries are left alone"
        assert metrics["zero results"]["mean"] == 0.0


def test_qr_shop_prints_the_language_and_what_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_files("fr", tmp_path / "fr")
    describe_shop(ShopArgs(source=str(shop), samples=0))
    assert "French (fr), told by noir, blanc, rouge, vert" in capsys.readouterr().out
    describe_shop(ShopArgs(source=str(shop), samples=0, language="de"))
    assert "German (de), given" in capsys.readouterr().out


def checkpoint_of_run(folder: Path, shop: str, language: str) -> str:
    checkpoint = folder / "checkpoints" / "best"
    checkpoint.mkdir(parents=True)
    (checkpoint / "student.json").write_text("{}")
    (folder / CONFIG_FILE).write_text(json.dumps({"args": {"shop": shop, "language": language}}))
    return str(checkpoint)


def test_a_checkpoint_is_evaluated_in_the_language_that_its_run_was_given(tmp_path: Path) -> None:
    german = checkpoint_of_run(tmp_path / "a", "my_shop", "de")
    told = checkpoint_of_run(tmp_path / "b", "my_shop", "")
    french = checkpoint_of_run(tmp_path / "c", "my_shop", "fr")
    assert language_of_runs([german, told, "spell"], "my_shop") == "de"
    assert language_of_runs([german], "another_shop") == "" and language_of_runs([told], "my_shop") == ""
    with pytest.raises(ConfigError, match="checkpoints differ in language"):
        language_of_runs([german, french], "my_shop")


def test_a_run_is_not_resumed_in_another_language(tmp_path: Path) -> None:
    shop = load_shop(str(write_files("ja", tmp_path / "ja")))
    open_run(tmp_path / "run", ReadOptions(), run_facts(shop), resume=False)
    with pytest.raises(RunFolderError, match=r"another language of the shop \('ja', now 'zh'\)"):
        open_run(tmp_path / "run", ReadOptions(), run_facts(replace(shop, language="zh")), resume=True)
