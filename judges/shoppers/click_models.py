"""Click models: which products of a result list are examined, clicked, carted and bought; exact and sampled.

    model = Chain.dynamic_bayesian(patience=0.9)
    examine_NK = model.examine(given_NK4)                 # closed form, vectorised over N lists of K products
    some_N3 = model.any_event(given_NK4)                  # probability of at least one click, cart, purchase
    depth_NK = model.sample(given_NK4, generator)          # 0 nothing, 1 click, 2 satisfied, 3 cart, 4 purchase

`given_NK4` holds, for an EXAMINED product, the probability of a click, of a click that satisfies, of a cart and of a
purchase. The events are nested, so the columns fall: a ≥ a·s ≥ cart ≥ purchase, with a attraction and s satisfaction.
Padding holds zeros. The probability of an event is P(examined) × given (Richardson et al. 2007).

- Position-based (PBM; the examination model of Craswell et al. 2008): E_k = θ_k whatever was clicked, positions are
  independent; P(any) = 1 − Π_k (1 − θ_k · given_k).
- Chains: E_1 = 1, E_{k+1} = E_k · [(1 − a_k) · after_skip + a_k (1 − s_k) · after_click]; a satisfied shopper stops.
    - cascade (Craswell et al. 2008): after_skip = 1, after_click = 0: one click at most.
    - dynamic Bayesian (DBN; Chapelle & Zhang 2009): after_skip = after_click = γ, the patience.
  P(any click) = Σ_k a_k · Π_{j<k} (1 − a_j) · after_skip. Only a satisfying click leads to a cart or a purchase, and
  it ends the visit, so those exclude each other: P(any cart) = Σ_k P(cart at k), purchases alike.

`stay_NK` (None: 1) is a further probability of going on after each product, independent of the click: a shopper may
leave a list with irrelevant products near its top. It multiplies every later examination.

A missing product is NaN in `given_NK4`. In a chain everything below it is NaN as well; in the PBM only the product is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError

Floats = npt.NDArray[np.float64]
T = TypeVar("T", np.float64, np.bool_)
CLICK, SATISFIED, CART, PURCHASE = range(4)
EVENTS = (CLICK, CART, PURCHASE)  # events that a log records; satisfaction is not observable
# Probability that the product at a rank is examined: RewardRank's decay (Bhatt et al. 2025). Beyond rank ten it falls
# as 1 / rank (our choice).
DECAY = (1.0, 0.67, 0.41, 0.29, 0.21, 0.17, 0.14, 0.12, 0.08, 0.06)


class ClickModel(Protocol):
    """Turns event probabilities given examination into events on a whole list."""

    @property
    def name(self) -> str:
        """For reports."""
        ...

    def examine(self, given_NK4: Floats, stay_NK: Floats | None = None) -> Floats:
        """Probability that each position is examined, (N, K)."""
        ...

    def any_event(self, given_NK4: Floats, stay_NK: Floats | None = None) -> Floats:
        """Probability of at least one click, cart, purchase, (N, 3); NaN where a product that matters is missing."""
        ...

    def sample(
        self, given_NK4: Floats, generator: np.random.Generator, stay_NK: Floats | None = None
    ) -> npt.NDArray[np.int8]:
        """One sampled visit to each list, (N, K) int8: 0 nothing, 1 click, 2 satisfied, 3 cart, 4 purchase.

        Raises ValueError where a product is missing.
        """
        ...


@dataclass(frozen=True, slots=True)
class PositionBased:
    """PBM: examination depends on the rank alone."""

    theta: tuple[float, ...] = DECAY
    """Examination probability by rank, from rank 1; later ranks fall as 1 / rank."""
    name: str = "position"
    """For reports."""

    def __post_init__(self) -> None:
        if not self.theta or not all(0 <= value <= 1 for value in self.theta):
            raise ConfigError(f"theta={self.theta}: must be probabilities in [0, 1], one a rank")

    def by_rank(self, k: int) -> Floats:
        """θ of ranks 1 … k."""
        rank_K = np.arange(1, k + 1)
        last = len(self.theta)
        return np.array(self.theta)[np.minimum(rank_K, last) - 1] * np.minimum(1.0, last / rank_K)

    def examine(self, given_NK4: Floats, stay_NK: Floats | None = None) -> Floats:
        """θ_k, times the probability of not having left before."""
        theta_NK = np.broadcast_to(self.by_rank(given_NK4.shape[1]), given_NK4.shape[:2])
        return theta_NK if stay_NK is None else theta_NK * _product_above(stay_NK)

    def any_event(self, given_NK4: Floats, stay_NK: Floats | None = None) -> Floats:
        """1 − Π (1 − θ_k · given_k)."""
        events_NK3 = self.examine(given_NK4, stay_NK)[..., None] * given_NK4[..., EVENTS]
        return 1.0 - np.prod(1.0 - events_NK3, axis=1)

    def sample(
        self, given_NK4: Floats, generator: np.random.Generator, stay_NK: Floats | None = None
    ) -> npt.NDArray[np.int8]:
        """Positions are independent."""
        _check_known(given_NK4, stay_NK)
        examined_NK = generator.random(given_NK4.shape[:2]) < self.examine(given_NK4, stay_NK)
        return np.where(examined_NK, _draw_depth(given_NK4, generator), 0).astype(np.int8)


@dataclass(frozen=True, slots=True)
class Chain:
    """The shopper examines products from the top, one after the other, and stops when satisfied or at random."""

    after_skip: float
    """Probability of going on after a product that was not clicked."""
    after_click: float
    """Probability of going on after a click that did not satisfy."""
    name: str = "chain"
    """For reports."""

    def __post_init__(self) -> None:
        if not (0 <= self.after_skip <= 1 and 0 <= self.after_click <= 1):
            raise ConfigError(f"{self}: both must be probabilities in [0, 1]")

    @classmethod
    def cascade(cls) -> Chain:
        """Craswell et al. 2008: goes on until the first click."""
        return cls(1.0, 0.0, "cascade")

    @classmethod
    def dynamic_bayesian(cls, patience: float = 0.9) -> Chain:
        """Chapelle & Zhang 2009: goes on with probability γ = `patience` until satisfied."""
        return cls(patience, patience, "dbn")

    def examine(self, given_NK4: Floats, stay_NK: Floats | None = None) -> Floats:
        """The recursion of the module docstring, as one running product."""
        click_NK, satisfied_NK = given_NK4[..., CLICK], given_NK4[..., SATISFIED]
        on_NK = (1.0 - click_NK) * self.after_skip + (click_NK - satisfied_NK) * self.after_click
        return _product_above(on_NK if stay_NK is None else on_NK * stay_NK)

    def any_event(self, given_NK4: Floats, stay_NK: Floats | None = None) -> Floats:
        """First clicks; carts and purchases exclude each other."""
        skip_NK = (1.0 - given_NK4[..., CLICK]) * self.after_skip
        first_NK = _product_above(skip_NK if stay_NK is None else skip_NK * stay_NK) * given_NK4[..., CLICK]
        examine_NK1 = self.examine(given_NK4, stay_NK)[..., None]
        bought_N2 = (examine_NK1 * given_NK4[..., (CART, PURCHASE)]).sum(axis=1)
        return np.concatenate([first_NK.sum(axis=1)[:, None], bought_N2], axis=1)

    def sample(
        self, given_NK4: Floats, generator: np.random.Generator, stay_NK: Floats | None = None
    ) -> npt.NDArray[np.int8]:
        """Every decision is drawn as if all products were examined; those below the first stop count as nothing."""
        _check_known(given_NK4, stay_NK)
        depth_NK = _draw_depth(given_NK4, generator)
        on_NK = np.choose(np.minimum(depth_NK, 2), [self.after_skip, self.after_click, 0.0])
        going_NK = generator.random(depth_NK.shape) < (on_NK if stay_NK is None else on_NK * stay_NK)
        return np.where(_product_above(going_NK), depth_NK, 0).astype(np.int8)


MODELS: dict[str, ClickModel] = {
    "cascade": Chain.cascade(),
    "position": PositionBased(),
    "dbn": Chain.dynamic_bayesian(),
}


def _product_above(values_NK: npt.NDArray[T]) -> npt.NDArray[T]:
    """Product of the values at all positions above; 1 at the top."""
    running_NK = np.cumprod(values_NK, axis=1, dtype=values_NK.dtype)
    return np.concatenate([np.ones_like(running_NK[:, :1]), running_NK[:, :-1]], axis=1)


def _draw_depth(given_NK4: Floats, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Deepest event at each product if it is examined; one draw a product, as the events are nested."""
    return (generator.random((*given_NK4.shape[:2], 1)) < given_NK4).sum(axis=2)


def _check_known(given_NK4: Floats, stay_NK: Floats | None) -> None:
    if np.isnan(given_NK4).any() or (stay_NK is not None and np.isnan(stay_NK).any()):
        unknown = int(np.isnan(given_NK4[..., CLICK]).any(axis=1).sum())
        raise ValueError(f"{unknown} of {len(given_NK4)} lists hold ungraded products: sample the others only")
