"""`qr recipe`: run every stage with every seed, then compare the students. Its flags are in `runs/recipe/args.py`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from judges.shoppers.feedback import without_purchases
from qr_env.common.errors import ConfigError
from qr_env.evaluation.result import plain_json
from qr_env.shop.load import load_shop
from qr_env.shop.shop import Shop
from runs.common.checks import check_output, check_run_folder
from runs.common.folder import open_run, run_lock
from runs.common.output import write_json
from runs.common.query_log import with_query_log
from runs.recipe.args import Args
from runs.recipe.checks import check_inputs
from runs.recipe.compare import pool_seeds, run_info
from runs.recipe.context import StageContext
from runs.recipe.curve.measure import judge_curve
from runs.recipe.load import find_recipe, load_recipe
from runs.recipe.page import write_page
from runs.recipe.pipeline import STAGE_FILE, SeedRun
from runs.recipe.score import score_seed
from runs.recipe.spec import Recipe
from runs.recipe.table import print_comparison


def main(args: Args) -> None:
    """Run the recipe in its folder, which no other process may use meanwhile."""
    path = find_recipe(args.recipe)
    recipe = load_recipe(path, args.profile, {"retriever": args.retriever, "judge": args.judge})
    args = replace(args, out=args.out or Path("out") / path.stem)
    if not args.seeds or len(set(args.seeds)) < len(args.seeds):
        raise ConfigError(f"--seeds {args.seeds}: name at least one, and each once")
    assert args.out is not None
    check_run_folder(args.out, args.resume)
    check_output("json", args.json)
    check_inputs(recipe, finished_stages(recipe, args))
    loaded_shop = load_shop(args.shop, args.data, options=args.read_options())
    with run_lock(args.out):
        facts = {"recipe": path.stem, "shop": args.shop, "settings": str(asdict(recipe.settings))}
        open_run(args.out, args, facts, args.resume)
        runs = run_stages(recipe, args, args.out, loaded_shop)
        compare(path.stem, recipe, runs, args, args.out)


def finished_stages(recipe: Recipe, args: Args) -> set[str]:
    """Stages with a result of every seed, which need no server, weights or packages any more."""
    assert args.out is not None
    seeds = [args.out / f"seed-{seed}" for seed in args.seeds]
    return {name for name in recipe.stages if all((seed / name / STAGE_FILE).is_file() for seed in seeds)}


def run_stages(recipe: Recipe, args: Args, out: Path, loaded_shop: Shop) -> list[SeedRun]:
    """Run all stages with each seed. All seeds share the shop, so that their results can be pooled."""
    shop = with_query_log(loaded_shop if recipe.settings.purchases else without_purchases(loaded_shop))
    runs = []
    for seed in args.seeds:
        folder = out / f"seed-{seed}"
        context = StageContext(
            args.shop, args.data, loaded_shop, shop, recipe.settings, seed, folder, args.read_options()
        )
        runs.append(SeedRun(context, recipe.stages))
    for run in runs:
        run.run()
    return runs


def compare(name: str, recipe: Recipe, runs: list[SeedRun], args: Args, out: Path) -> None:
    """Evaluate the students of all seeds; write `comparison.json` and `report.html`, and print the table."""
    scores = [score_seed(run, recipe, args.limit) for run in runs]
    comparison = pool_seeds(scores, recipe, run_info(name, runs, recipe))
    curve = judge_curve(recipe.curve, runs, comparison) if recipe.curve else None
    report = comparison.to_json() | ({"curve": plain_json(curve.to_json())} if curve else {})
    write_json(str(out / "comparison.json"), report)
    write_json(args.json, report)
    page = write_page(out, recipe, comparison, curve)
    if args.json != "-":
        print_comparison(comparison)
        print(f"report: {page.resolve()}")
