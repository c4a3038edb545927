"""Settings of an A/B test on live traffic."""

from __future__ import annotations

from dataclasses import dataclass

from qr_env.common.errors import ConfigError

SHADOW, CANARY, PROMOTED, ROLLED_BACK = "shadow", "canary", "promoted", "rolled back"
METRICS = ("clicks", "purchase", "revenue", "zero results")  # of a session; "purchase": 1 where it bought anything
PRIMARY, ZERO = "purchase", "zero results"


@dataclass(frozen=True)
class ExperimentSettings:
    """When a candidate gets more traffic, all of it, or none."""

    salt: str = "qr"
    """Another salt assigns the sessions anew."""
    holdout: float = 0.02
    """Share of the sessions that always see their queries as typed."""
    canary: tuple[float, ...] = (0.05, 0.25, 0.5)
    """Shares of the other sessions that the candidate serves, stage by stage."""
    promoted: float = 0.95
    """Share after the promotion; the rest keeps the baseline, so that a later loss is noticed."""
    shadow_sessions: int = 200
    """Sessions before the first canary stage."""
    stage_sessions: int = 1_000
    """Complete sessions before the next canary stage."""
    max_sessions: int = 80_000
    """Complete sessions after which a candidate that is not proven better is rolled back."""
    alpha: float = 0.05
    """Probability that any interval of one metric is ever wrong; half of it on either side."""
    expected_sessions: int = 20_000
    """Number of sessions for which the intervals are narrowest."""
    zero_margin: float = 0.01
    """Rise of the share of queries without results that must be ruled out before a promotion."""
    ratio_alpha: float = 0.001
    """Probability that a sound test is stopped for its sample ratio."""
    session_minutes: float = 30.0
    """A session is complete after so long without a query or an event."""
    longest_value: float = 1_000.0
    """Revenue of a session counts up to this, so that one basket does not decide."""

    def __post_init__(self) -> None:
        for name in ("holdout", "promoted", "alpha", "ratio_alpha"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at least 0 and below 1")
        if not self.canary or list(self.canary) != sorted(self.canary) or not 0 < self.canary[0] <= self.canary[-1] < 1:
            raise ConfigError(f"canary={self.canary}: must be rising shares between 0 and 1")
        for name in ("shadow_sessions", "stage_sessions", "max_sessions", "expected_sessions"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must be 1 or more")
