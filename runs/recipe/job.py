"""What `qr recipe` does; its settings, and the commands, are in `runs/recipe/args.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from qr_env.common.errors import ConfigError
from runs.common.cli import filled, read_yaml, write_json
from runs.recipe.args import Args
from runs.recipe.stages import KINDS, Stage, check
from runs.recipe.text_scores import check_claims

if TYPE_CHECKING:
    from runs.recipe.pipeline import SeedRun

RECIPES = Path(__file__).parents[1] / "recipes"


@dataclass(frozen=True)
class Settings:
    """What all stages share."""

    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    judge: str = "auto"
    """who pays while learning; the report is by labels where there are any"""
    combine: Literal["expand", "replace", "union"] = "expand"
    weight: float = 1.0
    """of the original's words in "expand" """
    max_new_tokens: int = 10


@dataclass(frozen=True)
class Claim:
    """A direction that the paper reports: students `better` and `than`, the figure, and what stands in the paper."""

    what: str
    better: str
    than: str
    figure: str = "nDCG@10"
    paper: str = ""
    slack: float = 0.0
    """the claim is that `better` is not worse than `than` by more"""


@dataclass(frozen=True)
class Recipe:
    """A YAML file: stages by name in their order, students to compare, claims to check."""

    about: str
    settings: Settings
    stages: dict[str, Stage]
    compare: tuple[str, ...]
    baselines: tuple[str, ...] = ("identity",)
    claims: tuple[Claim, ...] = ()
    held_out: str = ""
    """a stage of pairs, on whose held-out rewrites exact match, ROUGE-L and cross-entropy are taken"""


def main(args: Args) -> None:
    """Every stage with every seed, then the comparison."""
    from runs.common.folder import only_one, open_run

    path = find(args.recipe)
    recipe = load(path, args.profile, {"retriever": args.retriever, "judge": args.judge})
    args.out = args.out or Path("out") / path.stem
    if not args.seeds or len(set(args.seeds)) < len(args.seeds):
        raise ConfigError(f"--seeds {args.seeds}: name at least one, each once")
    with only_one(args.out):
        facts = {"recipe": path.stem, "shop": args.shop, "settings": str(asdict(recipe.settings))}
        open_run(args.out, args, facts, args.resume)
        compare(walk(args, recipe), recipe, args)


def walk(args: Args, recipe: Recipe) -> list[SeedRun]:
    """All stages with each seed, in the same shop."""
    from qr_env.shop.load import load_shop
    from runs.common.query_log import with_past
    from runs.recipe.pipeline import SeedRun

    shop = with_past(load_shop(args.shop, data=args.data, seed=0))
    out = args.out or Path("out") / Path(args.recipe).stem
    roads = [SeedRun(args, out, recipe.settings, recipe.stages, seed, shop) for seed in args.seeds]
    for road in roads:
        road.walk()
    return roads


def compare(roads: list[SeedRun], recipe: Recipe, args: Args) -> None:
    """Score, pool the seeds, print and write."""
    from runs.recipe.compare import Comparison
    from runs.recipe.page import write_page

    comparison = Comparison.of(roads, recipe)
    assert args.out is not None
    report = comparison.to_json()
    write_json(str(args.out / "comparison.json"), report)
    write_json(args.json, report)
    page = write_page(args.out, recipe, comparison)
    if args.json != "-":
        comparison.show()
        print(f"report: {page.resolve()}")


def find(name: str) -> Path:
    """The file of a recipe's name or path.

    Raises:
        ConfigError: there is none.
    """
    for path in (Path(name), RECIPES / f"{name}.yaml"):
        if path.is_file():
            return path
    known = sorted(path.stem for path in RECIPES.glob("*.yaml") if "stages" in read_yaml(path))
    raise ConfigError(f"no recipe {name!r}: one of {', '.join(known)}, or a YAML file")


def load(path: Path, profile: str = "cpu", settings: Mapping[str, Any] | None = None) -> Recipe:
    """Read and check a recipe.

    Args:
        profile: whose changes apply: `profiles: {gpu: {STAGE: {setting: value}, settings: {…}}}`; cpu needs none.
        settings: values that are not None take the place of the recipe's.

    Raises:
        ConfigError: an unknown setting, stage kind, profile or student, or a stage that reads a later one.
    """
    values = read_yaml(path)
    profiles = values.pop("profiles", {})
    if profile != "cpu" and profile not in profiles:
        raise ConfigError(f"{path} has no profile {profile!r}; it has {', '.join(['cpu', *profiles])}")
    for name, changes in profiles.get(profile, {}).items():
        part = values["settings"] if name == "settings" else values["stages"].get(name)
        if part is None:
            raise ConfigError(f"{path}: profile {profile!r} changes stage {name!r}, which is not there")
        part.update(changes)
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    values["settings"] = filled(Settings, path, values.get("settings", {}) | given)
    values["stages"] = {name: _stage(path, name, part) for name, part in values.get("stages", {}).items()}
    values["claims"] = tuple(filled(Claim, path, claim) for claim in values.get("claims", ()))
    for name in ("compare", "baselines"):
        values[name] = tuple(values.get(name, getattr(Recipe, name, ())))
    recipe = Recipe(**values)
    check(recipe.stages)
    _check_names(path, recipe)
    check_claims(path, recipe)
    return recipe


def _stage(path: Path, name: str, values: Mapping[str, Any]) -> Stage:
    values = dict(values)
    kind = values.pop("do", None)
    if kind not in KINDS:
        raise ConfigError(f"{path}: stage {name!r} does {kind!r}; choose one of {', '.join(KINDS)}")
    stage: Stage = filled(KINDS[kind], path, values)
    if missing := [setting.name for setting in fields(stage) if getattr(stage, setting.name) is tyro.MISSING]:
        raise ConfigError(f"{path}: stage {name!r} says nothing of {', '.join(missing)}")
    return stage


def _check_names(path: Path, recipe: Recipe) -> None:
    named = {*recipe.compare, *([recipe.held_out] if recipe.held_out else [])}
    if unknown := named - set(recipe.stages):
        raise ConfigError(f"{path}: {sorted(unknown)} are no stages of it: {', '.join(recipe.stages)}")
    compared = {*recipe.compare, *recipe.baselines, "identity"}
    if unknown := {name for claim in recipe.claims for name in (claim.better, claim.than)} - compared:
        raise ConfigError(f"{path}: claims about {sorted(unknown)}, which are not compared: {sorted(compared)}")
