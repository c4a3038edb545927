"""The constants of `suggest`: how many words are added, how heavy, and to which queries.

SuggestSettings()                                  # the defaults
SuggestSettings.read(Path("suggest.json"))         # those that `qr suggest SHOP` chose for a shop
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from qr_env.common.atomic_io import atomic_write
from qr_env.common.config_text import read_config_text
from qr_env.common.errors import ConfigError

GATE_DEPTH = 10  # first results that the gate looks at
NO_GATE = GATE_DEPTH + 1  # full matches that no query has: words are added to every query

TitleEngine = Literal["second", "own"]


@dataclass(frozen=True, slots=True)
class SuggestSettings:
    """Few, the same for all queries of a shop. The defaults were best for a home-improvement shop's search log."""

    words: int = 5
    """At most this many words of titles are added to a query, 0 or more."""
    ratio: float = 4.0
    """Weight of a typed word divided by the weight of an added word that all titles have, > 0: a word of a share s of
    the titles weighs s / ratio. Repaired words always weigh as much as typed ones."""
    full_matches: int = 3
    """Words are added only where fewer than this many of the engine's first ten results hold every (repaired) word of
    the query: 1 adds where none does, 11 (`NO_GATE`) to every query."""
    titles: int = 20
    """Number of the second engine's nearest titles, at least 1."""
    engine: TitleEngine = "second"
    """Whose titles give the words: those of a second engine (dense beside bm25, bm25 beside dense), or those of the
    engine that is searched ("own"), which needs no vectors."""

    def __post_init__(self) -> None:
        for name, lowest in {"words": 0, "full_matches": 0, "titles": 1}.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < lowest:
                raise ConfigError(f"suggest setting {name}={value!r}: must be a whole number of {lowest} or more")
        if not isinstance(self.ratio, int | float) or not 0 < self.ratio < float("inf"):
            raise ConfigError(f"suggest setting ratio={self.ratio!r}: must be a positive number")
        if self.engine not in get_args(TitleEngine):
            raise ConfigError(
                f"suggest setting engine={self.engine!r}: choose one of {', '.join(get_args(TitleEngine))}"
            )

    @classmethod
    def read(cls, path: Path) -> SuggestSettings:
        """The settings in a JSON file: under its key "settings", other keys are ignored.

        Raises:
            ConfigError: no such file, no JSON object with "settings", or an unknown setting or value.
        """
        try:
            values = json.loads(read_config_text(path))["settings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} holds no settings of suggest ({error}): write one by qr suggest SHOP") from error
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) - known:
            raise ConfigError(f'{path}: "settings" is {values!r:.200}; it may hold {", ".join(sorted(known))}')
        return cls(**values)

    def write(self, path: Path, **details: object) -> None:
        """Write a file that `read` reads; `details` are further keys of it, for people."""
        text = json.dumps({"settings": asdict(self), **details}, indent=2, ensure_ascii=False)
        atomic_write(path, text + "\n")
