"""`qr ope` on a log that simulated shoppers left, and its refusals."""

import json
import math

import numpy as np
import pytest

from agents.serving.exploration import Explorer
from qr_env.common.errors import ConfigError, DataError
from qr_env.shop.sources.files import write_shop
from qr_env.traffic.ubi import ServedQuery, ShopperEvent, event_line, query_line
from runs.common.serving.args import RewriterArgs
from runs.common.serving.rewriter import open_rewriter
from runs.ope.args import Args
from runs.ope.job import main
from tests.helpers.fakes import tiny_shop

QUERIES = ("runing shoos", "sofa", "frosta fridge black")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ope")
    write_shop(tiny_shop(), folder / "shop")
    return folder


def write_log(folder, name, epsilon):
    """1,200 searches, served by `repair`; the corrected spelling sells at 0.6, all else at 0.2."""
    flags = RewriterArgs(shop=str(folder / "shop"), cache=str(folder / "cache"))
    explorer, rng = Explorer(open_rewriter("repair", flags).agent, epsilon, 2), np.random.default_rng(2)
    asked = [QUERIES[at] for at in rng.integers(0, len(QUERIES), 1_200).tolist()]
    (folder / name).mkdir()
    queries, events = [], []
    for number, (query, (rewrite, propensity)) in enumerate(
        zip(asked, explorer.choose(asked, range(1_200)), strict=True)
    ):
        queries.append(
            query_line(ServedQuery(f"i{number}", query, f"s{number // 2}", rewrite=rewrite, propensity=propensity))
        )
        if rng.random() < (0.6 if rewrite == "running shoes" else 0.2):
            events.append(event_line(ShopperEvent(f"i{number}", "purchase", "p1", price=10.0)))
    (folder / name / "ubi_queries.ndjson").write_text("\n".join(queries))
    (folder / name / "ubi_events.ndjson").write_text("\n".join(events))
    return folder / name


def args(folder, log, **more):
    return Args(log=log, shop=str(folder / "shop"), cache=str(folder / "cache"), json=str(log / "ope.json"), **more)


@pytest.mark.parametrize("model", ["fitted", "simulator"])
def test_values_of_both_policies(folder, capsys, model):
    log = write_log(folder, f"log_{model}", 0.6)
    main(args(folder, log, agent=("identity", "repair"), reward=("purchase", "revenue"), model=model, judge="labels"))
    found = json.loads((log / "ope.json").read_text())["rewards"]
    for agent, truth in {"identity": 0.2, "repair": (0.2 + 0.2 + 0.6) / 3}.items():
        for values in found["purchase"][agent]["estimates"].values():
            assert values["low"] < truth < values["high"]
        for name in ("ips", "snips"):
            money = found["revenue"][agent]["estimates"][name]["value"]
            assert money == pytest.approx(10 * found["purchase"][agent]["estimates"][name]["value"])
    assert "purchase a search" in capsys.readouterr().out


def test_a_log_without_exploration_is_refused_for_other_rewriters(folder, capsys):
    log = write_log(folder, "certain", 0.0)
    main(args(folder, log, agent=("identity", "repair"), reward=("purchase",)))
    found = json.loads((log / "ope.json").read_text())["rewards"]["purchase"]
    assert "every logged probability is 1" in found["identity"]["refused"]
    same = found["repair"]["estimates"]["ips"]["difference"]
    assert all(math.isclose(one, 0.0, abs_tol=1e-12) for one in same.values())
    assert "refused: identity" in capsys.readouterr().out
    with pytest.raises(DataError, match="no candidate has support"):
        main(args(folder, log, agent=("identity",), reward=("purchase",)))


def test_flags_are_refused_before_anything_is_loaded(folder, tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        main(args(folder, tmp_path / "none"))
    with pytest.raises(ConfigError, match="name a candidate"):
        main(args(folder, tmp_path, agent=()))
    with pytest.raises(DataError, match="holds no ubi_queries"):
        main(args(folder, tmp_path))
