"""Which variant a session sees: by a hash of its id, so that it is the same in every process and after a restart.

    assign("session-17", share=0.25, settings)       # Assignment("candidate", 0.245)

Two hashes are taken, one for the holdout and one for the candidate. A session whose second hash is below 5 % is also
below 25 %: who is in a canary stays in it when it grows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from agents.serving.experiment.settings import ExperimentSettings

BASELINE, CANDIDATE, HOLDOUT = "baseline", "candidate", "holdout"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a session sees."""

    variant: str
    """`BASELINE`, `CANDIDATE` or `HOLDOUT`."""
    propensity: float
    """Probability of this variant for a random session."""


def assign(session_id: str, share: float, settings: ExperimentSettings) -> Assignment:
    """The variant of a session where the candidate serves `share` of the sessions outside the holdout."""
    if uniform(f"{settings.salt}|holdout|{session_id}") < settings.holdout:
        return Assignment(HOLDOUT, settings.holdout)
    if uniform(f"{settings.salt}|candidate|{session_id}") < share:
        return Assignment(CANDIDATE, (1 - settings.holdout) * share)
    return Assignment(BASELINE, (1 - settings.holdout) * (1 - share))


def uniform(text: str) -> float:
    """A number in [0, 1) by SHA-256 of the text."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2.0**64
