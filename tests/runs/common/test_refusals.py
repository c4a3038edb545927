"""Every verb refuses what can be known before it reads the shop: judges, agents, servers, files, folders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qr_env.shop import load_shop
from qr_env.shop.readers.options import ReadOptions
from runs.common.cli import main

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("own_cache")]

DEAD = "http://127.0.0.1:9/v1"


@pytest.fixture
def no_shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to work in, and a name of a shop that nobody may read."""
    monkeypatch.chdir(tmp_path)

    def read(source: str, *_: object) -> None:
        raise AssertionError(f"{source} was read before the settings were checked")

    monkeypatch.setattr("qr_env.shop.load._load", read)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"evaluate --judge llm --judge-url {DEAD}", "--judge llm: .*is the judge's server up"),
        ("evaluate --judge nosuch", "--judge nosuch: no 'nosuch' among"),
        ("evaluate --judge labels --agent magic", "--agent magic: neither one of identity"),
        ("evaluate --judge labels --agent best-of-4:magic", "--agent magic: neither one of identity"),
        ("evaluate --judge labels --agent words:nowhere", r"words:nowhere.*qr headroom SHOP --out nowhere"),
        ("evaluate --judge labels --agent rewrites:nowhere.csv", "nowhere.csv"),
        (f"evaluate --judge labels --agent prompted:{DEAD}", "server up"),
        ("evaluate --judge labels --agent suggest-with:titles+fame", "no source of suggestions 'fame'"),
        ("evaluate --judge labels --run-in nothing.trec", r"--run-in nothing\.trec: no such file"),
        ("evaluate --judge labels --json taken", "--json taken: is a folder"),
        ("evaluate --judge labels --json taken/config.json/x.json", "is a file, no folder"),
        ("evaluate --judge labels --agent suggest:none.json", r"--agent suggest:none\.json: none\.json"),
        ("evaluate --judge labels --agent synonyms:none.txt", r"--agent synonyms:none\.txt: "),
        ("evaluate --judge labels --retriever bm26", "--retriever bm26: no 'bm26' among"),
        ("evaluate --judge labels --k 0", "--k 0: must be 1 or more"),
        ("evaluate --judge labels --limit 0", "--limit 0: must be 1 or more"),
        ("evaluate --judge labels --weight -1", "--weight -1: must be above 0"),
        ("evaluate --judge labels --cache taken/config.json/x", "--cache taken/config.json/x: .*is a file, no folder"),
        ("shop generated --write taken", "--write taken exists and is not empty"),
        ("shop generated --engine-out e.json", "--engine-out writes what --check-engine finds"),
        ("shop generated --json taken", "--json taken: is a folder"),
        ("suggest --judge nosuch", "--judge nosuch: no 'nosuch' among"),
        ("suggest --limit 0", "--limit 0: must be 1 or more"),
        ("suggest --out taken", "--out taken: is a folder"),
        ("headroom --judge nosuch", "--judge nosuch: no 'nosuch' among"),
        ("pairs --judge nosuch", "--judge nosuch: no 'nosuch' among"),
        ("pairs --sources fame", "--sources fame: choose log, graph"),
        ("pairs --sources none.csv", r"--sources none\.csv: no such file"),
        ("pairs --sources teacher:magic", "--agent magic: neither"),
        ("pairs --confirm perhaps", "--confirm perhaps: choose engine"),
        ("recipe nosuch", "no recipe 'nosuch'"),
        ("recipe offline --judge nosuch", "--judge nosuch: no 'nosuch' among"),
        ("recipe offline --judge llm", "--judge llm: no server"),
        ("recipe offline --out taken", "taken holds a run already; continue it with --resume, or name another --out"),
        ("recipe offline --seeds 1 1", "--seeds"),
        (f"judge calibrate --judge llm --url {DEAD}", "--judge llm: .*is the judge's server up"),
        ("judge calibrate --judge labels,nosuch", "--judge nosuch: no 'nosuch' among"),
        ("judge probe --judge nosuch", "--judge nosuch: no 'nosuch' among"),
        ("judge shopper --judge nosuch", "--judge nosuch: no 'nosuch' among"),
        ("judge shopper --log nothing.csv", r"--log nothing\.csv: no such file"),
        ("judge distill --teacher nosuch", "--teacher nosuch: no 'nosuch' among"),
        ("judge distill --out taken", "taken holds a run already"),
        (f"judge distill --teacher llm --judge-url {DEAD}", "--teacher llm: .*is the judge's server up"),
        ("online generated --replay no_such.csv", r"--replay no_such\.csv: no such file"),
        ("online generated --out taken", "taken holds a run already; continue it with --resume, or name another --out"),
        ("online generated --out taken/config.json", "config.json is a file; name another --out"),
        ("online generated --replay taken/config.json", r"config\.json"),
        ("online generated --optimizer adam", "--optimizer adam: no 'adam' among"),
        ("online generated --reward-scheme fame", "--reward-scheme fame: no 'fame' among"),
        ("online generated --student ./nowhere", r"--student \./nowhere: .*no such folder; give a local folder"),
        ("online generated --set evaluation.suggest=none.json", r"--set evaluation\.suggest=none\.json: none\.json"),
        ("online generated --set suggestions.sources=titlez", "no source of suggestions 'titlez'"),
        ("online generated --drift storm", "--drift storm: no such file, and no preset"),
    ],
)
def test_refused_before_the_shop_is_read(
    no_shop: Path, command: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path for path in no_shop.rglob("*") if "cache" not in path.parts)
    with pytest.raises(SystemExit, match="1"):
        main(command.split())
    assert re.search(message, capsys.readouterr().err)
    assert sorted(path for path in no_shop.rglob("*") if "cache" not in path.parts) == before


def test_a_dirty_row_names_a_flag_that_the_verb_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "products.csv").write_text("product_id,title\n1,sofa\n,desk\n3,lamp\n")
    (tmp_path / "queries.csv").write_text("query\nsofa\n\ndesk\nlamp\n")
    for verb in ("evaluate --judge coverage --shop", "play", "judge probe --judge coverage --shop", "suggest"):
        with pytest.raises(SystemExit, match="1"):
            main([*verb.split(), str(tmp_path)])
        assert "products.csv:3: missing product_id: '' (--on-bad-row skip leaves" in capsys.readouterr().err


def test_the_summary_says_of_which_files_the_rows_were(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("product_id,title\n1,sofa\n,desk\n3,lamp\n")
    (tmp_path / "queries.csv").write_text('query,frequency\nsofa,1\n"",2\ndesk,1\nlamp,1\n')
    report = load_shop(str(tmp_path), options=ReadOptions(on_bad_row="skip")).report
    assert report is not None
    assert "rows were invalid and left out (products.csv 1 of 3, queries.csv 1 of 4):" in report.summary()
