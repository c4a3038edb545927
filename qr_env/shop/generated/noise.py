"""Noise in queries: typos, joined and split words, misspelt brands. All functions take a seeded `Random`.

typo("electric kettle", random.Random(11))      # "electric kettel"
joined("electric kettle", random.Random(0))     # "electrickettle"
"""

from __future__ import annotations

import random

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
# The neighbouring keys in the same row, and the key below or above.
_NEIGHBOURS = {
    key: [
        *row[max(0, at - 1) : at],
        *row[at + 1 : at + 2],
        *(other[at] for other in (_ROWS[max(0, y - 1)], _ROWS[min(2, y + 1)]) if other is not row and at < len(other)),
    ]
    for y, row in enumerate(_ROWS)
    for at, key in enumerate(row)
}
_SOUNDS = [("ph", "f"), ("ck", "k"), ("qu", "kw"), ("x", "ks"), ("v", "w"), ("y", "i"), ("c", "k"), ("z", "s")]
_SOUNDS += [("ll", "l"), ("rr", "r"), ("ss", "s"), ("nn", "n"), ("ou", "u"), ("ea", "e"), ("e", "a"), ("o", "u")]


def typo(text: str, draw: random.Random) -> str:
    """One typing error in a word of four letters or more, never in its first letter; unchanged if there is none."""
    parts = text.split(" ")
    long = [at for at, word in enumerate(parts) if len(word) >= 4 and word.isalpha()]
    if not long:
        return text
    at = draw.choice(long)
    parts[at] = _misspell(parts[at], draw)
    return " ".join(parts)


def _misspell(word: str, draw: random.Random) -> str:
    at = draw.randrange(1, len(word))
    kind = draw.randrange(4)
    if kind == 0:
        return word[:at] + draw.choice(_NEIGHBOURS.get(word[at].lower(), ["e"])) + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    at = min(at, len(word) - 2)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def joined(text: str, draw: random.Random) -> str:
    """Two neighbouring words joined; unchanged if there is one word."""
    parts = text.split(" ")
    pairs = [at for at in range(len(parts) - 1) if (parts[at] + parts[at + 1]).isalpha()]
    if not pairs:
        return text
    at = draw.choice(pairs)
    return " ".join([*parts[:at], parts[at] + parts[at + 1], *parts[at + 2 :]])


def split(text: str, known: frozenset[str], draw: random.Random) -> str:
    """One word split where both parts are words of `known`; unchanged if there is no such place."""
    parts = text.split(" ")
    cuts = [
        (at, cut)
        for at, word in enumerate(parts)
        for cut in range(3, len(word) - 2)
        if word[:cut] in known and word[cut:] in known
    ]
    if not cuts:
        return text
    at, cut = draw.choice(cuts)
    return " ".join([*parts[:at], parts[at][:cut], parts[at][cut:], *parts[at + 1 :]])


def misspelt(brand: str, draw: random.Random) -> str:
    """A brand with a phonetic misspelling."""
    lower = brand.lower()
    fitting = [(old, new) for old, new in _SOUNDS if old in lower[1:]]
    if not fitting:
        return typo(lower, draw)
    old, new = draw.choice(fitting)
    return lower[0] + lower[1:].replace(old, new, 1)
