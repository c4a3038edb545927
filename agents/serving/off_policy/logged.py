"""A log of served rewrites as decisions with rewards: what the estimators read.

decisions = logged_decisions(read_ubi("events/"), reward="purchase")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from agents.serving.exploration import action_of
from qr_env.common.errors import ConfigError, DataError
from qr_env.traffic.ubi import ServedQuery, UbiLog

Floats = npt.NDArray[np.float64]
Reward = Literal["click", "cart", "purchase", "revenue"]
REWARDS = ("click", "cart", "purchase", "revenue")


@dataclass(frozen=True)
class Decisions:
    """N searches that were answered."""

    queries: list[str]
    """As typed."""
    actions: list[str]
    """The rewrites that were served (`agents.serving.exploration.action_of`); "" kept the query."""
    propensity_N: Floats
    """Probability with which its variant served each, in (0, 1]."""
    reward_N: Floats
    """What shoppers did: 1 or 0 for an event, a sum for revenue."""
    clusters_N: npt.NDArray[np.int64]
    """Number of the session; searches of one session are not independent."""

    def __len__(self) -> int:
        return len(self.queries)


def logged_decisions(log: UbiLog, reward: str = "purchase") -> Decisions:
    """The decisions of a log.

    reward: "click", "cart" or "purchase": 1 where the results of the search led to one or to a deeper event; "revenue":
    prices times pieces of what was bought.

    Where the log has several variants, the probability is that of the rewrite within the variant (`ServedQuery`), since
    two variants may serve the same rewrite, whose probability is then more than the one logged; Agarwal et al., KDD
    2017, estimator of several loggers. Sessions are assigned at random, so those of the variants that draw are a sample
    of all: where one draws, variants that never do (a holdout) are left out.

    Raises:
        ConfigError: an unknown reward. DataError: the log has no query.
    """
    if reward not in REWARDS:
        raise ConfigError(f"reward={reward!r}: choose one of {', '.join(REWARDS)}")
    if not log.queries:
        raise DataError("the log holds no query")
    earned: dict[str, float] = {}
    counted = REWARDS[REWARDS.index(reward) : 3] if reward != "revenue" else ("purchase",)
    for event in log.events:
        if event.action not in counted:
            continue
        value = 1.0
        if reward == "revenue":
            value = event.quantity * (0.0 if np.isnan(event.price) else event.price)
        known = earned.get(event.query_id, 0.0)
        earned[event.query_id] = known + value if reward == "revenue" else 1.0
    queries = _of_drawing_variants(log.queries)
    names = [one.session_id or one.client_id or one.query_id for one in queries]
    return Decisions(
        queries=[one.query for one in queries],
        actions=[action_of(one.query, one.rewrite) for one in queries],
        propensity_N=np.array([one.propensity / one.assignment for one in queries]),
        reward_N=np.array([earned.get(one.query_id, 0.0) for one in queries]),
        clusters_N=numbered(names),
    )


def _of_drawing_variants(queries: Sequence[ServedQuery]) -> Sequence[ServedQuery]:
    drawing = {one.variant for one in queries if one.propensity < one.assignment}
    return [one for one in queries if one.variant in drawing] if drawing else queries


def numbered(names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Equal names get equal numbers, from 0."""
    return np.unique(np.array(names, dtype=object).astype(str), return_inverse=True)[1].astype(np.int64)
