"""How well a simulated shopper matches what people bought, and clicked where there is a log.

qr judge shopper --shop generated --json report.json          # against the shop's own purchases
qr judge shopper --shop my_folder --log clicks.csv            # clicks too: perplexity and rates by rank
qr judge shopper --shopper llm --url http://127.0.0.1:8000/v1 --limit 50

Purchases: of the products that a query's list holds, are the bought ones preferred (AUC within the list), and of how
many equally likely ones is the guess as good (choice perplexity; "blind": by chance)? "looked at" leaves out where a
product stands; the click models put it in. Intervals: 95 %, bootstrap over queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from judges.factory import default_encoder, open_judge, open_store
from qr_env.common.errors import ConfigError, DataError
from runs.common.cli import run, write_json
from runs.judge.args import JudgeArgs

if TYPE_CHECKING:
    from judges.shoppers.fidelity import Bools, Floats
    from judges.shoppers.model import Profile
    from qr_env.common.protocols import Judge, Retriever
    from qr_env.common.types import Engagement, Grades, Query, RowArray
    from qr_env.shop.shop import Shop

ASKED = 256  # lists that a language model is shown at a time


@dataclass
class Args(JudgeArgs):
    """Which shopper, on which lists, against what."""

    shopper: Literal["model", "llm"] = "model"
    """computed from grades, prices and brands; or played by a language model"""
    log: Path | None = None
    """click log (CSV, TSV, JSONL, Parquet; see judges/shoppers/click_log.py): its lists are used instead of the retriever's"""
    judge: str = "labels"
    """whose grades the model shopper reads"""
    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    """what makes the lists"""
    split: Literal["train", "dev", "test"] = "test"
    """which queries, without --log"""
    k: int = 20
    """products a list"""
    limit: int | None = None
    """at most this many queries, drawn by the seed"""
    fit: int = 4_000
    """training queries whose purchases teach the model shopper price and brands; 0: it is not taught"""
    biases: bool = False
    """RewardRank's other biases too: runs of a brand or colour, irrelevant products near the top"""
    profiles: bool = False
    """all profiles of judges/shoppers/model.py instead of the average one (--shopper llm: one visit each)"""


@dataclass(frozen=True)
class Lists:
    """What was shown for N queries, and its grades."""

    queries: list[Query]
    rows_NK: RowArray
    grades: Grades


@dataclass(frozen=True)
class Guess:
    """What one way of guessing says of N lists. score_NK: the higher the sooner bought, NaN where it says nothing.
    choice: it is proportional to the chance to be bought. click_NK: chance of a click, None where it has none."""

    score_NK: Floats
    choice: bool = True
    click_NK: Any = None


def main(args: Args) -> None:
    """Guess, compare, report."""
    from qr_env.common.download import cache_root
    from qr_env.retrieval.factory import make_retriever
    from qr_env.shop.load import load_shop

    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit {args.limit}: must be at least 1")
    shop = load_shop(args.shop, data=args.data)
    encoder = default_encoder() if args.retriever != "bm25" else None
    retriever = make_retriever(args.retriever, shop, cache_root(), encoder)
    judge = open_judge(args.judge, shop, args.options())
    report: dict[str, Any] = {"shop": shop.name, "shopper": args.shopper, "judge": judge.name, "k": args.k}
    lists, clicked_NK = _lists(args, shop, retriever, judge)
    report |= {"lists": len(lists.queries), "from": str(args.log or f"{args.retriever}, {args.split}")}
    guesses, report["profile"] = _guesses(args, shop, retriever, judge, lists)
    report["purchases"] = purchase_report(shop, lists, guesses, args.seed)
    if clicked_NK is not None:
        report["clicks"] = click_report(lists, clicked_NK, guesses)
    elif not any(report["purchases"]["bought"].values()):
        raise DataError(f"{shop!r}: nothing in these lists was bought, and there is no --log: nothing to compare with")
    write_json(args.json, report)
    if args.json != "-":
        _print(report)


def _lists(args: Args, shop: Shop, retriever: Retriever, judge: Judge) -> tuple[Lists, Bools | None]:
    """The lists to guess on, and what was clicked in them where there is a log."""
    from judges.shoppers.click_log import read_click_log
    from qr_env.evaluation.evaluator import choose_queries

    if args.log is None:
        queries, _ = choose_queries(shop, args.split, False, args.limit, args.seed)
        return _retrieved(queries, retriever, judge, args.k), None
    log = read_click_log(args.log, shop)
    keep = np.sort(np.random.default_rng(args.seed).permutation(len(log.queries))[: args.limit])
    queries, rows_NK = [log.queries[n] for n in keep], log.rows_NK[keep, : args.k]
    return Lists(queries, rows_NK, judge.grade(queries, rows_NK)), log.reached("click")[keep, : args.k]


