"""What changes in a shop while queries stream in, and when: events, plans of them, presets, plans in a YAML file.

    plan = load_plan("words")  # or a file, or Plan((Event("season", at=3_200, length=3_200, share=0.4),))
    drift = Drift(shop, plan)  # qr_env/traffic/drift.py

The clock counts queries: an event begins at query `at` and lasts `length` queries, 0 for good. Kinds:

- season: `share` of the traffic goes to one department. trend: to five queries out of the tail, that nobody searched
  before, all at once. Both on top of what is asked anyway: p = (1 − share) · p + share · p(within).
- brand: a new brand. Until `at` its products are not on sale and nobody asks for it; then they are, and `share` of the
  traffic asks for it for `length` queries.
- typos: `share` of the queries are mistyped (`qr_env.synthetic.typos.typo_variant`).
- words: shoppers say `share` of the phrases otherwise. The generated shop knows other words for the same things (its
  held-out ones); for your own shop `what` names a YAML file of `phrase: other phrase` (`drift_words.py`).
- churn: `share` of the products leave, and as many come from the reserve. add, remove: one half of that. With a length
  it happens in `drift.SWAPS` deliveries over that time.

A plan is a YAML file (fields of `Plan` and `Event`) or the name of a preset. `every` > 0 adds random events for ever,
one in so many queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qr_env.common.errors import ConfigError

TRAFFIC, WORDING, CATALOGUE = ("season", "trend", "brand"), ("typos", "words"), ("brand", "churn", "add", "remove")
KINDS = (*TRAFFIC, *WORDING, *CATALOGUE[1:])
RANDOM_KINDS = ("season", "trend", "typos", "words", "churn")


@dataclass(frozen=True, slots=True)
class Event:
    """One change; see the module docstring. what: the department, query, brand or file; "" draws one by the seed."""

    kind: str
    at: int
    length: int = 0
    share: float = 0.3
    what: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"no event {self.kind!r}; choose one of {', '.join(KINDS)}")
        if self.at < 0 or self.length < 0 or not 0 < self.share <= 1:
            raise ConfigError(f"{self}: at and length must be ≥ 0 queries, share in (0, 1]")

    def active(self, at: int) -> bool:
        """Whether it goes on at query `at`."""
        return self.at <= at and (not self.length or at < self.at + self.length)


@dataclass(frozen=True)
class Plan:
    """events: in any order. reserve: share of the products that is not on sale at the start, from which products come.
    every: mean number of queries between random events, 0 for none. seed: of everything that is drawn."""

    events: tuple[Event, ...] = ()
    reserve: float = 0.0
    every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.reserve < 1 or self.every < 0:
            raise ConfigError(f"reserve={self.reserve}, every={self.every}: reserve must be in [0, 1), every ≥ 0")
        coming = [event for event in self.events if event.kind in ("churn", "add")]
        if not self.reserve and coming:
            raise ConfigError(f"{coming[0]}: products must come from somewhere, give the plan a reserve, such as 0.1")


PRESETS = {
    "words": Plan((Event("words", 3_200, share=1.0),)),
    "churn": Plan((Event("churn", 3_200, 12_800, 0.1),), reserve=0.1),
    "busy": Plan(
        (
            Event("season", 3_200, 3_200, 0.4),
            Event("churn", 4_800, 9_600, 0.1),
            Event("trend", 8_000, 1_600, 0.3),
            Event("brand", 9_600, 3_200, 0.2),
            Event("typos", 11_200, 1_600, 0.5),
            Event("words", 12_800, share=0.5),
        ),
        reserve=0.1,
    ),
    "random": Plan(reserve=0.1, every=2_000),
}


def load_plan(spec: str) -> Plan:
    """A preset by name, or a YAML file. Raises ConfigError for what is neither, or names a field that there is not."""
    import yaml

    if spec in PRESETS:
        return PRESETS[spec]
    path = Path(spec)
    if not path.is_file():
        raise ConfigError(f"--drift {spec}: no such file, and no preset; presets are {', '.join(PRESETS)}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        events = tuple(Event(**event) for event in values.pop("events", ()))
        return Plan(events, **values)
    except (yaml.YAMLError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} is no plan ({' '.join(str(error).split())}); see qr_env/traffic/drift_plan.py"
        ) from error
