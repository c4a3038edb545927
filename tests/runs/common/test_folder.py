"""A run folder is created once, resumed only with the same settings, and holds settings and environment."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from qr_env.common.errors import RunFolderError
from runs.common.folder import CONFIG_FILE, open_run

FACTS = {"shop": "abc", "seed": 0}


@dataclass
class Args:
    out: Path = Path("out/x")
    updates: int = 3


def test_a_new_run_has_its_settings_facts_and_environment(tmp_path):
    open_run(tmp_path / "deep" / "run", Args(), FACTS, resume=False)
    saved = json.loads((tmp_path / "deep" / "run" / CONFIG_FILE).read_text())
    assert saved["args"] == {"out": "out/x", "updates": 3}
    assert saved["facts"] == FACTS
    assert set(saved["environment"]) == {"commit", "machine", "versions"}


def test_a_folder_with_a_run_is_refused_and_not_changed(tmp_path):
    open_run(tmp_path, Args(updates=3), FACTS, resume=False)
    before = (tmp_path / CONFIG_FILE).read_bytes()
    with pytest.raises(RunFolderError, match="`resume`"):
        open_run(tmp_path, Args(updates=9), FACTS, resume=False)
    assert (tmp_path / CONFIG_FILE).read_bytes() == before


def test_a_run_is_resumed_and_its_config_stays(tmp_path):
    open_run(tmp_path, Args(), FACTS, resume=False)
    before = (tmp_path / CONFIG_FILE).read_bytes()
    open_run(tmp_path, Args(), FACTS, resume=True)
    assert (tmp_path / CONFIG_FILE).read_bytes() == before


def test_another_shop_is_refused_with_both_hashes(tmp_path):
    open_run(tmp_path, Args(), FACTS, resume=False)
    with pytest.raises(RunFolderError, match=r"another shop \('abc', now 'xyz'\)"):
        open_run(tmp_path, Args(), {**FACTS, "shop": "xyz"}, resume=True)


def test_another_setting_is_refused_unless_it_is_free(tmp_path):
    open_run(tmp_path, Args(), FACTS, resume=False)
    open_run(tmp_path, Args(updates=9), FACTS, resume=True)
    open_run(tmp_path, Args(Path("y"), updates=9), FACTS, resume=True, free=("out", "updates"))
    with pytest.raises(RunFolderError, match=r"another updates \(3, now 9\); continue with the run's own"):
        open_run(tmp_path, Args(updates=9), FACTS, resume=True, free=("out",))


def test_resuming_without_a_run_is_refused_and_creates_nothing(tmp_path):
    with pytest.raises(RunFolderError, match="without `resume`"):
        open_run(tmp_path / "none", Args(), FACTS, resume=True)
    assert not (tmp_path / "none").exists()
