"""Queries generated from a catalogue: the same for every seed of a run, and only for shops without purchases."""

from dataclasses import replace

import pytest

from qr_env.shop import load_shop
from qr_env.shop.sources.files import write_shop
from runs.common.query_log import load_training_shop, with_query_log
from runs.recipe.args import Args as RecipeArgs
from runs.recipe.job import run_stages
from runs.recipe.load import load_recipe
from tests.helpers.fakes import tiny_shop


@pytest.fixture
def folder(tmp_path):
    """A shop in which nothing was bought."""
    shop = tiny_shop()
    write_shop(replace(shop, purchases=shop.purchases.slice(0, 0)), tmp_path / "shop")
    (tmp_path / "empty.yaml").write_text("about: no stages\nstages: {}\ncompare: []\n")
    return tmp_path


def test_every_seed_of_a_recipe_and_its_online_stages_learn_in_one_shop(folder, tmp_path):
    shop, out = str(folder / "shop"), tmp_path / "recipe"
    recipe = load_recipe(folder / "empty.yaml")
    runs = run_stages(
        recipe, RecipeArgs(str(folder / "empty.yaml"), shop=shop, out=out, seeds=(3, 0)), out, load_shop(shop)
    )
    hashes = [run.context.shop.hash for run in runs]
    assert hashes == [load_training_shop(shop).hash] * 2


def test_a_shop_with_purchases_is_left_as_it_is():
    shop = tiny_shop()
    assert with_query_log(shop) is shop
