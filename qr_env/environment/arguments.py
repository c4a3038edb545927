"""What callers give the environments: reset options, queries, seeds and rewrites, checked before anything is searched.

query = given_query(options)               # of the scalar environment; None: draw the next one
queries_P = given_queries(options)         # of the batched one
check_rewrites(rewrites_N, n)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, TypeGuard

from qr_env.common.errors import ConfigError
from qr_env.common.types import Query

QUERY, QUERIES = "query", "queries"  # the reset option of the scalar environment, and of the batched one
OTHER = {
    QUERY: "this is the batched environment, whose option is 'queries': one query a block, [\"red sofa\", …]",
    QUERIES: "this is the scalar environment, whose option is 'query': one query (the environments of make_vec with a "
    "vectorization_mode are scalar ones; without a mode, make_vec makes the batched one, which takes 'queries')",
}


def given_query(options: Mapping[str, Any] | None) -> Query | None:
    """The query of `reset(options={"query": …})`; None without options. Raises ConfigError for any other option."""
    return _as_query(_option(options, QUERY), "query") if options else None


def given_queries(options: Mapping[str, Any] | None) -> list[Query] | None:
    """The queries of `reset(options={"queries": […]})`; None without options. Raises ConfigError for another option."""
    if not options:
        return None
    given = _option(options, QUERIES)
    if isinstance(given, str | Query):
        raise ConfigError(f"reset option queries={given!r:.80} is one query: give a list with one query a block")
    if not is_list(given):
        raise ConfigError(f"reset option queries={given!r:.80}: give a list with one query a block")
    return [_as_query(one, f"queries[{n}]") for n, one in enumerate(given)]


def first_seed(seed: int | Sequence[int | None] | None, num_envs: int) -> int | None:
    """The seed of the batched environment's one stream: of a list, the first. Raises ConfigError for a wrong length."""
    if not isinstance(seed, Sequence):
        return seed
    if len(seed) != num_envs:
        raise ConfigError(f"seed={seed!r:.80}: {len(seed)} seeds for {num_envs} environments; give one number")
    return seed[0]


def check_rewrites(rewrites_N: object, n: int) -> None:
    """Raise ConfigError unless these are `n` texts in a list, tuple or array."""
    if not is_list(rewrites_N) or len(rewrites_N) != n:
        raise ConfigError(f"expected {n} rewrites, a text each, in a list; got {rewrites_N!r:.80}")
    for rewrite in rewrites_N:
        check_rewrite(rewrite)


def check_rewrite(rewrite: object) -> None:
    """Raise ConfigError unless the rewrite is a text."""
    if not isinstance(rewrite, str):
        raise ConfigError(
            f'a rewrite must be a text, got {rewrite!r:.80} ({type(rewrite).__name__}); "" keeps the query'
        )


def _option(options: Mapping[str, Any], name: str) -> object:
    """The value of the only option that this environment has."""
    if not isinstance(options, Mapping):
        raise ConfigError(f"options={options!r:.80}: give a dict, such as {{{name!r}: …}}")
    if unknown := [key for key in options if key != name]:
        advice = OTHER.get(unknown[0], f"this environment has the option {name!r} alone")
        raise ConfigError(f"unknown reset option {unknown[0]!r}: {advice}")
    return options[name]


def _as_query(given: object, name: str) -> Query:
    """The query; a text becomes one that is not of the shop."""
    if isinstance(given, Query):
        return given
    if not isinstance(given, str):
        raise ConfigError(f"reset option {name}={given!r:.80}: give a text or a Query of the shop")
    if not given.strip():
        raise ConfigError(f"reset option {name}={given!r:.80} is blank: give a text to search")
    return Query(-1, "", given)


def is_list(given: object) -> TypeGuard[Sequence[object]]:
    """Whether it holds items in an order: no text, mapping, set or iterator."""
    ordered = hasattr(given, "__len__") and hasattr(given, "__getitem__")
    return ordered and not isinstance(given, str | bytes | bytearray | Mapping | Set)
