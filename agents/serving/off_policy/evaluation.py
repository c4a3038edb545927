"""One candidate on a log: support, estimates, and the difference to what was served.

    evaluate_policy(decisions, policy_actions, ["ips", "snips", "dr"], OffPolicySettings(), model)

A candidate that serves one rewrite for each query has π = 1 where that is the logged one and 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from agents.serving.off_policy.estimators import Estimate, Floats, Support, estimate, support
from agents.serving.off_policy.logged import Decisions
from qr_env.common.errors import DataError
from qr_env.common.types import JsonDict


@dataclass(frozen=True)
class OffPolicySettings:
    """Limits of the estimates."""

    clip: float = 50.0
    """Largest weight π / p."""
    min_support: float = 0.8
    """Least mean of π / p, at the upper end of its interval, for an estimate to be given."""
    min_effective: float = 30.0
    """Least effective sample size."""


def policy_weights(decisions: Decisions, policy_actions: Sequence[str]) -> Floats:
    """π / p of N searches, for a candidate that serves one rewrite a query."""
    same_N = np.array([one == other for one, other in zip(policy_actions, decisions.actions, strict=True)])
    return np.where(same_N, 1.0 / decisions.propensity_N, 0.0)


def evaluate_policy(
    decisions: Decisions,
    policy_actions: Sequence[str],
    estimators: Sequence[str],
    settings: OffPolicySettings | None = None,
    model: tuple[Floats, Floats] | None = None,
) -> JsonDict:
    """Support and estimates as JSON values.

    Args:
        policy_actions: N rewrites that the candidate serves (`agents.serving.exploration.action_of`).
        model: (q(x, π), q(x, a)) for "dr".

    Raises:
        DataError: the log has no support for the candidate.
    """
    settings = settings or OffPolicySettings()
    weight_N = policy_weights(decisions, policy_actions)
    found = support(weight_N, decisions.clusters_N, settings.clip)
    if reason := lacks_support(found, decisions, settings):
        raise DataError(reason)
    served = estimate("ips", np.ones(len(decisions)), decisions.reward_N, decisions.clusters_N)
    estimates: JsonDict = {}
    for name in estimators:
        parts = (weight_N, decisions.reward_N, decisions.clusters_N, settings.clip)
        value = estimate(name, *parts, *(model or (None, None)))
        change = _difference(name, decisions, weight_N, value, settings.clip, model)
        estimates[name] = asdict(value) | {"difference": asdict(change)}
    return {"support": asdict(found), "served": asdict(served), "estimates": estimates}


def lacks_support(found: Support, decisions: Decisions, settings: OffPolicySettings) -> str:
    """Why the log says too little about the candidate; "" where it says enough."""
    share = f"{found.matched:.1%} of the {len(decisions):,} logged rewrites are the candidate's"
    way_out = "log with exploration (qr serve --explore 0.1), or compare the two in an A/B test"
    if found.high < settings.min_support:
        certain = " and every logged probability is 1" if (decisions.propensity_N == 1).all() else ""
        return (
            f"no support: {share}{certain}; the mean weight is {found.mean_weight:.2f} where 1 is needed, so that for "
            f"much of the traffic the candidate serves what the log never served; {way_out}"
        )
    if found.effective < settings.min_effective:
        return f"too little support: {share}, worth {found.effective:.0f} searches; {way_out}, for longer"
    return ""


def _difference(
    name: str,
    decisions: Decisions,
    weight_N: Floats,
    value: Estimate,
    clip: float,
    model: tuple[Floats, Floats] | None,
) -> Estimate:
    """Candidate − what was served, on the same searches."""
    clipped_N = np.minimum(weight_N, clip)
    if name == "snips":
        influence_N = value.value + clipped_N * (decisions.reward_N - value.value) / clipped_N.mean()
    elif name == "dr" and model is not None:
        influence_N = model[0] + clipped_N * (decisions.reward_N - model[1])
    else:
        influence_N = clipped_N * decisions.reward_N
    ones = np.ones(len(decisions))
    return estimate("ips", ones, influence_N - decisions.reward_N, decisions.clusters_N)
