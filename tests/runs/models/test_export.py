"""`qr models export` compares before it replaces: a refused export leaves what was there."""

from __future__ import annotations

import json

import pytest

from agents.policy.fast.facts import FastFacts, is_exported
from qr_env.common.errors import ConfigError
from qr_env.shop.sources.files import write_shop
from runs.models.args import Args
from runs.models.export import export
from tests.helpers.fakes import tiny_shop
from tests.helpers.models import student_trained_on


@pytest.fixture
def command(tmp_path, own_cache):
    student_trained_on([("couch", "sofa")]).save(tmp_path / "checkpoint")
    write_shop(tiny_shop(), tmp_path / "shop")
    names, out = (str(tmp_path / "checkpoint"),), tmp_path / "out" / "fast"
    return Args("export", names, out=out, shop=str(tmp_path / "shop"), json=str(tmp_path / "figures.json"))


def test_equal_rewrites_are_counted_and_a_refused_export_leaves_the_one_before(command) -> None:
    export(command)
    figures = json.loads((command.out.parent.parent / "figures.json").read_text())
    assert figures["equal"] == 1 and figures["queries"] > 0
    before = FastFacts.read(command.out)
    command.min_equal, command.quantization = 1.01, "int8"
    with pytest.raises(ConfigError, match="rewrites are the checkpoint's"):
        export(command)
    assert FastFacts.read(command.out) == before
    command.force = True
    export(command)
    assert FastFacts.read(command.out).quantization == "int8"


def test_a_folder_that_holds_something_else_is_refused_and_kept(command) -> None:
    command.out.mkdir(parents=True)
    (command.out / "notes.txt").write_text("kept")
    with pytest.raises(ConfigError, match="no exported student"):
        export(command)
    assert (command.out / "notes.txt").read_text() == "kept" and not is_exported(command.out)
