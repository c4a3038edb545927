"""What an A/B test of a shop reports: GMV, transactions, unique visitors, conversion a user, repeat visits.

    table = commerce(visits)                                   # `CommerceTable`, one row a user
    compared = compare_commerce({"identity": a, "suggest": b})  # figures with intervals, and differences in per cent

| metric | of |
|---|---|
| GMV | gross merchandise value: prices times pieces of all that was bought (BEQUE, arXiv 2311.03758, table 6) |
| transactions | sessions with a purchase; what is in the cart is paid at once (BEQUE: #Trans) |
| unique visitors | users with a session (BEQUE: UV) |
| UCVR | unique visitors who bought / unique visitors (JD, arXiv 2603.02555) |
| repeat visits | unique visitors with two sessions or more / unique visitors |
| … a session | the sum over all sessions / sessions |

A product without a price is bought like any other and adds nothing to GMV: "unpriced" counts such pieces. The unit of
the intervals is the user: 95 % percentile intervals of a bootstrap over users, paired where the users are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from judges.shoppers.sessions.simulator import BOUGHT, CARTED, CLICKED, SATISFIED, Visits
from qr_env.common.types import JsonDict
from qr_env.evaluation.bootstrap import interval, resampled_means

Floats = npt.NDArray[np.float64]
COLUMNS = (
    "sessions", "searches", "clicks", "carts", "revenue", "transactions", "pieces", "unpriced", "zero", "satisfied",
    "visited", "bought", "repeated",
)  # fmt: skip
# metric → (numerator, denominator) of sums over users; "" is the sum itself
METRICS: dict[str, tuple[str, str]] = {
    "GMV": ("revenue", ""),
    "transactions": ("transactions", ""),
    "unique visitors": ("visited", ""),
    "UCVR": ("bought", "visited"),
    "repeat visits": ("repeated", "visited"),
    "GMV a session": ("revenue", "sessions"),
    "conversion a session": ("transactions", "sessions"),
    "order value": ("revenue", "transactions"),
    "clicks a session": ("clicks", "sessions"),
    "carts a session": ("carts", "sessions"),
    "searches a session": ("searches", "sessions"),
    "satisfied searches": ("satisfied", "searches"),
    "zero results": ("zero", "searches"),
    "unpriced": ("unpriced", "pieces"),
}


@dataclass(frozen=True)
class CommerceTable:
    """Sums of each user."""

    sums_NF: Floats
    """(users, `COLUMNS`)."""

    def figures(self) -> dict[str, float]:
        """Every metric; NaN where its denominator is 0."""
        totals = dict(zip(COLUMNS, self.sums_NF.sum(axis=0).tolist(), strict=True))
        return {
            name: totals[top] if not bottom else totals[top] / totals[bottom] if totals[bottom] else float("nan")
            for name, (top, bottom) in METRICS.items()
        }


def commerce(visits: Visits) -> CommerceTable:
    """Sums of each user of a run."""
    users = visits.users
    sums = {name: np.zeros(users) for name in COLUMNS}
    user_N = np.array([request.user for request in visits.requests], np.int64)
    session_N = np.array([request.session for request in visits.requests], np.int64)
    depth_NK, pieces_NK = visits.depth_NK, visits.pieces_NK
    priced_NK = ~np.isnan(visits.price_NK)
    per_search = {
        "searches": np.ones(len(user_N)),
        "clicks": (depth_NK >= CLICKED).sum(axis=1),
        "carts": (depth_NK >= CARTED).sum(axis=1),
        "revenue": (pieces_NK * np.where(priced_NK, visits.price_NK, 0.0)).sum(axis=1),
        "pieces": pieces_NK.sum(axis=1),
        "unpriced": (pieces_NK * ~priced_NK).sum(axis=1),
        "zero": np.array([not (answer.rows_K >= 0).any() for answer in visits.answers]),
        "satisfied": (depth_NK >= SATISFIED).any(axis=1),
    }
    for name, value_N in per_search.items():
        np.add.at(sums[name], user_N, np.asarray(value_N, np.float64))
    sessions_U, first_U = np.unique(session_N, return_index=True)
    paid_U = np.zeros(len(sessions_U), np.bool_)
    np.logical_or.at(paid_U, np.searchsorted(sessions_U, session_N), (depth_NK == BOUGHT).any(axis=1))
    np.add.at(sums["sessions"], user_N[first_U], 1.0)
    np.add.at(sums["transactions"], user_N[first_U], paid_U.astype(np.float64))
    sums["visited"] = (sums["sessions"] > 0).astype(np.float64)
    sums["bought"] = (sums["transactions"] > 0).astype(np.float64)
    sums["repeated"] = (sums["sessions"] > 1).astype(np.float64)
    return CommerceTable(np.stack([sums[name] for name in COLUMNS], axis=1))


def compare_commerce(tables: Mapping[str, CommerceTable], resamples: int = 1000, seed: int = 0) -> JsonDict:
    """Every metric of every searcher, with the interval and the difference in per cent to the first one.

    Returns:
        name → metric → {"value", "low", "high", "change", "change_low", "change_high"}: changes are shares (0.03 is
        +3 %), with the interval over users, who are the same in all tables; None where undefined.
    """
    names = list(tables)
    stacked = np.concatenate([tables[name].sums_NF for name in names], axis=1)
    means_RF = resampled_means(stacked, resamples=resamples, seed=seed)
    width, users = len(COLUMNS), len(stacked)
    samples = {name: _metrics(means_RF[:, at * width : (at + 1) * width] * users) for at, name in enumerate(names)}
    values = {name: tables[name].figures() for name in names}
    first = names[0]
    return {
        name: {
            metric: _figures(values[name][metric], values[first][metric], samples[name][metric], samples[first][metric])
            for metric in METRICS
        }
        for name in names
    }


def _metrics(sums_RF: Floats) -> dict[str, Floats]:
    columns = {name: sums_RF[:, at] for at, name in enumerate(COLUMNS)}
    return {
        name: columns[top] if not bottom else _ratio(columns[top], columns[bottom])
        for name, (top, bottom) in METRICS.items()
    }


def _ratio(top_R: Floats, bottom_R: Floats) -> Floats:
    return np.divide(top_R, bottom_R, out=np.full_like(top_R, np.nan), where=bottom_R > 0)


def _figures(value: float, baseline: float, sample_R: Floats, baseline_R: Floats) -> JsonDict:
    low, high = interval(sample_R)
    change_low, change_high = interval(_ratio(sample_R - baseline_R, baseline_R))
    change = (value - baseline) / baseline if baseline else float("nan")
    found = {"value": value, "low": low, "high": high, "change": change}
    found |= {"change_low": change_low, "change_high": change_high}
    return {name: None if np.isnan(one) else float(one) for name, one in found.items()}
