"""Noise in shoppers' queries: typos, joined and split words, units, plurals, omitted words.

noisy_text(["usb", "headphones"], random.Random(3), known={"head", "phones"})  # "usb head phones"
typo_variant("coffee grinder", random.Random(3))                               # "cofee grinder"
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

# Neighbours of a … z on a QWERTY keyboard, letters only.
_NEIGHBOURS = """
sqwz vghn xdfv serfcx wsdr drtgvc ftyhbv gyujnb ujko huikmn jiolm kop njk bhjm iklp ol wa edft awedxz rfgy yhji cfgb
qase zsdc tghu asx
"""
_NEAR = dict(zip("abcdefghijklmnopqrstuvwxyz", _NEIGHBOURS.split(), strict=True))
_UNIT_WORDS = {'"': "inch", "in": "inch", "pcs": "pack", "pieces": "pack"}
_LONG_UNITS = {"inch": ("in", '"'), "m": ("meter", "metre"), "ft": ("foot", "feet"), "w": ("watt",), "l": ("litre",)}


def size_text(number: str, unit: str) -> str:
    """A size in its standard form: size_text("500", "gb") is "500 gb"."""
    return f"{number} {_UNIT_WORDS.get(unit, unit)}"


def noisy_text(words: list[str], rng: random.Random, known: Collection[str]) -> str:
    """The words as a text with one change of `_CHANGES`, in a quarter of the cases two, where possible.

    known: the catalogue's words, which decide where a compound is split ("headphones" → "head phones").
    """
    original = words
    for _ in range(rng.choice((1, 1, 1, 2))):
        # A weighted order without replacement (Efraimidis and Spirakis 2006).
        for change, _ in sorted(_CHANGES, key=lambda change: rng.random() ** (1 / change[1]), reverse=True):
            if (changed := change(words, rng, known)) not in (words, original):
                words = changed
                break
    return " ".join(words)


def typo(word: str, rng: random.Random) -> str:
    """The word with one typing error, never in the first letter: swapped, dropped, doubled or neighbouring letters."""
    at = rng.randrange(1, len(word) - 1)
    letter, after = word[at], word[at + 1]
    variants = [
        word[:at] + after + letter + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + letter + word[at:],
        word[:at] + rng.choice(_NEAR.get(letter, letter)) + word[at + 1 :],
    ]
    return rng.choice(variants)


def typo_variant(text: str, rng: random.Random) -> str:
    """The text with one error: a typo, a phonetic spelling, two words joined or one split; the text itself where none
    is possible. No list of known words is needed."""
    words = text.split()
    for change, _ in sorted(_TYPO_CHANGES, key=lambda change: rng.random() ** (1 / change[1]), reverse=True):
        if (changed := change(words, rng)) != words:
            return " ".join(changed)
    return text


def phonetic_misspelling(word: str, rng: random.Random) -> str:
    """The word with one phonetic spelling error: a letter group replaced by one with the same sound, another vowel, or
    a double letter written once; never the first letter. The word itself where none is possible."""
    variants = [
        word[:at] + new + word[at + len(old) :]
        for old, new in _SOUNDS
        for at in range(1, len(word) - len(old) + 1)
        if word.startswith(old, at)
    ]
    variants += [word[:at] + word[at + 1 :] for at in range(1, len(word)) if word[at] == word[at - 1]]
    vowels = [at for at in range(1, len(word)) if word[at] in "aeiou"]
    variants += [word[:at] + rng.choice("aeiou".replace(word[at], "")) + word[at + 1 :] for at in vowels]
    return rng.choice(variants) if variants else word


# Spellings of the same sound in English, in both directions where both occur.
_SOUNDS = [("ph", "f"), ("f", "ph"), ("ck", "k"), ("c", "k"), ("k", "c"), ("s", "z"), ("z", "s"), ("y", "i")]
_SOUNDS += [("i", "y"), ("qu", "kw"), ("x", "ks"), ("ee", "ea"), ("ea", "ee"), ("ou", "u"), ("v", "w"), ("w", "v")]


def _long_words(words: list[str]) -> list[int]:
    """Positions of the alphabetic words of four letters or more."""
    return [at for at, word in enumerate(words) if len(word) > 3 and word.isalpha()]


def _typo_change(words: list[str], rng: random.Random) -> list[str]:
    return _typo(words, rng, ())


def _phonetic_change(words: list[str], rng: random.Random) -> list[str]:
    long = _long_words(words)
    if not long:
        return words
    at = rng.choice(long)
    return [*words[:at], phonetic_misspelling(words[at], rng), *words[at + 1 :]]


def _join_change(words: list[str], rng: random.Random) -> list[str]:
    pairs = [at for at in range(len(words) - 1) if (words[at] + words[at + 1]).isalpha()]
    if not pairs:
        return words
    at = rng.choice(pairs)
    return [*words[:at], words[at] + words[at + 1], *words[at + 2 :]]


def _split_change(words: list[str], rng: random.Random) -> list[str]:
    long = [at for at in _long_words(words) if len(words[at]) > 5]
    if not long:
        return words
    at = rng.choice(long)
    cut = rng.randrange(3, len(words[at]) - 2)
    return [*words[:at], words[at][:cut], words[at][cut:], *words[at + 1 :]]


_TYPO_CHANGES: list[tuple[Callable[[list[str], random.Random], list[str]], float]] = [
    (_typo_change, 4.0),
    (_phonetic_change, 3.0),
    (_join_change, 2.0),
    (_split_change, 1.0),
]


def _typo(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    long = _long_words(words)
    if not long:
        return words
    at = rng.choice(long)
    return [*words[:at], typo(words[at], rng), *words[at + 1 :]]


def _join(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    pairs = [at for at in range(len(words) - 1) if words[at] in known and words[at + 1] in known]
    short = [at for at in pairs if min(map(len, words[at : at + 2])) > 2 and sum(map(len, words[at : at + 2])) < 13]
    if not short:
        return words
    at = rng.choice(short)
    return [*words[:at], words[at] + words[at + 1], *words[at + 2 :]]


def _split(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    cuts = [
        (at, cut)
        for at, word in enumerate(words)
        for cut in range(3, len(word) - 2)
        if word[:cut] in known and (word[cut:] in known or word[cut:].removesuffix("s") in known)
    ]
    if not cuts:
        return words
    at, cut = rng.choice(cuts)
    return [*words[:at], words[at][:cut], words[at][cut:], *words[at + 1 :]]


def _plural(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    """The last plain word in the other grammatical number."""
    plain = [at for at, word in enumerate(words) if word.isalpha() and len(word) > 2]
    if not plain:
        return words
    word = words[plain[-1]]
    if word.endswith(("ss", "us", "is", "x", "ch", "sh")):
        other = word + "es"
    elif word.endswith("s"):
        other = word[:-1]
    elif word.endswith("y") and word[-2] not in "aeiou":
        other = word[:-1] + "ies"
    else:
        other = word + "s"
    return [*words[: plain[-1]], other, *words[plain[-1] + 1 :]]


def _unit(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    """ "500 gb" → "500gb" or "0.5 tb"; "15 inch" → "15in"."""
    at = next((at for at, word in enumerate(words) if " " in word and word[0].isdigit()), None)
    if at is None:
        return words
    number, unit = words[at].split(" ", 1)
    forms = [number + unit, *(f"{number} {long}" for long in _LONG_UNITS.get(unit, ()))]
    if unit == "gb" and float(number) >= 250:
        forms.append(f"{float(number) / (1000 if float(number) % 1000 in (0, 500, 250) else 1024):.3g} tb")
    if unit == "tb":
        forms.append(f"{float(number) * 1000:.0f}gb")
    return [*words[:at], rng.choice(forms), *words[at + 1 :]]


def _drop(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    """Omit one word, not the last one."""
    if len(words) < 3:
        return words
    at = rng.randrange(len(words) - 1)
    return [*words[:at], *words[at + 1 :]]


Change = Callable[[list[str], random.Random, Collection[str]], list[str]]
# Each change with its weight; if it is impossible, the next one is tried.
_CHANGES: list[tuple[Change, float]] = [
    (_typo, 4.0),
    (_join, 1.5),
    (_split, 3.0),
    (_plural, 2.0),
    (_unit, 6.0),
    (_drop, 0.5),
]
