"""`qr judge shopper`: compare a simulated shopper with real purchases and clicks; settings: `runs/judge/args.py`.

Every predictor gives a `Prediction` for the same result lists: the rank, the grades, the shopper's preference
before and after its taste was fitted, and the shopper with each click model; or the language model's shopper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import rich
from rich.table import Table
from tqdm import tqdm

from judges.checks import check_shopper
from judges.factory import open_judge, open_store
from judges.shoppers.click_log import read_click_log
from judges.shoppers.click_models import MODELS
from judges.shoppers.fidelity import (
    Bools,
    Floats,
    choice_perplexity,
    click_perplexity,
    fit_taste,
    perplexity_by_rank,
    preference,
    purchase_auc,
    purchased_products,
    rates_by_rank,
)
from judges.shoppers.llm import LLMShopper
from judges.shoppers.model import AVERAGE, PROFILES, Biases, ModelShopper, Profile
from qr_env.common.download import cache_root
from qr_env.common.errors import ConfigError, DataError
from qr_env.common.messages import print_message
from qr_env.common.protocols import Judge, Retriever
from qr_env.common.types import Engagement, Grades, Query, RowArray
from qr_env.evaluation.bootstrap import interval, resampled_means
from qr_env.evaluation.evaluator import choose_queries
from qr_env.retrieval.factory import default_encoder, make_retriever, retriever_uses_encoder
from qr_env.shop import load_shop
from qr_env.shop.shop import Shop
from runs.common.checks import check_file
from runs.common.output import write_json
from runs.judge.args import ShopperArgs
from runs.judge.checks import check_judges

BATCH = 256  # lists in one call of the language model's shopper


@dataclass(frozen=True)
class ResultLists:
    """The result lists of N queries, graded."""

    queries: list[Query]
    """N queries"""
    rows_NK: RowArray
    """(N, K) product rows, -1 padding"""
    grades: Grades
    """the judge's verdicts on them"""


@dataclass(frozen=True)
class Prediction:
    """Predicted purchases and clicks on N result lists."""

    score_NK: Floats
    """(N, K) the higher, the more likely bought; NaN where there is no prediction"""
    proportional: bool = True
    """whether the score is proportional to the probability of a purchase"""
    click_NK: npt.NDArray[np.floating] | None = None
    """(N, K) probability of a click; None where clicks are not predicted"""


def main(args: ShopperArgs) -> None:
    """Predict, compare, report."""
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit {args.limit}: must be at least 1")
    if args.log is not None:
        check_file("log", args.log)
    check_judges(args, [args.judge])
    check_shopper(args.shopper, args.options())
    shop = load_shop(args.shop, args.data, options=args.read_options())
    encoder = default_encoder() if retriever_uses_encoder(args.retriever) else None
    retriever = make_retriever(args.retriever, shop, cache_root(), encoder)
    judge = open_judge(args.judge, shop, args.options())
    report: dict[str, Any] = {"shop": shop.name, "shopper": args.shopper, "judge": judge.name, "k": args.k}
    print_message(f"grading the lists with {judge.name}")
    lists, clicked_NK = _lists(args, shop, retriever, judge)
    report |= {"lists": len(lists.queries), "from": str(args.log or f"{args.retriever}, {args.split}")}
    predictions = _baselines(lists)
    if args.shopper == "llm":
        predictions |= _llm_predictions(args, shop, lists)
    else:
        fitted = _fitted_profile(args, shop, retriever, judge)
        predictions |= _model_predictions(args, shop, lists, fitted)
        report["profile"] = _profile_facts(fitted or AVERAGE)
    report["purchases"] = purchase_report(shop, lists, predictions, args.seed)
    if clicked_NK is not None:
        report["clicks"] = click_report(lists, clicked_NK, predictions)
    elif not any(report["purchases"]["bought"].values()):
        raise DataError(f"{shop!r}: nothing in these lists was bought, and there is no --log: nothing to compare with")
    write_json(args.json, report)
    if args.json != "-":
        _print_report(report)


def _lists(args: ShopperArgs, shop: Shop, retriever: Retriever, judge: Judge) -> tuple[ResultLists, Bools | None]:
    """The lists to predict on, and what was clicked in them where there is a log."""
    if args.log is None:
        queries, _ = choose_queries(shop, args.split, False, args.limit, args.seed)
        return _retrieved(queries, retriever, judge, args.k), None
    log = read_click_log(args.log, shop, args.read_options())
    log.report.warn(str(args.log))
    keep = np.sort(np.random.default_rng(args.seed).permutation(len(log.queries))[: args.limit])
    queries, rows_NK = [log.queries[n] for n in keep], log.rows_NK[keep, : args.k]
    return ResultLists(queries, rows_NK, judge.grade(queries, rows_NK)), log.reached("click")[keep, : args.k]


