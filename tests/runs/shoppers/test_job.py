"""`qr shoppers`: the table, its files, refusals; and visits to a running `qr serve`, whose log holds what happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qr_env.common.errors import ConfigError
from qr_env.shop.sources.files import write_shop
from qr_env.traffic.ubi import read_ubi
from runs.shoppers.args import Args
from runs.shoppers.job import main
from tests.helpers.fakes import tiny_shop
from tests.helpers.live_service import LiveService


@pytest.fixture
def shop(tmp_path, own_cache):
    write_shop(tiny_shop(), tmp_path / "shop")
    return str(tmp_path / "shop")


def test_rewriters_are_compared_on_the_same_users_and_files_are_written(shop, tmp_path, capsys) -> None:
    args = Args(
        shop=shop, agent=("identity", "repair"), users=120, days=4, split="train", judge="labels", out=tmp_path / "log"
    )
    main(args)
    report = json.loads((tmp_path / "log" / "shoppers.json").read_text())
    figures = report["figures"]
    assert list(figures) == ["identity", "repair"] and report["judge"] == "labels"
    assert figures["identity"]["UCVR"]["change"] == 0
    assert figures["repair"]["transactions"]["value"] >= figures["identity"]["transactions"]["value"]
    log = read_ubi(tmp_path / "log")
    assert len(log.queries) == report["searches of the last"]
    assert "GMV a session" in capsys.readouterr().out


def test_exploration_writes_its_probabilities(shop, tmp_path) -> None:
    main(
        Args(shop=shop, agent=("repair",), users=120, days=4, split="train", judge="labels", explore=0.5, out=tmp_path)
    )
    found = {round(one.propensity, 3) for one in read_ubi(tmp_path).queries}
    assert found == {1.0, 0.75, 0.25}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": 0}, "users=0"),
        ({"agent": ("nobody",)}, "agent='nobody'"),
        ({"agent": ()}, "name a rewriter"),
        ({"url": "localhost:1"}, "must begin with http"),
        ({"judge": "nobody"}, "judge"),
        ({"explore": 2.0}, r"explore=2\.0"),
    ],
)
def test_what_is_wrong_is_said_before_the_shop_is_read(changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        main(Args(**({"shop": "no such shop"} | changes)))


@pytest.mark.live
def test_a_running_service_is_visited_and_its_log_holds_what_shoppers_did(shop, tmp_path) -> None:
    log, out = tmp_path / "events", tmp_path / "visits"
    with LiveService(Path(shop), "repair", "--log", str(log)) as service:
        main(Args(shop=shop, url=service.url, users=40, days=3, split="train", judge="labels", out=out))
    served, visited = read_ubi(log), read_ubi(out)
    assert len(served.queries) == len(visited.queries) > 20
    assert {one.query_id for one in served.queries} == {one.query_id for one in visited.queries}
    assert {one.event_id for one in served.events} == {one.event_id for one in visited.events}
    assert not {one.session_id for one in served.queries} & {one.session_id for one in visited.queries}