def _retrieved(queries: Sequence[Query], retriever: Retriever, judge: Judge, k: int) -> Lists:
    rows_NK = retriever.search([query.text for query in queries], k).rows_NK
    return Lists(list(queries), rows_NK, judge.grade(queries, rows_NK))


def _guesses(
    args: Args, shop: Shop, retriever: Retriever, judge: Judge, lists: Lists
) -> tuple[dict[str, Guess], dict[str, Any]]:
    """Every way of guessing by name, the two simplest first; and the profile that was learned."""
    position_NK = np.where(lists.rows_NK >= 0, 1.0 / (1.0 + np.arange(lists.rows_NK.shape[1])), np.nan)
    guesses = {
        "rank alone": Guess(position_NK, False),
        "grades alone": Guess(lists.grades.gain_NK.astype(np.float64), False),
    }
    if args.shopper == "llm":
        return guesses | _asked(args, shop, lists), {}
    return _computed(args, shop, retriever, judge, lists, guesses)


def _computed(
    args: Args, shop: Shop, retriever: Retriever, judge: Judge, lists: Lists, guesses: dict[str, Guess]
) -> tuple[dict[str, Guess], dict[str, Any]]:
    """The model shopper: looked at, before and after it was taught; then with each click model."""
    from judges.shoppers.click_models import MODELS
    from judges.shoppers.fidelity import preference
    from judges.shoppers.model import AVERAGE, PROFILES, Biases, ModelShopper

    learned = _learned(args, shop, retriever, judge)
    plain = replace(AVERAGE, price=0.0)
    steps = {"looked at, no taste": plain, "looked at": AVERAGE} | ({"looked at, fitted": learned} if learned else {})
    for name, profile in steps.items():
        guesses[name] = Guess(preference(shop, profile, lists.rows_NK, lists.grades))
    base = learned or AVERAGE
    profiles = [replace(p, price=p.price + base.price - AVERAGE.price, brands=base.brands) for p in PROFILES]
    for name, model in MODELS.items():
        shopper = ModelShopper(shop, profiles if args.profiles else [base], model, Biases() if args.biases else None)
        engagement = shopper.engage(lists.queries, lists.rows_NK, lists.grades)
        guesses[name] = Guess(engagement.purchase_NK.astype(np.float64), click_NK=engagement.click_NK)
    return guesses, _about(base)


def _learned(args: Args, shop: Shop, retriever: Retriever, judge: Judge) -> Profile | None:
    """The average profile, taught by the purchases of training queries; None where there are none."""
    from judges.shoppers.fidelity import purchased_products, fit_taste
    from qr_env.evaluation.evaluator import choose_queries

    if args.fit < 1 or not shop.split("train"):
        return None
    train = _retrieved(choose_queries(shop, "train", False, args.fit, args.seed)[0], retriever, judge, args.k)
    bought_NK = purchased_products(shop, train.queries, train.rows_NK)
    graded_NK = ~np.isnan(train.grades.probs_NK4[..., 0])
    return fit_taste(shop, train.rows_NK, train.grades, bought_NK) if (bought_NK & graded_NK).any() else None


def _about(profile: Profile) -> dict[str, Any]:
    logits = np.array([*profile.brands.values()]) if profile.brands else np.zeros(1)
    return {"name": profile.name, "price": profile.price, "brands": len(profile.brands), "brand sd": logits.std()}


def _asked(args: Args, shop: Shop, lists: Lists) -> dict[str, Guess]:
    """The language model's shopper."""
    from contextlib import ExitStack

    from tqdm import tqdm

    from judges.shoppers.llm import LLMShopper
    from judges.shoppers.model import AVERAGE, PROFILES

    options = args.options()
    with ExitStack() as stack:
        client = stack.enter_context(options.client())
        if (store := open_store(options)) is not None:
            stack.enter_context(store)
        profiles = PROFILES if args.profiles else (AVERAGE,)
        shopper = LLMShopper(
            *(shop, client, args.model), profiles=profiles, habits=args.biases, page=args.k, store=store
        )
        starts = tqdm(range(0, len(lists.queries), ASKED), desc="visits", unit=f" × {ASKED} lists")
        parts = [shopper.engage(*_part(lists, slice(start, start + ASKED))) for start in starts]
    return _by_depth(parts)


def _part(lists: Lists, part: slice) -> tuple[list[Query], RowArray, Grades]:
    from qr_env.common.types import Grades

    return lists.queries[part], lists.rows_NK[part], Grades(lists.grades.probs_NK4[part])


def _by_depth(parts: Sequence[Engagement]) -> dict[str, Guess]:
    """Of few visits most products are bought in none: how far they got ranks them."""
    click, cart, buy = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("click_NK", "cart_NK", "purchase_NK")
    )
    return {"llm": Guess((click + cart + buy).astype(np.float64), False, click)}