def _retrieved(queries: Sequence[Query], retriever: Retriever, judge: Judge, k: int) -> ResultLists:
    rows_NK = retriever.search([query.text for query in queries], k).rows_NK
    return ResultLists(list(queries), rows_NK, judge.grade(queries, rows_NK))


def _baselines(lists: ResultLists) -> dict[str, Prediction]:
    """Predictions by rank alone and by grade alone."""
    by_rank_NK = np.where(lists.rows_NK >= 0, 1.0 / (1.0 + np.arange(lists.rows_NK.shape[1])), np.nan)
    return {
        "rank only": Prediction(by_rank_NK, False),
        "grades only": Prediction(lists.grades.gain_NK.astype(np.float64), False),
    }


def _fitted_profile(args: ShopperArgs, shop: Shop, retriever: Retriever, judge: Judge) -> Profile | None:
    """The average profile fitted to the purchases of training queries; None where there are none."""
    if args.fit < 1 or not shop.split("train"):
        return None
    print_message(f"fitting the shopper's taste on up to {args.fit:,} training queries")
    train = _retrieved(choose_queries(shop, "train", False, args.fit, args.seed)[0], retriever, judge, args.k)
    bought_NK = purchased_products(shop, train.queries, train.rows_NK)
    graded_NK = ~np.isnan(train.grades.probs_NK4[..., 0])
    return fit_taste(shop, train.rows_NK, train.grades, bought_NK) if (bought_NK & graded_NK).any() else None


def _model_predictions(
    args: ShopperArgs, shop: Shop, lists: ResultLists, fitted: Profile | None
) -> dict[str, Prediction]:
    """The model shopper: its preference at any rank, before and after the fit; then with each click model."""
    profiles = {"preference, no price": replace(AVERAGE, price=0.0), "preference": AVERAGE}
    if fitted is not None:
        profiles["preference, fitted"] = fitted
    predictions = {
        name: Prediction(preference(shop, profile, lists.rows_NK, lists.grades)) for name, profile in profiles.items()
    }
    base = fitted or AVERAGE
    shoppers = [base]
    if args.profiles:
        shoppers = [replace(p, price=p.price + base.price - AVERAGE.price, brands=base.brands) for p in PROFILES]
    for name, model in MODELS.items():
        shopper = ModelShopper(shop, shoppers, model, Biases() if args.biases else None)
        engagement = shopper.engage(lists.queries, lists.rows_NK, lists.grades)
        predictions[name] = Prediction(engagement.purchase_NK.astype(np.float64), click_NK=engagement.click_NK)
    return predictions


def _profile_facts(profile: Profile) -> dict[str, Any]:
    logits = np.array([*profile.brands.values()]) if profile.brands else np.zeros(1)
    return {"name": profile.name, "price": profile.price, "brands": len(profile.brands), "brand sd": logits.std()}


def _llm_predictions(args: ShopperArgs, shop: Shop, lists: ResultLists) -> dict[str, Prediction]:
    """The shopper played by the language model.

    Its score is the sum of the probabilities of click, cart and purchase: with few visits most products are bought in
    none of them, and how far a visit got still ranks them.
    """
    options = args.options()
    with ExitStack() as stack:
        client = stack.enter_context(options.client())
        if (store := open_store(options)) is not None:
            stack.enter_context(store)
        profiles = PROFILES if args.profiles else (AVERAGE,)
        shopper = LLMShopper(shop, client, args.model, profiles=profiles, habits=args.biases, page=args.k, store=store)
        starts = tqdm(range(0, len(lists.queries), BATCH), desc="visits", unit=f" × {BATCH} lists")
        parts = [_engagement(shopper, lists, slice(start, start + BATCH)) for start in starts]
    click, cart, buy = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("click_NK", "cart_NK", "purchase_NK")
    )
    return {"llm": Prediction((click + cart + buy).astype(np.float64), False, click)}


def _engagement(shopper: LLMShopper, lists: ResultLists, part: slice) -> Engagement:
    return shopper.engage(lists.queries[part], lists.rows_NK[part], Grades(lists.grades.probs_NK4[part]))


