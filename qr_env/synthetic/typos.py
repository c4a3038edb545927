"""How shoppers write: typos, joined and split words, units, plurals, a word left out.

careless(["usb", "headphones"], random.Random(0), known={"head", "phones"})  # "usb head phones"
typo_variant("coffee grinder", random.Random(0))                                     # "cofee grinder"
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
    """A size as a careful shopper writes it: size_text("500", "gb") is "500 gb"."""
    return f"{number} {_UNIT_WORDS.get(unit, unit)}"


def careless(words: list[str], rng: random.Random, known: Collection[str]) -> str:
    """The words as a text, with one thing about it careless, sometimes two, where that is possible.

    `known`: the catalogue's words, by which a compound is split ("headphones" → "head phones").
    """
    meant = words
    for _ in range(rng.choice((1, 1, 1, 2))):
        # A weighted order without replacement (Efraimidis and Spirakis 2006).
        for way, _ in sorted(_WAYS, key=lambda way: rng.random() ** (1 / way[1]), reverse=True):
            if (changed := way(words, rng, known)) not in (words, meant):
                words = changed
                break
    return " ".join(words)


def typo(word: str, rng: random.Random) -> str:
    """One slip of the fingers, never on the first letter: swapped, dropped, doubled or neighbouring letters."""
    at = rng.randrange(1, len(word) - 1)
    letter, after = word[at], word[at + 1]
    slips = [
        word[:at] + after + letter + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + letter + word[at:],
        word[:at] + rng.choice(_NEAR.get(letter, letter)) + word[at + 1 :],
    ]
    return rng.choice(slips)


def typo_variant(text: str, rng: random.Random) -> str:
    """The text with one slip: a typo, a word written as it sounds, two words joined or one split; no list of known
    words is needed. The text itself where there is nothing to slip on."""
    words = text.split()
    for way, _ in sorted(_SLIPS, key=lambda way: rng.random() ** (1 / way[1]), reverse=True):
        if (changed := way(words, rng)) != words:
            return " ".join(changed)
    return text


def sounded(word: str, rng: random.Random) -> str:
    """The word as somebody spells it who has only heard it: one group of letters by another of the same sound, another
    vowel, or one of a double letter gone; never the first letter. The word itself where none of it is possible."""
    ways = [
        word[:at] + new + word[at + len(old) :]
        for old, new in _SOUNDS
        for at in range(1, len(word) - len(old) + 1)
        if word.startswith(old, at)
    ]
    ways += [word[:at] + word[at + 1 :] for at in range(1, len(word)) if word[at] == word[at - 1]]
    vowels = [at for at in range(1, len(word)) if word[at] in "aeiou"]
    ways += [word[:at] + rng.choice("aeiou".replace(word[at], "")) + word[at + 1 :] for at in vowels]
    return rng.choice(ways) if ways else word


# Spellings of one sound in English, each way round where both are written.
_SOUNDS = [("ph", "f"), ("f", "ph"), ("ck", "k"), ("c", "k"), ("k", "c"), ("s", "z"), ("z", "s"), ("y", "i")]
_SOUNDS += [("i", "y"), ("qu", "kw"), ("x", "ks"), ("ee", "ea"), ("ea", "ee"), ("ou", "u"), ("v", "w"), ("w", "v")]


def _long(words: list[str]) -> list[int]:
    """Places of the words that are long enough to slip on."""
    return [at for at, word in enumerate(words) if len(word) > 3 and word.isalpha()]


def _slip_typo(words: list[str], rng: random.Random) -> list[str]:
    return _typo(words, rng, ())


def _slip_sound(words: list[str], rng: random.Random) -> list[str]:
    long = _long(words)
    if not long:
        return words
    at = rng.choice(long)
    return [*words[:at], sounded(words[at], rng), *words[at + 1 :]]


def _slip_join(words: list[str], rng: random.Random) -> list[str]:
    pairs = [at for at in range(len(words) - 1) if (words[at] + words[at + 1]).isalpha()]
    if not pairs:
        return words
    at = rng.choice(pairs)
    return [*words[:at], words[at] + words[at + 1], *words[at + 2 :]]


def _slip_split(words: list[str], rng: random.Random) -> list[str]:
    long = [at for at in _long(words) if len(words[at]) > 5]
    if not long:
        return words
    at = rng.choice(long)
    cut = rng.randrange(3, len(words[at]) - 2)
    return [*words[:at], words[at][:cut], words[at][cut:], *words[at + 1 :]]


_SLIPS: list[tuple[Callable[[list[str], random.Random], list[str]], float]] = [
    (_slip_typo, 4.0),
    (_slip_sound, 3.0),
    (_slip_join, 2.0),
    (_slip_split, 1.0),
]


def _typo(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    long = _long(words)
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
    """The other number of the last plain word."""
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
    """Leave out one word, not the last plain one."""
    if len(words) < 3:
        return words
    at = rng.randrange(len(words) - 1)
    return [*words[:at], *words[at + 1 :]]


Way = Callable[[list[str], random.Random, Collection[str]], list[str]]
# Each way with its weight; a way that cannot apply leaves its turn to the next.
_WAYS: list[tuple[Way, float]] = [(_typo, 4.0), (_join, 1.5), (_split, 3.0), (_plural, 2.0), (_unit, 6.0), (_drop, 0.5)]
