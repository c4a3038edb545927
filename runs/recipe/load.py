"""Find a recipe's YAML file, apply a profile and overrides, and check that its parts fit together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qr_env.common.errors import ConfigError
from runs.common.settings import Values, from_mapping, read_yaml
from runs.recipe.spec import STAGE_KINDS, JudgeStage, OnlineStage, Recipe, Stage, stage_inputs
from runs.recipe.text_scores import TEXT_METRICS, scored_students

RECIPES = Path(__file__).parents[1] / "recipes"
DEFAULT_PROFILE = "cpu"


def find_recipe(name: str) -> Path:
    """Path of the recipe with this name or path.

    Raises:
        ConfigError: there is none.
    """
    for path in (Path(name), RECIPES / f"{name}.yaml"):
        if path.is_file():
            return path
    raise ConfigError(f"no recipe {name!r}: choose one of {', '.join(recipe_names())}, or name a YAML file")


def recipe_names() -> list[str]:
    """Names of the recipes in `runs/recipes`; the folder also holds settings of `qr online`, which have no stages."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml") if "stages" in read_yaml(path))


def load_recipe(path: Path, profile: str = DEFAULT_PROFILE, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Read and check a recipe.

    Args:
        path: the YAML file.
        profile: the changes to apply, from `profiles: {gpu: {STAGE: {field: value}, settings: {…}}}`; "cpu" needs none.
        overrides: settings that replace the recipe's; None values are ignored.

    Raises:
        ConfigError: unknown field, stage kind, profile or student; a stage that reads a later one; a claim on text
            scores that a student does not have.
    """
    values = read_yaml(path)
    apply_profile(path, values, profile)
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    stages = {name: parse_stage(path, name, part) for name, part in group(path, values, "stages").items()}
    settings = group(path, values, "settings") | given
    recipe = from_mapping(Recipe, values | {"stages": stages, "settings": settings}, str(path))
    _check_order(path, recipe.stages)
    _check_sizes(path, recipe.stages)
    _check_names(path, recipe)
    _check_text_claims(path, recipe)
    _check_curve(path, recipe)
    return recipe


def group(path: Path, values: Values, name: str) -> Values:
    """The mapping called `name` among `values`; empty if there is none.

    Raises:
        ConfigError: it is something else than a mapping.
    """
    found = values.get(name, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: {name} is {found!r}; it must be lines of `name: value`")
    return found


def apply_profile(path: Path, values: Values, profile: str) -> None:
    """Take `profiles` out of a recipe's values, and make the changes of the one called `profile`."""
    profiles = group(path, values, "profiles")
    values.pop("profiles", None)
    if profile != DEFAULT_PROFILE and profile not in profiles:
        names = ", ".join([DEFAULT_PROFILE, *profiles])
        raise ConfigError(f"{path} has no profile {profile!r}; it has {names}")
    stages = group(path, values, "stages")
    for name, changes in group(path, profiles, profile).items():
        part = values.get("settings") if name == "settings" else stages.get(name)
        if not isinstance(part, dict) or not isinstance(changes, dict):
            raise ConfigError(f"{path}: profile {profile!r} changes stage {name!r}, which the recipe does not have")
        part.update(changes)


def parse_stage(path: Path, name: str, values: object) -> Stage:
    """A stage from its line in the YAML file."""
    if not isinstance(values, dict) or values.get("kind") not in STAGE_KINDS:
        kind = values.get("kind") if isinstance(values, dict) else values
        raise ConfigError(f"{path}: stage {name!r} is of kind {kind!r}; choose one of {', '.join(STAGE_KINDS)}")
    fields = {field: value for field, value in values.items() if field != "kind"}
    return from_mapping(STAGE_KINDS[values["kind"]], fields, f"{path}: stage {name!r}")


def _check_order(path: Path, stages: Mapping[str, Stage]) -> None:
    """Every stage reads earlier stages only."""
    earlier: list[str] = []
    for name, stage in stages.items():
        for wanted in stage_inputs(stage):
            if wanted not in earlier:
                raise ConfigError(f"{path}: stage {name!r} reads {wanted!r}, which is not an earlier stage: {earlier}")
        earlier.append(name)


def _check_sizes(path: Path, stages: Mapping[str, Stage]) -> None:
    """A judge is distilled from at least one list; checked here, before hours of earlier stages."""
    for name, stage in stages.items():
        if isinstance(stage, JudgeStage) and (not stage.sizes or min(stage.sizes) < 1):
            raise ConfigError(
                f"{path}: stage {name!r}: sizes {list(stage.sizes)}: name at least one, of 1 list or more"
            )


def _check_names(path: Path, recipe: Recipe) -> None:
    """Compared students are stages, and claims are about compared students and baselines."""
    named = {*recipe.compare, *([recipe.held_out] if recipe.held_out else [])}
    if unknown := named - set(recipe.stages):
        raise ConfigError(f"{path}: no stages {sorted(unknown)}; the recipe has {', '.join(recipe.stages)}")
    compared = {*recipe.compare, *recipe.baselines, "identity"}
    if unknown := {name for claim in recipe.claims for name in (claim.better, claim.than)} - compared:
        raise ConfigError(
            f"{path}: claims about {sorted(unknown)}, which are not compared; compared: {sorted(compared)}"
        )


def _check_curve(path: Path, recipe: Recipe) -> None:
    """The stages of a curve learn online, and are compared as the stages that they start from are."""
    for arm, names in (recipe.curve.arms if recipe.curve else {}).items():
        for name in names:
            stage = recipe.stages.get(name)
            if not isinstance(stage, OnlineStage) or not {name, stage.start} <= set(recipe.compare):
                raise ConfigError(
                    f"{path}: curve, arm {arm!r}: {name!r} must be an online stage, and it and the stage that it "
                    f"starts from must be compared; compared: {', '.join(recipe.compare)}"
                )


def _check_text_claims(path: Path, recipe: Recipe) -> None:
    """Claims on text scores are about students that have them."""
    scored = set(scored_students(recipe))
    for claim in recipe.claims:
        if claim.metric in TEXT_METRICS and (without := {claim.better, claim.than} - scored):
            raise ConfigError(
                f"{path}: claim {claim.text!r} is on {claim.metric}, which {sorted(without)} do not have: it needs "
                "`held_out`, and students of base, sft, distill and imitate stages alone; compare two of "
                f"{sorted(scored)}, or claim another metric"
            )