def purchase_report(shop: Shop, lists: ResultLists, predictions: Mapping[str, Prediction], seed: int) -> dict[str, Any]:
    """AUC by source with intervals, choice perplexity, and the share of purchases by rank, observed and predicted."""
    bought = {
        source: purchased_products(shop, lists.queries, lists.rows_NK, source) for source in ("search", "outside")
    }
    either_NK = bought["search"] | bought["outside"]
    report: dict[str, Any] = {"bought": {source: int(mask_NK.sum()) for source, mask_NK in bought.items()}}
    report["by rank"] = {"observed": _shares_by_rank(bought["search"].astype(np.float64))}
    for name, prediction in predictions.items():
        figures: dict[str, Any] = {}
        for source, mask_NK in bought.items():
            # A product that was bought through the other source is left out; it is no negative.
            score_NK = np.where(either_NK & ~mask_NK, np.nan, prediction.score_NK)
            figures[f"AUC {source}"] = _mean_with_interval(purchase_auc(score_NK, mask_NK), seed)
        if prediction.proportional:
            figures["choice perplexity"], figures["chance"] = choice_perplexity(prediction.score_NK, either_NK)
            report["by rank"][name] = _shares_by_rank(prediction.score_NK)
        report[name] = figures
    return report


def click_report(lists: ResultLists, clicked_NK: Bools, predictions: Mapping[str, Prediction]) -> dict[str, Any]:
    """Perplexity and click-through rate by rank. "rate by rank", a constant rate at each rank, is the baseline."""
    shown_NK = lists.rows_NK >= 0
    rate_K = rates_by_rank(clicked_NK, shown_NK)
    constant_NK = np.where(shown_NK, rate_K, np.nan)
    report: dict[str, Any] = {"clicks": int(clicked_NK.sum()), "rate by rank": {"observed": rate_K.tolist()}}
    report["perplexity"] = {"rate by rank": click_perplexity(clicked_NK, constant_NK)}
    report["perplexity by rank"] = {"rate by rank": perplexity_by_rank(clicked_NK, constant_NK).tolist()}
    for name, prediction in predictions.items():
        if prediction.click_NK is not None:
            known_NK = shown_NK & ~np.isnan(prediction.click_NK)
            report["perplexity"][name] = click_perplexity(clicked_NK, prediction.click_NK)
            report["perplexity by rank"][name] = perplexity_by_rank(clicked_NK, prediction.click_NK).tolist()
            report["rate by rank"][name] = rates_by_rank(prediction.click_NK, known_NK).tolist()
    return report


def _shares_by_rank(values_NK: Floats) -> list[float]:
    """Share of each rank in the sum over all lists, (K,)."""
    total_K = np.nansum(values_NK, axis=0)
    return list((total_K / max(total_K.sum(), 1e-12)).tolist())


def _mean_with_interval(values_N: Floats, seed: int) -> dict[str, float]:
    known_N = values_N[~np.isnan(values_N)]
    mean = float(known_N.mean()) if len(known_N) else float("nan")
    low, high = interval(resampled_means(known_N[:, None], seed=seed)[:, 0]) if len(known_N) else (mean, mean)
    return {"mean": mean, "low": low, "high": high, "queries": len(known_N)}


def _print_report(report: Mapping[str, Any]) -> None:
    purchases = report["purchases"]
    bought = ", ".join(f"{count:,} {source}" for source, count in purchases["bought"].items())
    title = f"{report['shop']}: {report['lists']:,} lists ({report['from']}); bought in them: {bought}"
    table = Table(title=title, title_justify="left", caption=f"Graded by {report['judge']}.", caption_justify="left")
    for heading in ("", "AUC search", "AUC outside", "choice perplexity", "click perplexity"):
        table.add_column(heading, justify="right" if heading else "left")
    clicks = report.get("clicks", {}).get("perplexity", {})
    for name in [name for name in (*purchases, "rate by rank") if name not in ("bought", "by rank")]:
        figures = purchases.get(name, {})
        cells = [_auc_text(figures.get(f"AUC {source}")) for source in ("search", "outside")]
        choice = f"{figures['choice perplexity']:.2f}, chance {figures['chance']:.2f}" if "chance" in figures else ""
        cells += [choice, f"{clicks[name]:.4f}" if name in clicks else ""]
        if any(cells):
            table.add_row(name, *cells)
    rich.print(table)


def _auc_text(figure: Mapping[str, float] | None) -> str:
    if figure is None or not figure["queries"]:
        return ""
    return f"{figure['mean']:.3f} [{figure['low']:.3f} {figure['high']:.3f}]"
