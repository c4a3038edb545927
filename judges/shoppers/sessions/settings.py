"""Constants of shoppers who come back, search several times and fill baskets. All are ours; none is fitted to a shop.

A user has a profile (`judges.shoppers.model.PROFILES`) and a number of visits a week. In a visit the user has a need,
which is a query of the shop, and looks at its results as `judges/shoppers/model.py` says:

- satisfied (a click that satisfies, or more): with `another_need` a further need, else the end;
- not satisfied: with `reformulate` the same need in other words, where the shop has a query for it, else the end.

What the model says is bought is paid in the session, one transaction however many products. A satisfied user comes
back more often (`return_satisfied`), one who found nothing less often (`return_unsatisfied`).
"""

from __future__ import annotations

from dataclasses import dataclass

from qr_env.common.errors import ConfigError


@dataclass(frozen=True)
class SessionSettings:
    """How shoppers visit a shop."""

    visits_a_week: float = 2.0
    """Mean of a user's own rate, which is Gamma distributed with shape 2."""
    another_need: float = 0.35
    """Probability of a further need after a satisfied one."""
    reformulate: float = 0.6
    """Probability of searching for the same need in other words."""
    searches: int = 6
    """Searches of a visit at most."""
    results: int = 10
    """Products that are looked at, at most."""
    more_pieces: float = 0.1
    """Probability of one more piece of a product that is bought, and of one more again."""
    return_satisfied: float = 1.25
    """Factor of the rate of visits after a visit in which every need was satisfied."""
    return_unsatisfied: float = 0.7
    """Factor after a visit in which none was."""
    slowest: float = 0.25
    """Least and, inverted, greatest factor of all visits together."""
    zipf: float = 0.0
    """0: needs are drawn by the shop's query frequencies; above, every query's frequency is raised to 1 − this."""

    def __post_init__(self) -> None:
        for name in ("another_need", "reformulate", "more_pieces", "zipf"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must be between 0 and 1")
        if self.more_pieces == 1:
            raise ConfigError("more_pieces=1: must be below 1, or nobody stops")
        for name in ("searches", "results"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must be 1 or more")
        if not (self.visits_a_week > 0 and 0 < self.slowest <= 1):
            raise ConfigError(f"visits_a_week={self.visits_a_week}, slowest={self.slowest}: must be above 0")
