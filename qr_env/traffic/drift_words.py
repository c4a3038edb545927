"""Phrase replacements in queries: the `words` events of a drift.

replace = draw_replacement(generated_words(), share=1.0, rng=np.random.default_rng(0))
replace("wide sneakers for broad feet")   # "wide tennies for broad feet"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from qr_env.common.config_text import read_config_text
from qr_env.common.errors import ConfigError
from qr_env.shop.generated.vocabulary import load_vocabulary


@dataclass(frozen=True)
class Replacement:
    """Replaces phrases in a text."""

    pattern: re.Pattern[str]
    """Matches any of the phrases, longest first, whatever the case."""
    new_phrase: dict[str, str]
    """Lower-case phrase → its replacement."""

    def __call__(self, text: str) -> str:
        """The text with every phrase replaced."""
        return self.pattern.sub(self._replacement, text)

    def _replacement(self, found: re.Match[str]) -> str:
        return self.new_phrase[found[0].lower()]


def generated_words() -> dict[str, str]:
    """Shopper phrase of the generated shop → a held-out synonym; ambiguous phrases are left out."""
    vocabulary = load_vocabulary()
    sides = [(one.shopper, one.heldout) for one in vocabulary.types]
    sides += [(one.purposes, one.heldout_purposes) for one in vocabulary.types]
    sides += [
        (one.shopper, one.heldout) for table in (vocabulary.colors, vocabulary.materials) for one in table.values()
    ]
    phrases = [phrase for known, _ in sides for phrase in known] + [
        noun for one in vocabulary.types for noun in one.noun
    ]
    return {
        phrase: heldout[n % len(heldout)]
        for known, heldout in sides
        for n, phrase in enumerate(known)
        if heldout and phrases.count(phrase) == 1
    }


def read_words(path: str) -> dict[str, str]:
    """Read a YAML file of `phrase: other phrase`; ConfigError where it is not one."""
    try:
        words: object = yaml.safe_load(read_config_text(Path(path)))
    except yaml.YAMLError as error:
        raise ConfigError(f"words: {path} cannot be read ({error})") from error
    if not isinstance(words, dict) or not all(isinstance(side, str) for pair in words.items() for side in pair):
        raise ConfigError(f"words: {path} must be lines of `phrase: other phrase`")
    return words


def draw_replacement(pairs: Mapping[str, str], share: float, rng: np.random.Generator) -> Replacement:
    """A random `share` of the pairs, at least one."""
    ordered = sorted(pairs.items())
    chosen = rng.permutation(len(ordered))[: max(1, round(share * len(ordered)))]
    new_phrase = {old.lower(): new for old, new in (ordered[n] for n in sorted(chosen.tolist()))}
    longest = sorted(new_phrase, key=lambda phrase: (-len(phrase), phrase))
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest))})\b", re.IGNORECASE)
    return Replacement(pattern, new_phrase)
