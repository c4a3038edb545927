"""Which words shoppers change for which, and the pattern that finds them in a query: the `words` events of a drift.

pattern, other = shift(generated_words(), share=0.5, rng=np.random.default_rng(0))
pattern.sub(lambda found: other[found[0].lower()], "wide sneakers for broad feet")
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qr_env.common.errors import ConfigError

# A pattern of phrases, longest first, and phrase → other phrase.
Shift = tuple[re.Pattern[str], dict[str, str]]


def generated_words() -> dict[str, str]:
    """Phrase of the generated shop's shoppers → a held-out phrase for the same thing, where it means one thing only."""
    from qr_env.shop.generated.vocabulary import load_vocabulary

    vocabulary = load_vocabulary()
    sides = [(one.shopper, one.heldout) for one in vocabulary.types]
    sides += [(one.purposes, one.heldout_purposes) for one in vocabulary.types]
    sides += [
        (one.shopper, one.heldout) for table in (vocabulary.colors, vocabulary.materials) for one in table.values()
    ]
    spoken = [phrase for said, _ in sides for phrase in said] + [noun for one in vocabulary.types for noun in one.noun]
    return {
        phrase: heldout[n % len(heldout)]
        for said, heldout in sides
        for n, phrase in enumerate(said)
        if heldout and spoken.count(phrase) == 1
    }


def read_words(path: str) -> dict[str, str]:
    """A YAML file of `phrase: other phrase`."""
    import yaml

    try:
        words: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"words: {path} cannot be read ({error})") from error
    if not isinstance(words, dict) or not all(isinstance(side, str) for pair in words.items() for side in pair):
        raise ConfigError(f"words: {path} must be lines of `phrase: other phrase`")
    return words


def shift(pairs: Mapping[str, str], share: float, rng: np.random.Generator) -> Shift:
    """Some of the pairs of phrases as a pattern and a table; at least one."""
    ordered = sorted(pairs.items())
    some = rng.permutation(len(ordered))[: max(1, round(share * len(ordered)))]
    other = {old.lower(): new for old, new in (ordered[n] for n in sorted(some.tolist()))}
    longest = sorted(other, key=lambda phrase: (-len(phrase), phrase))
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest))})\b", re.IGNORECASE)
    return pattern, other
