"""The pages of W&B as a specification, and the errors when they cannot be built.

tests/runs/online checks that runs log the metrics that the pages show.
"""

import json
import os

import pytest

from qr_env.common.errors import ConfigError
from runs.dashboard.args import Args
from runs.dashboard.job import main, metrics_of, pages, publish, specification

OLD_PYDANTIC = pytest.mark.filterwarnings("ignore:.*Pydantic V1 style:DeprecationWarning")  # wandb-workspaces has it


def test_a_dry_run_writes_the_specification_and_builds_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("runs.dashboard.job.publish", None)
    main(Args(dry_run=True, json=str(tmp_path / "spec.json")))
    assert json.loads((tmp_path / "spec.json").read_text()) == specification("", "qr-env")
    assert "nothing was built" in capsys.readouterr().out


@OLD_PYDANTIC
def test_the_specification_becomes_pages_of_wandb():
    spec = specification("me", "qr-env")
    workspace, report = pages(spec)
    names = [section["name"] for section in spec["sections"]]
    assert [section.name for section in workspace.sections] == names
    assert [block.text for block in report.blocks if hasattr(block, "text") and block.text in names] == names
    grids = [block.panels for block in report.blocks if hasattr(block, "panels")]
    for sections in ([section.panels for section in workspace.sections], grids):
        panels = [panel for some in sections for panel in some]
        shown = [name for panel in panels for name in getattr(panel, "y", None) or [panel.table_name]]
        assert [getattr(name, "name", name) for name in shown] == metrics_of(spec)
        assert {panel.x for panel in panels if hasattr(panel, "y")} == {"update"}


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_offline_is_refused_with_the_way_out(monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(ConfigError, match=rf"WANDB_MODE={mode}.*--dry-run"):
        publish(specification("", "qr-env"))


@pytest.fixture
def no_account(tmp_path, monkeypatch):
    """An environment without a W&B account; W&B reads the environment once a process, so its state is reset."""
    import wandb

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()
    yield
    wandb.teardown()


@OLD_PYDANTIC
@pytest.mark.live
@pytest.mark.usefixtures("no_account")
def test_a_missing_account_is_reported():
    with pytest.raises(ConfigError, match=r"could not be reached as your account: No API key.*--dry-run"):
        main(Args(entity="me"))
