"""The protocol of a judge that reads texts.

Two kinds of judges. A `qr_env.common.protocols.Judge` grades product rows of one shop and is what environments and
evaluations call. A `PairJudge` grades (query text, product text) pairs: it knows no shop and its verdict depends on the
two texts alone, so verdicts can be kept in a store (`judges/verdict_store/store.py`).
`judges.verdict_store.stored.ShopJudge(shop, pair_judge, store)` turns a `PairJudge` into a `Judge`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar, cast

from qr_env.common.errors import JudgeError
from qr_env.common.protocols import Judge
from qr_env.common.types import FloatArray
from qr_env.shop.shop import Shop


class PairJudge(Protocol):
    """A judge of texts."""

    name: str
    """for logs, stores and reports"""

    @property
    def fingerprint(self) -> str:
        """Key of its verdicts in a store: everything that a verdict depends on besides the texts.

        Judge, model, revision of its weights, prompt version, options. Two judges with one fingerprint share verdicts.
        """
        ...

    def product_texts(self, shop: Shop) -> list[str]:
        """The text of each of the shop's products as the judge reads it, by row."""
        ...

    def grade_pairs(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """(M, 4) float32 probabilities over `LEVELS` of M distinct (query text, product text) pairs, NaN where missing.

        Pairs of one query come together, so that a shared prompt prefix is computed once. Raises JudgeError only when
        the judge cannot be used at all; a single failure is a missing verdict, counted in `stats`.
        """
        ...

    def stats(self) -> dict[str, float]:
        """Counts since the judge was made, by name: asked, missing, missing/<reason>, tokens, seconds, cost …"""
        ...


def judge_stats(judge: object) -> dict[str, float]:
    """The judge's own counts, by its method `stats`; {} where it has none."""
    stats = getattr(judge, "stats", None)
    return {} if stats is None else dict(stats())


def member_stats(judges: Mapping[str, object]) -> dict[str, float]:
    """The counts of the judges that one is made of, as NAME/…."""
    return {f"{name}/{key}": value for name, judge in judges.items() for key, value in judge_stats(judge).items()}


AnyJudge = TypeVar("AnyJudge", bound=Judge)


def judge_for_shop(judge: AnyJudge, shop: Shop) -> AnyJudge:
    """The same judge for another shop's products, by its method `for_shop`. Raises JudgeError where it has none."""
    for_shop = getattr(judge, "for_shop", None)
    if for_shop is None:
        raise JudgeError(
            f"judge {judge.name!r} cannot grade planted products: give it a method for_shop(shop) -> Judge"
        )
    return cast(AnyJudge, for_shop(shop))