def purchase_report(shop: Shop, lists: Lists, guesses: Mapping[str, Guess], seed: int) -> dict[str, Any]:
    """AUC by source with intervals, choice perplexity, and where purchases stand by rank, observed and guessed."""
    from judges.shoppers.fidelity import purchased_products, choice_perplexity, purchase_auc

    bought = {source: purchased_products(shop, lists.queries, lists.rows_NK, source) for source in ("search", "outside")}
    either_NK = bought["search"] | bought["outside"]
    report: dict[str, Any] = {"bought": {source: int(mask_NK.sum()) for source, mask_NK in bought.items()}}
    report["by rank"] = {"observed": _spread(bought["search"].astype(np.float64))}
    for name, guess in guesses.items():
        figures: dict[str, Any] = {}
        for source, mask_NK in bought.items():
            # What was bought from the other source is no miss.
            score_NK = np.where(either_NK & ~mask_NK, np.nan, guess.score_NK)
            figures[f"AUC {source}"] = _with_interval(purchase_auc(score_NK, mask_NK), seed)
        if guess.choice:
            figures["choice perplexity"], figures["blind"] = choice_perplexity(guess.score_NK, either_NK)
            report["by rank"][name] = _spread(guess.score_NK)
        report[name] = figures
    return report


def click_report(lists: Lists, clicked_NK: Bools, guesses: Mapping[str, Guess]) -> dict[str, Any]:
    """Perplexity and click-through rate by rank. "own rates": each rank's own rate, the bar to pass."""
    from judges.shoppers.fidelity import click_perplexity, perplexity_by_rank, rates_by_rank

    shown_NK = lists.rows_NK >= 0
    rate_K = rates_by_rank(clicked_NK, shown_NK)
    own_NK = np.where(shown_NK, rate_K, np.nan)
    report: dict[str, Any] = {"clicks": int(clicked_NK.sum()), "rate by rank": {"observed": rate_K.tolist()}}
    report["perplexity"] = {"own rates": click_perplexity(clicked_NK, own_NK)}
    report["perplexity by rank"] = {"own rates": perplexity_by_rank(clicked_NK, own_NK).tolist()}
    for name, guess in guesses.items():
        if guess.click_NK is not None:
            known_NK = shown_NK & ~np.isnan(guess.click_NK)
            report["perplexity"][name] = click_perplexity(clicked_NK, guess.click_NK)
            report["perplexity by rank"][name] = perplexity_by_rank(clicked_NK, guess.click_NK).tolist()
            report["rate by rank"][name] = rates_by_rank(guess.click_NK, known_NK).tolist()
    return report


def _spread(values_NK: Floats) -> list[float]:
    """Share of each rank in the sum over all lists."""
    total_K = np.nansum(values_NK, axis=0)
    return list((total_K / max(total_K.sum(), 1e-12)).tolist())


def _with_interval(values_N: Floats, seed: int) -> dict[str, float]:
    from qr_env.evaluation.bootstrap import interval, resampled_means

    known_N = values_N[~np.isnan(values_N)]
    mean = float(known_N.mean()) if len(known_N) else float("nan")
    low, high = interval(resampled_means(known_N[:, None], seed=seed)[:, 0]) if len(known_N) else (mean, mean)
    return {"mean": mean, "low": low, "high": high, "queries": len(known_N)}


def _print(report: Mapping[str, Any]) -> None:
    import rich
    from rich.table import Table

    purchases = report["purchases"]
    bought = ", ".join(f"{count:,} {source}" for source, count in purchases["bought"].items())
    title = f"{report['shop']}: {report['lists']:,} lists ({report['from']}); bought in them: {bought}"
    table = Table(title=title, title_justify="left", caption=f"Graded by {report['judge']}.", caption_justify="left")
    for heading in ("", "AUC search", "AUC outside", "choice perplexity", "click perplexity"):
        table.add_column(heading, justify="right" if heading else "left")
    clicks = report.get("clicks", {}).get("perplexity", {})
    for name in [name for name in (*purchases, "own rates") if name not in ("bought", "by rank")]:
        figures = purchases.get(name, {})
        cells = [_cell(figures.get(f"AUC {source}")) for source in ("search", "outside")]
        blind = f"{figures['choice perplexity']:.2f} of {figures['blind']:.2f}" if "blind" in figures else ""
        cells += [blind, f"{clicks[name]:.4f}" if name in clicks else ""]
        if any(cells):
            table.add_row(name, *cells)
    rich.print(table)


def _cell(figure: Mapping[str, float] | None) -> str:
    if figure is None or not figure["queries"]:
        return ""
    return f"{figure['mean']:.3f} [{figure['low']:.3f} {figure['high']:.3f}]"


if __name__ == "__main__":
    run(Args, main, description=__doc__)
