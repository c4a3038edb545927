"""Recipe files: those of the repository are valid; invalid ones are refused with the reason; profiles change values."""

import pytest

from qr_env.common.errors import ConfigError
from runs.recipe.load import find_recipe, load_recipe, recipe_names
from tests.runs.recipe.small_recipe import SMALL, write_recipe


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_every_recipe_in_the_repository_is_valid(name, profile):
    recipe = load_recipe(find_recipe(name), profile)
    assert recipe.compare
    assert recipe.claims
    assert set(recipe.compare) <= set(recipe.stages)


def test_the_four_systems_are_there():
    assert set(recipe_names()) >= {"beque", "jd", "minielm", "walmart"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": {"base": {"kind": "bake"}}}, "is of kind 'bake'"),
        ({"stages": {"a": {"kind": "sft", "start": "b", "examples": []}}}, "reads 'b'"),
        ({"stages": {"base": {"kind": "base", "layer": 2}}}, "unknown settings"),
        ({"stages": {"a": {"kind": "sft", "examples": []}}}, "start is missing"),
        (
            {"stages": {"a": {"kind": "base"}, "b": {"kind": "online", "start": "a", "judge": "cross-encoder:@c"}}},
            "reads 'c'",
        ),
        ({"stages": {"fast": {"kind": "judge", "sizes": []}}}, r"stage 'fast': sizes \[\]"),
        ({"stages": {"fast": {"kind": "judge", "sizes": [0, 160]}}}, r"sizes \[0, 160\]"),
        ({"compare": ["nobody"]}, "no stages"),
        ({"claims": [{"text": "w", "better": "multi", "than": "elsewhere"}]}, "not compared"),
        ({"stages": {"base": {"kind": "base", "layers": "many"}}}, "layers"),
        ({"curve": {"arms": {"alone": ["multi"]}}, "compare": ["base", "multi"]}, "'multi' must be an online stage"),
        ({"curve": {"arms": {"alone": ["live"]}}, "compare": ["live"]}, "starts from must be compared"),
    ],
)
def test_an_invalid_recipe_is_refused(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(write_recipe(tmp_path, SMALL | {"compare": [], "held_out": "", "claims": []} | change))


def test_unknown_recipes_and_profiles_are_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="beque, circle, jd, judge_quality, minielm, offline, walmart"):
        find_recipe("bequee")
    with pytest.raises(ConfigError, match="it has cpu"):
        load_recipe(write_recipe(tmp_path, SMALL), "gpu")


def test_a_profile_changes_stages_and_settings(tmp_path):
    recipe = load_recipe(
        write_recipe(
            tmp_path,
            SMALL | {"settings": {}, "profiles": {"gpu": {"base": {"layers": 9}, "settings": {"weight": 3.0}}}},
        ),
        "gpu",
    )
    assert recipe.stages["base"].layers == 9
    assert recipe.settings.weight == 3.0
