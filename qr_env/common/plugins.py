"""Judges, retrievers, rewards, agents and optimizers by name, from entry points of installed packages.

    build = load_plugin("qr_env.judges", "labels")
    judge = build(shop, "", None)

    [project.entry-points."qr_env.judges"]      # in the pyproject.toml of the package that adds a judge
    my-judge = "my_package.judge:build"

| group             | object                                                                           |
|-------------------|----------------------------------------------------------------------------------|
| qr_env.judges     | builder (shop, argument, options=None) -> Judge                                  |
| qr_env.retrievers | builder (shop, argument, cache_dir=None, encoder=None) -> FilteredRetriever      |
| qr_env.rewards    | reward (Feedback) -> RewardTerms                                                 |
| qr_env.agents     | builder (argument, options) -> Agent                                             |
| qr_env.optimizers | builder, see `runs/online/learners.py`                                           |

A name may carry an argument after its first colon, "cross-encoder:MODEL": the builder receives "MODEL".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from qr_env.common.errors import ConfigError


def load_plugin(group: str, name: str, own: Mapping[str, Callable[..., Any]] | None = None) -> Callable[..., Any]:
    """The object called `name`: one of `own`, else an installed entry point of the group.

    Args:
        group: entry-point group, "qr_env.judges" and so on.
        name: without the argument that may follow a colon.
        own: this project's objects of the group, where the caller can import them; they take precedence.

    Raises:
        ConfigError: nothing has this name, or its entry point cannot be imported.
    """
    if own is not None and name in own:
        return own[name]
    found = entry_points(group=group, name=name)
    if not found:
        names = ", ".join(plugin_names(group, own)) or "none"
        raise ConfigError(
            f"no {name!r} among {group}: choose one of {names}; another package can register more as entry points of "
            f"the group {group!r}"
        )
    point = next(iter(found))
    try:
        loaded: Callable[..., Any] = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{group} {name!r} ({point.value}) cannot be imported: {error}") from error
    return loaded


def plugin_names(group: str, own: Mapping[str, Callable[..., Any]] | None = None) -> list[str]:
    """Names of a group: this project's, in their order, then those of installed packages, sorted."""
    installed = {point.name for point in entry_points(group=group)}
    return [*(own or {}), *sorted(installed - set(own or {}))]
