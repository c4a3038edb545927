"""A tiny shop with a hostile title, three evaluations on it, and the folder of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from agents.baselines.classic import Identity, Oracle, Spell
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.result import Evaluation
from qr_env.shop.shop import Shop
from runs.report.run_files import write_eval
from tests.helpers.fakes import WordRetriever, tiny_shop

EVIL = "<script>alert('x')</script>"


class Tags(HTMLParser):
    """Collects what a page would run or load, and checks that tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.loads += [tag] if tag in ("script", "link", "iframe", "object", "img") else []
        if tag not in ("meta", "br", "line", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "path", "circle"):
            assert self.open.pop() == tag


def assert_well_formed(page: str) -> None:
    """Every tag is closed, nothing is loaded, and no hostile text is unescaped."""
    tags = Tags()
    tags.feed(page)
    assert tags.loads == [] and tags.open == []
    assert EVIL not in page


@pytest.fixture(scope="package")
def shop() -> Shop:
    shop = tiny_shop()
    titles = shop.products["title"].to_pylist()
    titles[0] = f"{titles[0]} {EVIL}"
    return replace(shop, products=shop.products.set_column(1, "title", [titles]))


@pytest.fixture(scope="package")
def evaluator(shop: Shop) -> HeldOutEvaluator:
    return HeldOutEvaluator(shop, WordRetriever(shop), "train")


@pytest.fixture(scope="package")
def evaluations(shop: Shop, evaluator: HeldOutEvaluator) -> dict[str, Evaluation]:
    return {agent.name: evaluator.evaluate(agent) for agent in (Identity(), Spell(shop), Oracle(shop))}


@pytest.fixture
def run_folder(tmp_path: Path, shop: Shop, evaluations: dict[str, Evaluation]) -> Path:
    folder = tmp_path / "my-run"
    write_eval(folder, evaluations, shop)
    rows: list[dict[str, object]] = [
        {"update": 0, "phase": "eval", "eval/nDCG@10": 0.4321, "eval/identity/nDCG@10": 0.3987},
        {"update": 1, "phase": "online", "reward": 0.1, "kl": float("nan"), "episodes": 64},
        {"update": 2, "phase": "online", "reward": 0.2, "kl": 0.01, "episodes": 128},
        {"update": 2, "phase": "eval", "eval/nDCG@10": 0.5, "eval/identity/nDCG@10": 0.3987},
    ]
    rows[2]["eval/oracle/nDCG@10"] = 0.9123
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines + '{"update": 3, "rew')
    times = [{"update": number, "episodes": 64 * number, "seconds": 2.0 * number} for number in (1, 2)]
    (folder / "timings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in times))
    config = {
        "args": {"shop": EVIL, "student": "tiny"},
        "environment": {"commit": "abc1234", "machine": {"cores": 2, "cpu": "x", "memory_gib": 1.0, "os": "Linux"}},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder
