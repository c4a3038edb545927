"""How a shopper goes down a result list: examination by position, and what follows from it, exactly and as samples.

    model = Chain.dynamic_bayesian(patience=0.9)
    examine_NK = model.examine(given_NK4)                 # closed form, vectorised over N lists of K products
    some_N3 = model.some(given_NK4)                       # chance of at least one click, cart, purchase
    done_NK = model.sample(given_NK4, generator)          # 0 nothing, 1 click, 2 satisfied, 3 cart, 4 purchase

`given_NK4` holds, for a product that IS examined, the chance of a click, of a click that satisfies, of a cart and of
a purchase: nested events, so the columns fall: a ≥ a·s ≥ cart ≥ purchase, a attraction and s satisfaction. Padding
holds zeros. The chance of an event is P(examined) × given (the examination hypothesis, Richardson et al. 2007).

- Position-based (PBM; the examination model of Craswell et al. 2008): E_k = θ_k whatever was clicked, every position
  for itself; P(some) = 1 − Π_k (1 − θ_k · given_k).
- Chains: E_1 = 1, E_{k+1} = E_k · [(1 − a_k) · after_skip + a_k (1 − s_k) · after_click]; a satisfied shopper stops.
    - cascade (Craswell et al. 2008): after_skip = 1, after_click = 0: one click at most.
    - dynamic Bayesian (DBN; Chapelle & Zhang 2009): after_skip = after_click = γ, the patience.
  P(some click) = Σ_k a_k · Π_{j<k} (1 − a_j) · after_skip. Only a satisfying click leads to a cart or a purchase, and
  it ends the walk, so those exclude each other: P(some cart) = Σ_k P(cart at k), purchases alike.

`stay_NK` (1 where nothing happens) is a chance to go on after each product besides, independent of the click: the
shopper who leaves a list with rubbish near its top. It multiplies every later examination.

A missing product is NaN in `given_NK4`. In a chain what follows it is unknown as well; elsewhere only it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from qr_env.common.errors import ConfigError

Floats = npt.NDArray[np.float64]
CLICK, SATISFIED, CART, PURCHASE = range(4)
EVENTS = (CLICK, CART, PURCHASE)  # what is counted: satisfaction is nobody's log line
# Chance that the product at a rank is looked at: RewardRank's decay (Bhatt et al. 2025). Beyond rank ten it falls as
# 1 / rank (ours).
DECAY = (1.0, 0.67, 0.41, 0.29, 0.21, 0.17, 0.14, 0.12, 0.08, 0.06)


class ClickModel(Protocol):
    """Examination: from what a shopper would do with each product to what she does with the list."""

    @property
    def name(self) -> str:
        """For reports."""
        ...

    def examine(self, given_NK4: Floats, stay_NK: Floats | None = None) -> Floats:
        """Chance that each position is looked at, (N, K)."""
        ...

    def some(self, given_NK4: Floats, stay_NK: Floats | None = None) -> Floats:
        """Chance of at least one click, cart, purchase, (N, 3); NaN where a product that matters is missing."""
        ...

    def sample(
        self, given_NK4: Floats, generator: np.random.Generator, stay_NK: Floats | None = None
    ) -> npt.NDArray[np.int8]:
        """One walk down each list, (N, K) int8: how deep it went at each product, 0 nothing … 4 purchase.

        Raises ValueError where a product is missing: a walk past the unknown cannot be drawn.
        """
        ...


@dataclass(frozen=True, slots=True)
class PositionBased:
    """PBM: examination depends on the rank alone. theta: by rank from 1; later ranks fall as 1 / rank."""

    theta: tuple[float, ...] = DECAY
    name: str = "position"

    def __post_init__(self) -> None:
        if not self.theta or not all(0 <= value <= 1 for value in self.theta):
            raise ConfigError(f"theta={self.theta}: must be chances in [0, 1], one a rank")

    def by_rank(self, k: int) -> Floats:
        """θ of ranks 1 … k."""
        rank_K = np.arange(1, k + 1)
        last = len(self.theta)
        return np.array(self.theta)[np.minimum(rank_K, last) - 1] * np.minimum(1.0, last / rank_K)

    def examine(self, given_NK4: Floats, stay_NK: Floats | None = None) -> Floats:
        """θ_k, times the chance of not having left before."""
        theta_NK = np.broadcast_to(self.by_rank(given_NK4.shape[1]), given_NK4.shape[:2])
        return theta_NK if stay_NK is None else theta_NK * _before(stay_NK)

    def some(self, given_NK4: Floats, stay_NK: Floats | None = None) -> Floats:
        """1 − Π (1 − θ_k · given_k)."""
        events_NK3 = self.examine(given_NK4, stay_NK)[..., None] * given_NK4[..., EVENTS]
        return 1.0 - np.prod(1.0 - events_NK3, axis=1)

    def sample(
        self, given_NK4: Floats, generator: np.random.Generator, stay_NK: Floats | None = None
    ) -> npt.NDArray[np.int8]:
        """Every position for itself."""
        _check_known(given_NK4, stay_NK)
        looked_NK = generator.random(given_NK4.shape[:2]) < self.examine(given_NK4, stay_NK)
        return np.where(looked_NK, _depth(given_NK4, generator), 0).astype(np.int8)


@dataclass(frozen=True, slots=True)
class Chain:
    """From the top, one product after the other, until satisfied or tired. Chances to go on after a product that was
    not clicked (after_skip), and after a click that did not satisfy (after_click)."""

    after_skip: float
    after_click: float
    name: str = "chain"

    def __post_init__(self) -> None:
        if not (0 <= self.after_skip <= 1 and 0 <= self.after_click <= 1):
            raise ConfigError(f"{self}: both must be chances in [0, 1]")

    @classmethod
    def cascade(cls) -> Chain:
        """Craswell et al. 2008: looks on until the first click."""
        return cls(1.0, 0.0, "cascade")

    @classmethod
    def dynamic_bayesian(cls, patience: float = 0.9) -> Chain:
        """Chapelle & Zhang 2009: looks on with chance γ = `patience` until satisfied."""
        return cls(patience, patience, "dbn")

    def examine(self, given_NK4: Floats, stay_NK: Floats | None = None) -> Floats:
        """The recursion of the module docstring, as one running product."""
        click_NK, satisfied_NK = given_NK4[..., CLICK], given_NK4[..., SATISFIED]
        on_NK = (1.0 - click_NK) * self.after_skip + (click_NK - satisfied_NK) * self.after_click
        return _before(on_NK if stay_NK is None else on_NK * stay_NK)

    def some(self, given_NK4: Floats, stay_NK: Floats | None = None) -> Floats:
        """First clicks; carts and purchases exclude each other."""
        skip_NK = (1.0 - given_NK4[..., CLICK]) * self.after_skip
        first_NK = _before(skip_NK if stay_NK is None else skip_NK * stay_NK) * given_NK4[..., CLICK]
        examine_NK1 = self.examine(given_NK4, stay_NK)[..., None]
        bought_N2 = (examine_NK1 * given_NK4[..., (CART, PURCHASE)]).sum(axis=1)
        return np.concatenate([first_NK.sum(axis=1)[:, None], bought_N2], axis=1)

    def sample(
        self, given_NK4: Floats, generator: np.random.Generator, stay_NK: Floats | None = None
    ) -> npt.NDArray[np.int8]:
        """Every decision is drawn, as if all were examined; what lies below the first stop is not."""
        _check_known(given_NK4, stay_NK)
        depth_NK = _depth(given_NK4, generator)
        on_NK = np.choose(np.minimum(depth_NK, 2), [self.after_skip, self.after_click, 0.0])
        going_NK = generator.random(depth_NK.shape) < (on_NK if stay_NK is None else on_NK * stay_NK)
        return np.where(_before(going_NK), depth_NK, 0).astype(np.int8)


MODELS: dict[str, ClickModel] = {
    "cascade": Chain.cascade(),
    "position": PositionBased(),
    "dbn": Chain.dynamic_bayesian(),
}


def _before(values_NK: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Product over all positions above: 1 at the top."""
    running_NK = np.cumprod(values_NK, axis=1, dtype=values_NK.dtype)
    return np.concatenate([np.ones_like(running_NK[:, :1]), running_NK[:, :-1]], axis=1)


def _depth(given_NK4: Floats, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """How deep an examined product takes the shopper: one draw serves, the events being nested."""
    return (generator.random((*given_NK4.shape[:2], 1)) < given_NK4).sum(axis=2)


def _check_known(given_NK4: Floats, stay_NK: Floats | None) -> None:
    if np.isnan(given_NK4).any() or (stay_NK is not None and np.isnan(stay_NK).any()):
        unknown = int(np.isnan(given_NK4[..., CLICK]).any(axis=1).sum())
        raise ValueError(f"{unknown} of {len(given_NK4)} lists hold ungraded products: sample the others only")
