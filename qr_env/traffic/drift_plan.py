"""Plans of changes in a shop over time: events, presets, and plans from a YAML file.

    plan = load_plan("words")  # or a file, or Plan((Event("season", at=3_200, length=3_200, share=0.4),))
    drift = Drift(shop, plan)  # qr_env/traffic/drift.py

The clock counts queries: an event begins at query `at` and lasts `length` queries, 0 for ever. Kinds:

- season: `share` of the traffic goes to one department. trend: to five tail queries.
  Both are mixed into the usual traffic: p = (1 − share) · p + share · p(within).
- brand: launch of a brand. Before `at` its products are not on sale and its queries do not occur; from `at` both do,
  and `share` of the traffic asks for it for `length` queries.
- typos: `share` of the queries get a typo (`qr_env.synthetic.typos.typo_variant`).
- words: `share` of the known phrases are replaced by synonyms. In the generated shop the synonyms are its held-out
  words; for your own shop `what` names a YAML file of `phrase: other phrase` (`drift_words.py`).
- churn: `share` of the products leave, and as many come from the reserve. add, remove: only one of the two. With a
  length the change is spread over `drift.BATCHES` batches.

A plan is a YAML file (fields of `Plan` and `Event`) or the name of a preset. `every` > 0 adds random events for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from qr_env.common.config_text import read_config_text
from qr_env.common.errors import ConfigError

TRAFFIC, WORDING, CATALOGUE = ("season", "trend", "brand"), ("typos", "words"), ("brand", "churn", "add", "remove")
KINDS = (*TRAFFIC, *WORDING, *CATALOGUE[1:])
RANDOM_KINDS = ("season", "trend", "typos", "words", "churn")


@dataclass(frozen=True, slots=True)
class Event:
    """One change; the module docstring defines the kinds."""

    kind: str
    """One of `KINDS`."""
    at: int
    """Clock (number of queries) at which it begins."""
    length: int = 0
    """Duration in queries; 0 is for ever."""
    share: float = 0.3
    """Share of traffic, queries, phrases or products that it affects, in (0, 1]."""
    what: str = ""
    """Department, query text, brand or file that it affects; "" draws one by the plan's seed."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"no event {self.kind!r}; choose one of {', '.join(KINDS)}")
        if self.at < 0 or self.length < 0 or not 0 < self.share <= 1:
            raise ConfigError(f"{self}: at and length must be ≥ 0 queries, share in (0, 1]")

    def active(self, at: int) -> bool:
        """Whether it is in effect at clock `at`."""
        return self.at <= at and (not self.length or at < self.at + self.length)


@dataclass(frozen=True)
class Plan:
    """Everything that changes in a shop."""

    events: tuple[Event, ...] = ()
    """Scheduled events, in any order."""
    reserve: float = 0.0
    """Share of the products that is not on sale at the start and can be added later, in [0, 1)."""
    every: int = 0
    """Mean number of queries between random events; 0 for none."""
    seed: int = 0
    """Of all random draws."""

    def __post_init__(self) -> None:
        if not 0 <= self.reserve < 1 or self.every < 0:
            raise ConfigError(f"reserve={self.reserve}, every={self.every}: reserve must be in [0, 1), every ≥ 0")
        adding = [event for event in self.events if event.kind in ("churn", "add")]
        if not self.reserve and adding:
            raise ConfigError(f"{adding[0]}: there are no products to add; give the plan a reserve, such as 0.1")


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
    """A preset by name, or a YAML file; ConfigError for anything else, or an unknown field."""
    if spec in PRESETS:
        return PRESETS[spec]
    path = Path(spec)
    if not path.is_file():
        raise ConfigError(f"drift={spec!r}: no such file, and no preset; presets are {', '.join(PRESETS)}")
    try:
        values = yaml.safe_load(read_config_text(path)) or {}
        if not isinstance(values, dict):
            raise TypeError("it holds no lines of `name: value`")
        events = tuple(Event(**event) for event in values.pop("events", ()))
        return Plan(events, **values)
    except (yaml.YAMLError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} is no plan ({' '.join(str(error).split())}); see qr_env/traffic/drift_plan.py"
        ) from error
