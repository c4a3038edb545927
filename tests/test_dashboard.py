"""W&B's pages as code: they show what runs log, under its names, and say clearly when they cannot be built."""

import json
import os

import pytest

from agents.tracking import figures_of
from qr_env.errors import ConfigError
from qr_env.shops.files import write_shop
from runs.dashboard import Args, main, metrics_of, pages, publish, specification
from tests.fakes import tiny_shop

TABLES = {"samples", "promotion/decisions", "evaluation by slice"}  # read back in test_tracking.py
OLD_PYDANTIC = pytest.mark.filterwarnings("ignore:.*Pydantic V1 style:DeprecationWarning")  # wandb-workspaces has it
SMALL = {"pretrain": 128, "warm_queries": 20, "updates": 2, "prompts": 4, "group_size": 4, "evaluate_every": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small guarded run with a tracker, to its end."""
    from runs import online

    folder = tmp_path_factory.mktemp("runs")
    write_shop(tiny_shop(), folder / "shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QR_CACHE", str(folder / "cache"))
        serving = online.PromotionFlags(promotion="on")
        settings = SMALL | {"judge": "labels", "serving": serving, "tracker": ("tensorboard",)}
        online.main(online.Args(shop=str(folder / "shop"), out=folder / "run", **settings))
    return folder / "run"


def lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_the_pages_show_only_what_a_run_logs(finished):
    logged = {name for line in lines(finished / "metrics.jsonl") for name in figures_of(line)}
    shown = metrics_of(specification("me", "qr-env"))
    assert set(shown) - TABLES - logged == set()
    assert {"eval/nDCG@10", "eval/judge nDCG@10", "reward", "serve/gain"} <= set(shown)


def test_the_run_told_its_tracker_the_same_as_its_files(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished / "tensorboard"))
    events.Reload()
    rewards = [(line["update"], line["reward"]) for line in lines(finished / "metrics.jsonl") if "reward" in line]
    told = [(point.step, pytest.approx(point.value)) for point in events.Scalars("reward")]
    assert rewards == told
    assert {"spread/reward", "spread/advantage", "spread/completions/length"} <= set(events.Tags()["histograms"])
    texts = {"config", "samples", "promotion", "evaluation by slice"}
    assert {f"{name}/text_summary" for name in texts} <= set(events.Tags()["tensors"])
    assert "test/online/nDCG@10" in events.Tags()["scalars"]


def test_samples_show_what_was_found_and_its_grades(finished):
    samples = lines(finished / "samples.jsonl")
    hits = [hit for row in samples for name in ("hits_before", "hits_after") for hit in row[name]]
    assert hits and {hit["title"] for hit in hits} <= set(tiny_shop().titles)
    assert {hit["level"] for hit in hits} <= {-1, 0, 1, 2, 3} and any(hit["level"] == 3 for hit in hits)


def test_the_report_tells_what_each_word_was_worth(finished):
    told = json.loads((finished / "eval.json").read_text(encoding="utf-8"))["examples"]
    examples = [example for group in told.values() for example in group]
    assert all(bool(example["words"]) != example["kept"] for example in examples)


def test_a_dry_run_writes_the_specification_and_builds_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("runs.dashboard.publish", None)
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
def stranger(tmp_path, monkeypatch):
    """Nobody whom W&B knows; it reads the environment once a process, so it is made to forget before and after."""
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
@pytest.mark.usefixtures("stranger")
def test_without_an_account_it_says_so():
    with pytest.raises(ConfigError, match=r"could not be reached as your account: No API key.*--dry-run"):
        main(Args(entity="me"))
