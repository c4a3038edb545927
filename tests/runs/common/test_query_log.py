"""A made-up past: one shop whatever the seed of the run, and only where nothing was bought."""

from dataclasses import replace

import pytest

from qr_env.shop.sources.files import write_shop
from runs.common import query_log as past
from runs.online.args import Args
from runs.recipe.job import Args as RecipeArgs
from runs.recipe.job import load, walk
from tests.helpers.fakes import tiny_shop


@pytest.fixture
def folder(tmp_path):
    """A shop in which nothing was bought."""
    shop = tiny_shop()
    write_shop(replace(shop, purchases=shop.purchases.slice(0, 0)), tmp_path / "shop")
    (tmp_path / "empty.yaml").write_text("about: no stages\nstages: {}\ncompare: []\n")
    return tmp_path


def test_every_seed_of_a_recipe_and_its_online_stages_learn_in_one_shop(folder, tmp_path):
    where = str(folder / "shop")
    online = [past.read_shop(Args(shop=where, out=tmp_path / "out", seed=seed)).hash for seed in (0, 3)]
    recipe = folder / "empty.yaml"
    roads = walk(RecipeArgs(str(recipe), shop=where, out=tmp_path / "recipe", seeds=(3, 0)), load(recipe))
    assert {road.shop.hash for road in roads} == set(online)
    assert len(set(online)) == 1


def test_a_shop_with_purchases_is_left_as_it_is():
    shop = tiny_shop()
    assert past.with_query_log(shop) is shop
